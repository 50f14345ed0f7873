"""POST /embeddings: vectors that depend on the text alone, so that equal texts get equal ones."""

import base64
import math
from hashlib import shake_128
from struct import pack, unpack

import orjson
from msgspec import Struct

from llmroute.simulator.answers import BadAsk, Reply, count_tokens
from llmroute.simulator.connection import Request
from llmroute.simulator.draws import Draw
from llmroute.simulator.openai.reading import decode
from llmroute.simulator.openai.writing import JSON
from llmroute.simulator.spec import ProviderSpec
from llmroute.simulator.wire import Outcome

_DIMENSIONS = 64
_MOST_INPUTS = 2048
"""OpenAI's limit."""


class Body(Struct):
    """What is looked at; all other fields are accepted as they are."""

    model: str = ""
    input: str | list[str | int | list[int]] | None = None
    dimensions: int | None = None
    encoding_format: str = "float"


def embed(request: Request, model: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
    """Answers POST /embeddings. Raises BadAsk."""
    asked: Body = decode(request.body, Body)
    name = model or asked.model
    if not name:
        raise BadAsk("you must provide a model parameter", "model")
    texts = _texts(asked.input)
    if not texts or len(texts) > _MOST_INPUTS or "" in texts:
        raise BadAsk("'$.input' is invalid. Please check the API reference.", "input")
    size = asked.dimensions or _DIMENSIONS
    encode = _base64 if asked.encoding_format == "base64" else list
    vectors = [
        {"object": "embedding", "index": number, "embedding": encode(vector(text, size))}
        for number, text in enumerate(texts)
    ]
    tokens = count_tokens(texts)
    body = {
        "object": "list",
        "data": vectors,
        "model": name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return Outcome(Reply(JSON, orjson.dumps(body)), name, tokens)


def vector(text: str, size: int) -> tuple[float, ...]:
    """The embedding of a text: a point of the unit sphere, given by a hash."""
    raw = unpack(f"<{size}h", shake_128(text.encode()).digest(2 * size))
    length = math.sqrt(sum(part * part for part in raw)) or 1.0
    return tuple(part / length for part in raw)


def _base64(parts: tuple[float, ...]) -> str:
    return base64.b64encode(pack(f"<{len(parts)}f", *parts)).decode()


def _texts(given: str | list[str | int | list[int]] | None) -> list[str]:
    """Each input as text; token ids stand for themselves."""
    if given is None or isinstance(given, str):
        return [given] if given else []
    if all(isinstance(one, int) for one in given):
        return [" ".join(map(str, given))]
    return [one if isinstance(one, str) else str(one) for one in given]

"""What is asked of every peer: small or 100 KB prompts, one answer or a stream, 1 or 32 connections."""

import json
import random
from dataclasses import dataclass

APP_MODEL = "bench"
UPSTREAM_MODEL = "gpt-4o-mini"  # a model with a known price: LiteLLM spends a fifth of its time on one without

_SMALL_PROMPT = "What should a traveller know before taking the night train from Vienna to Venice in winter?"
_LARGE_PROMPT_BYTES = 100_000
_WORDS = ("the", "a", "of", "train", "night", "to", "in", "window", "city", "morning", "station", "quiet", "long")
_UNIQUE = "@" * 16


@dataclass(frozen=True)
class Case:
    """One kind of load; `prompt_bytes` is the size of the user's message, about that of the body."""

    name: str
    large: bool
    stream: bool
    connections: int

    @property
    def prompt_bytes(self) -> int:
        return _LARGE_PROMPT_BYTES if self.large else len(_SMALL_PROMPT)


CASES = tuple(
    Case(f"{size}-{kind}-{connections}", size == "large", kind == "stream", connections)
    for size in ("small", "large")
    for kind in ("json", "stream")
    for connections in (1, 32)
)


def request_body(case: Case, model: str) -> tuple[bytes, bytes]:
    """The body before and after the 16 bytes that make each prompt unique, so that no cache can answer.

    The fields stand in the order in which the OpenAI SDK sends them.
    """
    body: dict[str, object] = {
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": f"{_UNIQUE} {_large_prompt() if case.large else _SMALL_PROMPT}"},
        ],
        "model": model,
        "max_tokens": 256,
        "temperature": 0.7,
    }
    if case.stream:
        body["stream"] = True
    before, after = json.dumps(body, separators=(",", ":")).encode().split(_UNIQUE.encode())
    return before, after


def _large_prompt() -> str:
    rng = random.Random(1)
    words: list[str] = []
    length = 0
    while length < _LARGE_PROMPT_BYTES:
        word = rng.choice(_WORDS)
        words.append(word)
        length += len(word) + 1
    return " ".join(words)

"""Paths of the OpenAI dialect that no model generates text for: models, and those that a router only passes through."""

import base64
from hashlib import shake_128

import orjson

from llmroute.simulator.answers import CREATED, BadAsk, Reply
from llmroute.simulator.connection import Request
from llmroute.simulator.draws import Draw
from llmroute.simulator.openai.writing import JSON
from llmroute.simulator.spec import ProviderSpec
from llmroute.simulator.wire import Outcome

_SPEECH_FRAMES = 16
_SPEECH_FRAME = 1024
_UNNAMED_MODELS = ("simulated-large", "simulated-small")
"""Listed by a provider that declares no models of its own."""


def list_models(request: Request, name: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
    """GET /models."""
    models = [_model(model, spec) for model in spec.models or _UNNAMED_MODELS]
    return _json({"object": "list", "data": models})


def get_model(request: Request, name: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
    """GET /models/{id}."""
    return Outcome(Reply(JSON, orjson.dumps(_model(name or "", spec))), model=name)


def transcribe(request: Request, name: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
    """POST /audio/transcriptions, a multipart upload: tells how many bytes came."""
    _want_multipart(request)
    return _json({"text": f"{request.size} bytes were heard", "bytes": request.size}, prompt_tokens=0)


def speak(request: Request, name: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
    """POST /audio/speech: a stream of bytes that the request alone decides."""
    sound = shake_128(request.body).digest(_SPEECH_FRAMES * _SPEECH_FRAME)
    frames = tuple(sound[start : start + _SPEECH_FRAME] for start in range(0, len(sound), _SPEECH_FRAME))
    return Outcome(Reply("audio/mpeg", b"", frames, tokens=len(frames)), prompt_tokens=0)


def draw_image(request: Request, name: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
    """POST /images/generations."""
    picture = base64.b64encode(shake_128(request.body).digest(256)).decode()
    return _json({"created": CREATED, "data": [{"b64_json": picture}]}, prompt_tokens=0)


def moderate(request: Request, name: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
    """POST /moderations: everything is fine."""
    result = {"flagged": False, "categories": {}, "category_scores": {}}
    return _json({"id": f"modr-{draw.number:016x}", "model": "simulated-moderation", "results": [result]})


def list_files(request: Request, name: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
    """GET /files: there is always one."""
    return _json({"object": "list", "data": [_file("file-simulated", 0)], "has_more": False})


def upload(request: Request, name: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
    """POST /files, a multipart upload."""
    _want_multipart(request)
    return _json(_file(f"file-{draw.number:016x}", request.size))


def _want_multipart(request: Request) -> None:
    if not (request.header(b"content-type") or "").startswith("multipart/form-data"):
        raise BadAsk("Expected a multipart/form-data body.", "file")


def _json(body: dict[str, object], prompt_tokens: int | None = None) -> Outcome:
    return Outcome(Reply(JSON, orjson.dumps(body)), prompt_tokens=prompt_tokens)


def _model(name: str, spec: ProviderSpec) -> dict[str, object]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": spec.name}


def _file(identity: str, size: int) -> dict[str, object]:
    return {
        "id": identity,
        "object": "file",
        "bytes": size,
        "created_at": CREATED,
        "filename": "upload",
        "purpose": "user_data",
        "status": "processed",
    }

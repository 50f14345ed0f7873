"""Answers that we make ourselves: errors in the app's dialect, model lists, the estimate of a prompt's tokens."""

from collections.abc import Sequence
from typing import Any

import msgspec

from llmroute.dialects import sse
from llmroute.dialects.failures import MAX_MESSAGE, read_error
from llmroute.dialects.profiles import Profile
from llmroute.errors import RequestError, Unsupported
from llmroute.request import Dialect, InferenceRequest, Operation

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_NO_THREADS = {"error_code": "thread_unsupported_request"}
"""Anthropic's SDK, told so, sends the whole conversation instead of leaving it with the provider."""
_EPOCH = "1970-01-01T00:00:00Z"
"""Anthropic's own value for a model whose release date is unknown."""


def error_body(dialect: Dialect, error: RequestError) -> bytes:
    """An error of ours as the dialect's SDKs expect it."""
    document = _error(dialect, error.status, error.message, error.param, error.code)
    if dialect is Dialect.ANTHROPIC and isinstance(error, Unsupported) and error.param == "thread":
        document["error"]["details"] = _NO_THREADS
    return msgspec.json.encode(document)


def error_event(dialect: Dialect, operation: Operation, error: RequestError) -> bytes:
    """The frame that ends a broken stream after the commit point: no clean end mark may follow it."""
    if operation is Operation.RESPONSES:
        event = {"type": "error", "code": error.code, "message": error.message, "param": None, "sequence_number": 0}
        return sse.event(msgspec.json.encode(event), "error")
    return sse.event(error_body(dialect, error), "error" if dialect is Dialect.ANTHROPIC else "")


def translate_error(app: Dialect, profile: Profile, status: int, body: bytes) -> bytes:
    """A provider's error body for the app: unchanged in the same dialect."""
    if app is profile.dialect:
        return body
    error = read_error(body)
    message = error.message if error is not None else body[:MAX_MESSAGE].decode("utf-8", "replace")
    return msgspec.json.encode(_error(app, status, message or f"{profile.provider} answered {status}", None, None))


def model_list(dialect: Dialect, models: Sequence[str]) -> bytes:
    """The answer to `GET /v1/models`."""
    entries = [_model(dialect, model) for model in models]
    if dialect is Dialect.OPENAI:
        return msgspec.json.encode({"object": "list", "data": entries})
    ends = {"first_id": models[0] if models else None, "last_id": models[-1] if models else None}
    return msgspec.json.encode({"data": entries, "has_more": False, **ends})


def model_entry(dialect: Dialect, model: str) -> bytes:
    """The answer to `GET /v1/models/{id}`."""
    return msgspec.json.encode(_model(dialect, model))


def estimate_input_tokens(request: InferenceRequest) -> bytes:
    """The answer to count_tokens when no target can count: marked, since it only counts bytes."""
    return msgspec.json.encode({"input_tokens": request.peek.prompt_tokens, "estimated": True})


def _error(dialect: Dialect, status: int, message: str, param: str | None, code: str | None) -> dict[str, Any]:
    if dialect is Dialect.ANTHROPIC:
        kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}
    kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _model(dialect: Dialect, model: str) -> dict[str, Any]:
    if dialect is Dialect.OPENAI:
        return {"id": model, "object": "model", "created": 0, "owned_by": "llmroute"}
    return {"type": "model", "id": model, "display_name": model, "created_at": _EPOCH, "lifecycle": "active"}

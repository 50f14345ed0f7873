"""Error bodies and events of the OpenAI dialect."""

from collections.abc import Callable, Mapping

import orjson

from llmroute.simulator.answers import Problem
from llmroute.simulator.connection import Headers

_KINDS = {
    400: ("invalid_request_error", None, "The request is invalid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("insufficient_quota", "insufficient_quota", "Payment is required."),
    403: ("permission_error", None, "You are not allowed to use this model."),
    404: ("invalid_request_error", "not_found", "The resource does not exist."),
    408: ("timeout", None, "Request timed out."),
    413: ("invalid_request_error", "request_too_large", "The request is too large."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
}
_SERVER = ("server_error", None, "The server had an error while processing your request.")

PROBLEMS: Mapping[str, Callable[[str], Problem]] = {
    "unauthorized": lambda _: Problem(401, "Incorrect API key provided.", "invalid_api_key"),
    "unknown-model": lambda model: Problem(
        404, f"The model `{model}` does not exist or you do not have access to it.", "model_not_found"
    ),
    "credit-too-low": lambda _: Problem(
        429, "You exceeded your current quota, please check your plan and billing details.", "insufficient_quota"
    ),
    "context-too-long": lambda tokens: Problem(
        400,
        f"This model's maximum context length is smaller. However, your messages resulted in {tokens} tokens. "
        "Please reduce the length of the messages.",
        "context_length_exceeded",
        "messages",
    ),
}


def described(problem: Problem) -> dict[str, str | None]:
    """The error object: message, type, param, code."""
    kind, code, message = _KINDS.get(problem.status, _SERVER)
    if problem.code == "insufficient_quota":
        kind = "insufficient_quota"
    return {
        "message": problem.message or message,
        "type": kind,
        "param": problem.param,
        "code": problem.code or code,
    }


def error_body(problem: Problem, request_id: str) -> bytes:
    """The body of an error answer; the request id travels in a header only."""
    return orjson.dumps({"error": described(problem)})


def error_event(problem: Problem) -> bytes:
    """An error in the middle of a stream."""
    return b"data: %b\n\n" % orjson.dumps({"error": described(problem)})


def rate_headers(limit: int, remaining: int) -> Headers:
    """How OpenAI tells the state of a limit."""
    return (("x-ratelimit-limit-requests", str(limit)), ("x-ratelimit-remaining-requests", str(remaining)))

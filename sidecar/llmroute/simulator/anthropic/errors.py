"""Error bodies and events of the Anthropic dialect."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from llmroute.simulator.answers import Problem
from llmroute.simulator.connection import Headers

_KINDS = {
    400: ("invalid_request_error", "The request is invalid."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "There is a problem with your billing."),
    403: ("permission_error", "Your API key does not have permission to use this resource."),
    404: ("not_found_error", "Not found"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your account's rate limit."),
    504: ("timeout_error", "The request timed out."),
    529: ("overloaded_error", "Overloaded"),
}
_SERVER = ("api_error", "Internal server error")

PROBLEMS: Mapping[str, Callable[[str], Problem]] = {
    "unauthorized": lambda _: Problem(401),
    "unknown-model": lambda model: Problem(404, f"model: {model}"),
    "credit-too-low": lambda _: Problem(
        400,
        "Your credit balance is too low to access the Anthropic API. "
        "Please go to Plans & Billing to upgrade or purchase credits.",
    ),
    "context-too-long": lambda tokens: Problem(400, f"prompt is too long: {tokens} tokens > the maximum"),
}


def error_body(problem: Problem, request_id: str) -> bytes:
    """The body of an error answer."""
    return orjson.dumps({"type": "error", "error": _error(problem), "request_id": request_id})


def error_event(problem: Problem) -> bytes:
    """An error in the middle of a stream."""
    return b"event: error\ndata: %b\n\n" % orjson.dumps({"type": "error", "error": _error(problem)})


def rate_headers(limit: int, remaining: int) -> Headers:
    """How Anthropic tells the state of a limit."""
    return (
        ("anthropic-ratelimit-requests-limit", str(limit)),
        ("anthropic-ratelimit-requests-remaining", str(remaining)),
    )


def _error(problem: Problem) -> dict[str, Any]:
    kind, message = _KINDS.get(problem.status, _SERVER)
    prefix = f"{problem.param}: " if problem.param and problem.message else ""
    return {"type": kind, "message": prefix + (problem.message or message)}

"""Which operation answers which path of the Anthropic dialect, and which headers it wants."""

from llmroute.simulator.answers import Problem
from llmroute.simulator.anthropic import other
from llmroute.simulator.anthropic.errors import PROBLEMS, error_body, rate_headers
from llmroute.simulator.anthropic.reading import read_messages
from llmroute.simulator.anthropic.writing import write_message
from llmroute.simulator.connection import Request
from llmroute.simulator.wire import Operation, Wire, generation

_OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/v1/messages"): generation(read_messages, write_message),
    ("POST", "/v1/messages/count_tokens"): Operation(other.count_prompt_tokens),
    ("GET", "/v1/models"): Operation(other.list_models),
}
_GET_MODEL = Operation(other.get_model)


def _find(request: Request) -> tuple[Operation, str | None] | None:
    operation = _OPERATIONS.get((request.method, request.path))
    if operation is None and request.method == "GET" and request.path.startswith("/v1/models/"):
        return _GET_MODEL, request.path.removeprefix("/v1/models/")
    return None if operation is None else (operation, None)


def _credential(request: Request) -> str | None:
    """Either header is taken; x-api-key counts when there are both."""
    if (key := request.header(b"x-api-key")) is not None:
        return key
    scheme, _, token = (request.header(b"authorization") or "").partition(" ")
    return token if scheme.lower() == "bearer" else None


def _malady(request: Request) -> Problem | None:
    if request.header(b"anthropic-version") is None:
        return Problem(400, "header is required", param="anthropic-version")
    return None


WIRE = Wire(
    find=_find,
    credential=_credential,
    malady=_malady,
    problems=PROBLEMS,
    error_body=error_body,
    request_id="request-id",
    rate_headers=rate_headers,
)

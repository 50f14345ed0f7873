"""Which operation answers which path of the Anthropic dialect, and which headers it wants."""

from llmroute.simulator.anthropic.errors import PROBLEMS, error_body, error_event, rate_headers
from llmroute.simulator.anthropic.reading import read_messages
from llmroute.simulator.anthropic.writing import write_message
from llmroute.simulator.connection import Request
from llmroute.simulator.wire import Generation, Operation, Problem, Wire

_OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/v1/messages"): Generation(read_messages, write_message),
}


def _find(request: Request) -> tuple[Operation, str | None] | None:
    operation = _OPERATIONS.get((request.method, request.path))
    return None if operation is None else (operation, None)


def _credential(request: Request) -> str | None:
    return request.header(b"x-api-key")


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
    error_event=error_event,
    request_id="request-id",
    rate_headers=rate_headers,
)

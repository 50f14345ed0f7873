"""Which operation answers which path of the OpenAI dialect, and where it has its key.

The prefix of a path is the compatible provider's affair (/v1, /v1beta/openai, /api/v1, /openai/v1); Azure puts the
model into it: /openai/deployments/{model}/chat/completions.
"""

import re

from llmroute.simulator.connection import Request
from llmroute.simulator.openai.errors import PROBLEMS, error_body, error_event, rate_headers
from llmroute.simulator.openai.reading import read_chat, read_completion
from llmroute.simulator.openai.writing import write_chat, write_completion
from llmroute.simulator.wire import Generation, Operation, Problem, Wire

_AZURE = re.compile(r"/openai/deployments/(?P<model>[^/]+)(?P<rest>/.+)")
_OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/chat/completions"): Generation(read_chat, write_chat),
    ("POST", "/completions"): Generation(read_completion, write_completion),
}


def _find(request: Request) -> tuple[Operation, str | None] | None:
    model, path = None, request.path
    if azure := _AZURE.fullmatch(path):
        model, path = azure["model"], azure["rest"]
    for prefix in ("", "/v1", "/v1beta/openai", "/openai/v1", "/api/v1"):
        if path.startswith(prefix):
            operation = _OPERATIONS.get((request.method, path[len(prefix) :]))
            if operation is not None:
                return operation, model
    return None


def _credential(request: Request) -> str | None:
    if _AZURE.fullmatch(request.path):
        return request.header(b"api-key")
    scheme, _, key = (request.header(b"authorization") or "").partition(" ")
    return key if scheme.lower() == "bearer" else None


def _malady(request: Request) -> Problem | None:
    if _AZURE.fullmatch(request.path) and "api-version=" not in request.query:
        return Problem(404, "Resource not found")
    return None


WIRE = Wire(
    find=_find,
    credential=_credential,
    malady=_malady,
    problems=PROBLEMS,
    error_body=error_body,
    error_event=error_event,
    request_id="x-request-id",
    rate_headers=rate_headers,
)

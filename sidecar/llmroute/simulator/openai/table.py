"""Which operation answers which path of the OpenAI dialect, and where it has its key.

The prefix of a path is the compatible provider's affair (/v1, /v1beta/openai, /api/v1, /openai/v1); Azure puts the
model into it: /openai/deployments/{model}/chat/completions.
"""

import re

from llmroute.simulator.answers import Problem
from llmroute.simulator.connection import Request
from llmroute.simulator.openai import other
from llmroute.simulator.openai.embeddings import embed
from llmroute.simulator.openai.errors import PROBLEMS, error_body, rate_headers
from llmroute.simulator.openai.reading import read_chat, read_completion
from llmroute.simulator.openai.responses import read_response, write_response
from llmroute.simulator.openai.writing import write_chat, write_completion
from llmroute.simulator.wire import Operation, Wire, generation

_AZURE = re.compile(r"/openai/deployments/(?P<model>[^/]+)(?P<rest>/.+)")
_PREFIXES = ("/v1", "", "/v1beta/openai", "/openai/v1", "/api/v1")
_OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/chat/completions"): generation(read_chat, write_chat),
    ("POST", "/completions"): generation(read_completion, write_completion),
    ("POST", "/responses"): generation(read_response, write_response),
    ("POST", "/embeddings"): Operation(embed),
    ("GET", "/models"): Operation(other.list_models),
    ("POST", "/audio/transcriptions"): Operation(other.transcribe, reads_body=False),
    ("POST", "/audio/speech"): Operation(other.speak),
    ("POST", "/images/generations"): Operation(other.draw_image),
    ("POST", "/moderations"): Operation(other.moderate),
    ("GET", "/files"): Operation(other.list_files),
    ("POST", "/files"): Operation(other.upload, reads_body=False),
}
_GET_MODEL = Operation(other.get_model)
_PATHS: dict[tuple[str, str], Operation] = {
    (method, prefix + path): operation for prefix in _PREFIXES for (method, path), operation in _OPERATIONS.items()
}
_MODEL_PATHS = tuple(f"{prefix}/models/" for prefix in _PREFIXES)


def _find(request: Request) -> tuple[Operation, str | None] | None:
    operation = _PATHS.get((request.method, request.path))
    if operation is not None:
        return operation, None
    azure = _AZURE.fullmatch(request.path)
    if azure is not None:
        operation = _OPERATIONS.get((request.method, azure["rest"]))
        return None if operation is None else (operation, azure["model"])
    for start in _MODEL_PATHS:
        if request.method == "GET" and request.path.startswith(start):
            return _GET_MODEL, request.path.removeprefix(start)
    return None


def _credential(request: Request) -> str | None:
    """Azure takes either header; the others only Authorization."""
    if request.path.startswith("/openai/") and (key := request.header(b"api-key")) is not None:
        return key
    scheme, _, token = (request.header(b"authorization") or "").partition(" ")
    return token if scheme.lower() == "bearer" else None


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
    request_id="x-request-id",
    rate_headers=rate_headers,
)

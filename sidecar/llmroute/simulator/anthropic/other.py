"""Operations of the Anthropic dialect that generate nothing: token counts and models."""

import orjson

from llmroute.simulator.answers import Reply
from llmroute.simulator.anthropic.reading import decode, prompt_tokens
from llmroute.simulator.anthropic.writing import JSON
from llmroute.simulator.connection import Request
from llmroute.simulator.draws import Draw
from llmroute.simulator.spec import ProviderSpec
from llmroute.simulator.wire import Outcome

_UNNAMED_MODELS = ("simulated-large", "simulated-small")


def count_prompt_tokens(request: Request, name: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
    """POST /v1/messages/count_tokens. Raises BadAsk."""
    asked = decode(request)
    return Outcome(Reply(JSON, orjson.dumps({"input_tokens": prompt_tokens(asked)})), model=asked.model)


def list_models(request: Request, name: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
    """GET /v1/models."""
    models = [_model(model) for model in spec.models or _UNNAMED_MODELS]
    ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"], "has_more": False}
    return Outcome(Reply(JSON, orjson.dumps({"data": models, **ends})))


def get_model(request: Request, name: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
    """GET /v1/models/{id}."""
    return Outcome(Reply(JSON, orjson.dumps(_model(name or ""))), model=name)


def _model(name: str) -> dict[str, str]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2025-10-09T00:00:00Z"}

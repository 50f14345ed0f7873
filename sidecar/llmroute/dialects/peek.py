"""What routing needs of a request's body, decoded no deeper than that; the rest stays as it came."""

from msgspec import Raw

from llmroute.dialects import fields as members
from llmroute.dialects.needs import TOKENS_PER_IMAGE, media_of, needs_of
from llmroute.errors import BadRequest
from llmroute.request import Operation, Peek

BYTES_PER_TOKEN = 4
"""Rough for English in any tokenizer; the estimate only ranks targets and is replaced by the provider's count."""

_REQUIRED = {
    Operation.CHAT: "messages",
    Operation.MESSAGES: "messages",
    Operation.COUNT_TOKENS: "messages",
    Operation.EMBEDDINGS: "input",
}
_PROMPT_FIELDS = frozenset(
    {"messages", "input", "prompt", "system", "instructions", "tools", "functions", "suffix", "response_format"}
)
_ARRAY = ord("[")
_OUTPUT_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def peek(operation: Operation, body: bytes) -> Peek:
    """What routing needs of `body`.

    Raises BadRequest, with the field's name in `param`, for what is not a JSON object with a model and the
    operation's other required members.
    """
    fields = members.split(body)
    model = members.text(fields, "model")
    stream = "stream" in fields and members.flag(fields, "stream")
    required = _REQUIRED.get(operation)
    if required is not None:
        _check_required(fields, required)
    model_at, size = members.measure(body, fields, _PROMPT_FIELDS)
    media = media_of(operation, body, fields)
    tokens = size // BYTES_PER_TOKEN
    if media is not None:
        tokens = (size - media.size) // BYTES_PER_TOKEN + media.images * TOKENS_PER_IMAGE
    needs, stateful = needs_of(operation, fields, stream, media)
    return Peek(
        model=model,
        stream=stream,
        fields=fields,
        prompt_tokens=tokens + 1,
        max_output_tokens=_max_output(fields),
        needs=needs,
        stateful=stateful,
        include_usage="stream_options" in fields and _includes_usage(fields),
        model_at=model_at,
    )


def _check_required(fields: dict[str, Raw], name: str) -> None:
    if name not in fields:
        raise BadRequest(f"`{name}` is missing", param=name)
    if name == "messages" and memoryview(fields[name])[0] != _ARRAY:
        raise BadRequest("`messages` must be an array", param=name)


def _max_output(fields: dict[str, Raw]) -> int | None:
    for name in _OUTPUT_FIELDS:
        if name in fields:
            number = bytes(fields[name])
            if number.isdigit() and len(number) < 10:  # anything else is the provider's to judge
                return int(number)
    return None


def _includes_usage(fields: dict[str, Raw]) -> bool:
    options = members.value(fields, "stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True

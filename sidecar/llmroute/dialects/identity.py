"""Ids by which a provider knows what it has kept: of an answer, and of the answer that a request goes on from.

Only the responses API keeps answers; ids of its answers are known to the one provider that made them.
"""

import msgspec
from msgspec import Struct

from llmroute.dialects.fields import is_set, value
from llmroute.dialects.sse import frames, parse
from llmroute.request import InferenceRequest, Operation


class _Named(Struct):
    id: str | None = None


class _Event(Struct):
    response: _Named | None = None


_RESPONSES = Operation.RESPONSES
_bodies = msgspec.json.Decoder(_Named)
_events = msgspec.json.Decoder(_Event)


def answer_id(request: InferenceRequest, first: bytes) -> str | None:
    """The id in the first bytes of an answer (of a stream: whole frames), if the provider may be asked for it again."""
    if request.operation is not _RESPONSES:
        return None
    try:
        if not request.stream:
            return _bodies.decode(first).id
        for frame in frames(first):
            response = _events.decode(parse(frame)[1]).response
            if response is not None:
                return response.id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None


def goes_on_from(request: InferenceRequest) -> str | None:
    """The id of the answer that the request continues."""
    fields = request.peek.fields
    if request.operation is not _RESPONSES or not is_set(fields, "previous_response_id"):
        return None
    previous = value(fields, "previous_response_id")
    return previous if isinstance(previous, str) else None

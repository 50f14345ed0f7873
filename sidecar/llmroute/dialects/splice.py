"""The body for a target of the app's own dialect: the app's bytes with `model` replaced, everything else untouched."""

import msgspec

from llmroute.dialects import fields as members
from llmroute.dialects.profiles import Profile
from llmroute.request import Dialect, InferenceRequest, Operation

_WITH_USAGE = frozenset({Operation.CHAT, Operation.COMPLETIONS})
_OPTIONS = b',"stream_options":{"include_usage":true}'


def adds_usage(request: InferenceRequest, profile: Profile) -> bool:
    """Whether the target is asked for a usage chunk that the app did not ask for, and that is taken out again."""
    return (
        request.peek.stream
        and not request.peek.include_usage
        and profile.stream_usage
        and request.operation in _WITH_USAGE
        and profile.dialect is Dialect.OPENAI
    )


def splice(request: InferenceRequest, profile: Profile, model: str) -> bytes:
    """The app's body for `model`; streams get `stream_options.include_usage` where the provider knows it."""
    body = request.body
    peek = request.peek
    start = peek.model_at
    end = start + memoryview(peek.fields["model"]).nbytes
    name = msgspec.json.encode(model)
    if not adds_usage(request, profile):
        return b"".join((body[:start], name, body[end:]))
    if "stream_options" not in peek.fields:
        return b"".join((body[:start], name, _OPTIONS, body[end:]))
    given = members.value(peek.fields, "stream_options")
    options = msgspec.json.encode({**(given if isinstance(given, dict) else {}), "include_usage": True})
    return replace(body, [(start, end, name), span(request, "stream_options", options)])


def span(request: InferenceRequest, name: str, content: bytes) -> tuple[int, int, bytes]:
    """Where the value of member `name` stands in the body, and what to put there."""
    at = members.member_at(request.body, request.peek.fields, name)
    return at, at + memoryview(request.peek.fields[name]).nbytes, content


def replace(body: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """`body` with each (start, end, content) put in place."""
    pieces: list[bytes] = []
    at = 0
    for start, end, content in sorted(changes):
        pieces += (body[at:start], content)
        at = end
    return b"".join((*pieces, body[at:]))

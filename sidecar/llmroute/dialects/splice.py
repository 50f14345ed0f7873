"""The body for a target of the app's own dialect: the app's bytes with `model` replaced, everything else untouched."""

from collections.abc import Iterable

import msgspec

from llmroute.dialects import fields as members
from llmroute.dialects.profiles import Profile
from llmroute.request import Dialect, InferenceRequest, Operation

_encode = msgspec.json.Encoder().encode

Change = tuple[int, int, bytes]
"""Bytes from start to end of the body, and what stands there instead."""

_OPENAI = Dialect.OPENAI
_WITH_USAGE = frozenset({Operation.CHAT, Operation.COMPLETIONS})
_OPTIONS = b',"stream_options":{"include_usage":true}'


def adds_usage(request: InferenceRequest, profile: Profile) -> bool:
    """Whether the target is asked for a usage chunk that the app did not ask for, and that is taken out again."""
    return (
        request.peek.stream
        and not request.peek.include_usage
        and profile.stream_usage
        and request.operation in _WITH_USAGE
        and profile.dialect is _OPENAI
    )


def splice(request: InferenceRequest, profile: Profile, model: str, changes: Iterable[Change] = ()) -> bytes:
    """The app's body for `model`; streams get `stream_options.include_usage` where the provider knows it."""
    body = request.body
    peek = request.peek
    start = peek.model_at
    end = start + memoryview(peek.fields["model"]).nbytes
    name = _encode(model)
    wanted = list(changes)
    if peek.stream and adds_usage(request, profile):
        if "stream_options" in peek.fields:
            given = members.value(peek.fields, "stream_options")
            options = {**(given if isinstance(given, dict) else {}), "include_usage": True}
            wanted.append(change(request, "stream_options", msgspec.json.encode(options)))
        else:
            name += _OPTIONS
    if not wanted:
        return b"".join((body[:start], name, body[end:]))
    return _replaced(body, [(start, end, name), *wanted])


def change(request: InferenceRequest, name: str, content: bytes) -> Change:
    """The change that gives the top-level member `name` the value `content`."""
    at = members.member_at(request.body, request.peek.fields, name)
    return at, at + memoryview(request.peek.fields[name]).nbytes, content


def _replaced(body: bytes, changes: list[Change]) -> bytes:
    pieces: list[bytes] = []
    at = 0
    for start, end, content in sorted(changes):
        pieces += (body[at:start], content)
        at = end
    return b"".join((*pieces, body[at:]))

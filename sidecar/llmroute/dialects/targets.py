"""What a target is sent for a request, and how its answer is read: as is in one dialect, translated between two."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from msgspec import Raw

from llmroute.dialects import anthropic, openai
from llmroute.dialects.bodies import BodyReader
from llmroute.dialects.conversation import Conversation
from llmroute.dialects.fields import value
from llmroute.dialects.profiles import Profile
from llmroute.dialects.reader import AnswerReader
from llmroute.dialects.splice import adds_usage, splice
from llmroute.dialects.translated import TranslatedBody, TranslatedStream
from llmroute.errors import ClientError, Unsupported
from llmroute.request import Dialect, InferenceRequest, Operation
from llmroute.spec import Target

_ANTHROPIC = Dialect.ANTHROPIC
_TRANSLATED = (Operation.CHAT, Operation.MESSAGES)
_APP_NAMES = {
    Dialect.OPENAI: {"format": "response_format"},
    Dialect.ANTHROPIC: {"format": "output_config.format", "stop": "stop_sequences"},
}
"""Fields of our internal form as apps know them, where they differ."""


class _Adapter(NamedTuple):
    """A dialect's way into our internal form and out of it."""

    read_request: Callable[[bytes, dict[str, Raw]], Conversation]
    check: Callable[[Conversation, Profile], None]
    write_request: Callable[[Conversation, Profile, Target], bytes]


_ADAPTERS = {
    Dialect.OPENAI: _Adapter(openai.read_request, openai.check, openai.write_request),
    Dialect.ANTHROPIC: _Adapter(anthropic.read_request, anthropic.check, anthropic.write_request),
}


def missing_for(profile: Profile, request: InferenceRequest) -> str | None:
    """The field of the request that the profile's targets cannot express; None if they can answer it.

    The path of the operation where the provider does not speak it at all.
    """
    operation = request.operation
    if operation not in profile.operations:
        return operation.path
    if operation.dialect is profile.dialect:
        return None
    try:
        _adapted(request, profile)
    except ClientError as error:
        return error.param or "body"
    return None


def encode(request: InferenceRequest, profile: Profile, target: Target) -> bytes:
    """The body for `target`.

    Raises Unsupported where `missing_for` names a field, and BadRequest for a body that its dialect does not allow.
    """
    operation = request.operation
    if operation not in profile.operations:
        raise Unsupported(f"{profile.provider} does not speak {operation.path}", param=operation.path)
    if operation.dialect is not profile.dialect:
        conversation = _adapted(request, profile)
        return _ADAPTERS[profile.dialect].write_request(conversation, profile, target)
    if profile.dialect is _ANTHROPIC:
        return splice(request, profile, target.model, anthropic.mend(request))
    return splice(request, profile, target.model)


def answer_reader(request: InferenceRequest, profile: Profile) -> AnswerReader:
    """A reader for the answer of one attempt."""
    operation = request.operation
    if operation.dialect is not profile.dialect and operation in _TRANSLATED:
        return _translating_reader(request, profile)
    if not request.peek.stream:
        return BodyReader(operation.dialect)
    if operation is Operation.MESSAGES:
        return anthropic.MessageReader()
    if operation is Operation.RESPONSES:
        return openai.EventReader()
    return openai.ChunkReader(drops_usage=adds_usage(request, profile))


def _adapted(request: InferenceRequest, profile: Profile) -> Conversation:
    """The request in our form, which the profile can express. Raises ClientError with the app's field in `param`."""
    app = request.operation.dialect
    try:
        conversation = _ADAPTERS[app].read_request(request.body, request.peek.fields)
        _ADAPTERS[profile.dialect].check(conversation, profile)
    except ClientError as error:
        error.param = _APP_NAMES[app].get(error.param or "", error.param)
        raise
    return conversation


def _translating_reader(request: InferenceRequest, profile: Profile) -> AnswerReader:
    if profile.dialect is Dialect.ANTHROPIC:
        if not request.peek.stream:
            write_chat = partial(openai.write_answer, created=request.created)
            return TranslatedBody(Dialect.ANTHROPIC, read_answer=anthropic.read_answer, write_answer=write_chat)
        writer = openai.PieceWriter(include_usage=request.peek.include_usage, created=request.created)
        return TranslatedStream(anthropic.PieceReader(), writer)
    thinking = _asked_for_thinking(request)
    if not request.peek.stream:
        write = partial(anthropic.write_answer, thinking=thinking)
        return TranslatedBody(Dialect.OPENAI, read_answer=openai.read_answer, write_answer=write)
    events = anthropic.PieceWriter(thinking=thinking, prompt_tokens=request.peek.prompt_tokens)
    return TranslatedStream(openai.PieceReader(), events)


def _asked_for_thinking(request: InferenceRequest) -> bool:
    thinking = value(request.peek.fields, "thinking")
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")

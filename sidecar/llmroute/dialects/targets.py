"""One request and its answer between an app and a target, which may speak different dialects."""

from llmroute.dialects.anthropic.streams import MessageReader
from llmroute.dialects.bodies import BodyReader
from llmroute.dialects.openai.streams import ChunkReader, EventReader
from llmroute.dialects.profiles import Profile
from llmroute.dialects.reader import AnswerReader
from llmroute.dialects.splice import adds_usage, splice
from llmroute.errors import Unsupported
from llmroute.request import InferenceRequest, Operation
from llmroute.spec import Target


def missing_for(profile: Profile, request: InferenceRequest) -> str | None:
    """The field of the request that the profile's targets cannot express; None if they can answer it."""
    operation = request.operation
    if operation not in profile.operations:
        return operation.path
    return None if operation.dialect is profile.dialect else operation.path


def encode(request: InferenceRequest, profile: Profile, target: Target) -> bytes:
    """The body for `target`. Raises Unsupported where `missing_for` names a field."""
    if request.operation.dialect is profile.dialect:
        return splice(request, profile, target.model)
    raise Unsupported(f"{profile.provider} cannot express the request", param=missing_for(profile, request))


def answer_reader(request: InferenceRequest, profile: Profile) -> AnswerReader:
    """A reader for the answer of one attempt."""
    operation = request.operation
    if not request.peek.stream:
        return BodyReader(operation.dialect)
    if operation is Operation.MESSAGES:
        return MessageReader()
    if operation is Operation.RESPONSES:
        return EventReader()
    return ChunkReader(drops_usage=adds_usage(request, profile))

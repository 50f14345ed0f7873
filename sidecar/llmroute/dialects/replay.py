"""Kept answers: one that came as a stream served as a body, and the reverse, in the app's dialect."""

from llmroute.dialects import anthropic, openai
from llmroute.request import Operation, Usage

_CHUNKED = frozenset({Operation.CHAT, Operation.COMPLETIONS})


_UNSHAPELY = (AttributeError, IndexError, KeyError, TypeError)
"""What reading an answer raises that is JSON but not what its API allows."""


def to_stream(operation: Operation, body: bytes, *, include_usage: bool = False) -> bytes:
    """The complete stream for a complete body; `include_usage`: the app asked for the usage chunk.

    Raises ValueError for an operation that has no streams, and for a body that is not what its API allows.
    """
    try:
        return _to_stream(operation, body, include_usage)
    except _UNSHAPELY as error:
        raise ValueError("the body is not what its API allows") from error


def _to_stream(operation: Operation, body: bytes, include_usage: bool) -> bytes:
    if operation in _CHUNKED:
        return openai.to_chunks(body, include_usage=include_usage)
    if operation is Operation.RESPONSES:
        return openai.to_events(body)
    if operation is Operation.MESSAGES:
        return anthropic.to_events(body)
    raise ValueError(f"{operation.path} has no streams")


def to_body(operation: Operation, stream: bytes, usage: Usage | None = None) -> bytes:
    """The complete body for a complete stream; `usage` is what the provider counted if the stream may not say it.

    Raises ValueError for a stream that is not complete, or not what its API allows.
    """
    try:
        return _to_body(operation, stream, usage)
    except _UNSHAPELY as error:
        raise ValueError("the stream is not what its API allows") from error


def _to_body(operation: Operation, stream: bytes, usage: Usage | None) -> bytes:
    if operation in _CHUNKED:
        return openai.from_chunks(stream, usage)
    if operation is Operation.RESPONSES:
        return openai.from_events(stream)
    if operation is Operation.MESSAGES:
        return anthropic.from_events(stream)
    raise ValueError(f"{operation.path} has no streams")


def with_usage(operation: Operation, stream: bytes, usage: Usage | None, *, include_usage: bool) -> bytes:
    """The complete stream with or without the usage chunk, as this app asked; who caused it may ask otherwise."""
    if operation not in _CHUNKED:
        return stream
    reader = openai.ChunkReader(drops_usage=not include_usage)
    relayed = reader.feed(stream) + reader.close()
    if not include_usage or reader.usage is not None:
        return relayed
    return to_stream(operation, to_body(operation, stream, usage), include_usage=True)

"""Readers of chat, completions and responses streams. Fields that we do not need are not decoded."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from llmroute.dialects import sse
from llmroute.dialects.failures import error_of, failure_in_answer
from llmroute.dialects.fields import NULL
from llmroute.dialects.streams import StreamReader
from llmroute.dialects.usage import openai_usage
from llmroute.errors import StreamBroken

DONE = b"[DONE]"
_T = TypeVar("_T")


class _Delta(Struct):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    audio: Any = None
    images: Any = None
    tool_calls: Any = None
    function_call: Any = None


class _Choice(Struct):
    delta: _Delta | None = None
    text: Any = None
    finish_reason: Any = None


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: Raw = NULL
    error: Any = None


class _Response(Struct):
    usage: Raw = NULL
    error: Any = None
    incomplete_details: Any = None


class _Event(Struct):
    type: str = ""
    delta: Any = None
    item: Any = None
    response: _Response | None = None
    error: Any = None
    message: Any = None
    code: Any = None


_chunks = msgspec.json.Decoder(_Chunk)
_events = msgspec.json.Decoder(_Event)


def decode(decoder: msgspec.json.Decoder[_T], data: bytes) -> _T | None:
    """One frame's data; None for valid JSON of another shape. Raises StreamBroken for what is not JSON."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StreamBroken(f"the target sent a frame that is not JSON: {error}") from error


class ChunkReader(StreamReader):
    """Chat completions and completions."""

    __slots__ = ("_drops_usage",)

    marks = (b'tokens"', b'"error"')

    def __init__(self, *, drops_usage: bool) -> None:
        super().__init__()
        self._drops_usage = drops_usage

    def read_frame(self, event: str, data: bytes) -> bool:
        """See StreamReader."""
        if data.strip() == DONE:
            self.end()
            return True
        chunk = decode(_chunks, data)
        if chunk is None:
            return True
        if chunk.error is not None or event == "error":
            self.failure = failure_in_answer(error_of(chunk.error if chunk.error is not None else {}))
            return False
        choices = chunk.choices or ()
        usage = None if chunk.usage is NULL else openai_usage(chunk.usage)
        if usage is not None:
            self.usage = usage
        for choice in choices:
            if choice.finish_reason:
                self.finish = str(choice.finish_reason)
            if choice.text or (choice.delta is not None and _holds_content(choice.delta)):
                self.content()
        return not (self._drops_usage and usage is not None and not choices)

    def end_without_mark(self) -> bytes:
        """See FrameReader."""
        if self.finish is None:
            self._look_back()
        return super().end_without_mark() if self.finish is None else b"data: [DONE]\n\n"

    def end(self) -> None:
        """See FrameReader."""
        super().end()
        if self.finish is None:
            self._look_back()

    def _look_back(self) -> None:
        """Why the answer stopped, from the frames that came just before its end."""
        for frame in reversed(self._passed.split(self._blank)):
            chunk = decode(_chunks, sse.parse(frame)[1]) if frame else None
            for choice in (chunk and chunk.choices) or ():
                if choice.finish_reason:
                    self.finish = str(choice.finish_reason)
                    return


class EventReader(StreamReader):
    """Responses."""

    __slots__ = ()

    marks = (b'"response.completed"', b'"response.incomplete"', b'"response.failed"', b'"error"')

    def read_frame(self, event: str, data: bytes) -> bool:
        """See StreamReader."""
        if data.strip() == DONE:
            self.end()
            return True
        read = decode(_events, data)
        if read is None:
            return True
        kind = read.type or event
        if kind in ("error", "response.failed"):
            error = (
                read.error or (read.response and read.response.error) or {"message": read.message, "code": read.code}
            )
            self.failure = failure_in_answer(error_of(error))
            return False
        if kind in ("response.completed", "response.incomplete"):
            self._complete(read.response or _Response(), kind)
        elif kind.endswith(".delta"):
            if read.delta:
                self.content()
        elif kind == "response.output_item.added" and isinstance(read.item, Mapping) and read.item.get("name"):
            self.content()
        return True

    def _complete(self, response: _Response, kind: str) -> None:
        self.usage = openai_usage(response.usage)
        self.finish = "stop" if kind == "response.completed" else "length"
        details = response.incomplete_details
        if isinstance(details, Mapping) and details.get("reason") == "content_filter":
            self.finish = "content_filter"
        self.end()


def _holds_content(delta: _Delta) -> bool:
    if delta.content or delta.reasoning_content or delta.reasoning or delta.refusal or delta.audio or delta.images:
        return True
    calls = list(delta.tool_calls) if isinstance(delta.tool_calls, list) else []
    if delta.function_call:
        calls.append({"function": delta.function_call})
    return any(_names_or_argues(call) for call in calls)


def _names_or_argues(call: Any) -> bool:
    """Whether a piece of a tool call holds a name or arguments; an id or index alone is no content."""
    if not isinstance(call, Mapping):
        return False
    function = call.get("function") or call.get("custom")
    return isinstance(function, Mapping) and any(function.get(name) for name in ("name", "arguments", "input"))

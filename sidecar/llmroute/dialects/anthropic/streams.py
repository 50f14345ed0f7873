"""Reader of messages streams. Fields that we do not need are not decoded."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmroute.dialects.conversation import FINISH_OF_STOP
from llmroute.dialects.failures import error_of, failure_in_answer
from llmroute.dialects.fields import NULL
from llmroute.dialects.streams import StreamReader
from llmroute.dialects.usage import AnthropicCounts, anthropic_counts
from llmroute.errors import StreamBroken


class _Delta(Struct):
    text: Any = None
    thinking: Any = None
    partial_json: Any = None
    stop_reason: Any = None


class _Block(Struct):
    text: Any = None
    thinking: Any = None
    name: Any = None
    data: Any = None
    content: Any = None


class _Message(Struct):
    usage: Raw = NULL


class _Event(Struct):
    type: str = ""
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Message | None = None
    usage: Raw = NULL
    error: Any = None


_events = msgspec.json.Decoder(_Event)


class MessageReader(StreamReader):
    """Messages."""

    __slots__ = ("_counts",)

    marks = (b'"message_delta"', b'"message_stop"', b'"error"')

    def __init__(self) -> None:
        super().__init__()
        self._counts = AnthropicCounts()

    def read_frame(self, event: str, data: bytes) -> bool:
        """See StreamReader."""
        try:
            read = _events.decode(data)
        except msgspec.ValidationError:
            return True
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StreamBroken(f"the target sent a frame that is not JSON: {error}") from error
        kind = read.type or event
        if kind == "content_block_delta":
            delta = read.delta or _Delta()
            if delta.text or delta.thinking or delta.partial_json:
                self.content()
        elif kind == "content_block_start":
            block = read.content_block or _Block()
            if block.text or block.thinking or block.name or block.data or block.content:
                self.content()
        elif kind == "error":
            self.failure = failure_in_answer(error_of(read.error))
            return False
        elif kind == "message_stop":
            self.end()
        elif kind in ("message_start", "message_delta"):
            self._count(read)
        return True

    def _count(self, read: _Event) -> None:
        usage = read.usage if read.message is None else read.message.usage
        self._counts = self._counts.updated(anthropic_counts(usage))
        self.usage = self._counts.usage()
        reason = None if read.delta is None else read.delta.stop_reason
        if reason and isinstance(reason, str):
            self.finish = FINISH_OF_STOP.get(reason, "stop")

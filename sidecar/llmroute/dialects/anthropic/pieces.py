"""Messages streams: a target's frames to pieces of our internal form, and pieces to an app's frames."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmroute.dialects import sse
from llmroute.dialects.anthropic.answers import UNSIGNED, stop_reason
from llmroute.dialects.conversation import (
    FINISH_OF_STOP,
    CallPiece,
    CallStarted,
    Counted,
    Ended,
    Finished,
    Piece,
    Started,
    TextPiece,
    ThinkingPiece,
)
from llmroute.dialects.failures import Failure, error_of, failure_in_answer
from llmroute.dialects.fields import NULL
from llmroute.dialects.usage import AnthropicCounts, anthropic_counts, as_anthropic
from llmroute.errors import StreamBroken
from llmroute.request import Usage


class _Delta(Struct):
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Block(Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    text: str = ""
    thinking: str = ""


class _Message(Struct):
    id: str = ""
    model: str = ""
    usage: Raw = NULL


class _Event(Struct):
    type: str = ""
    index: int = 0
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Message | None = None
    usage: Raw = NULL
    error: Any = None


_events = msgspec.json.Decoder(_Event)


class PieceReader:
    """Reads a target's events."""

    __slots__ = ("_calls", "_counts")

    def __init__(self) -> None:
        self._counts = AnthropicCounts()
        self._calls: dict[int, int] = {}
        """Index of a tool_use block to our index of the call."""

    def read(self, event: str, data: bytes) -> list[Piece] | Failure:
        """The pieces of one frame. Raises StreamBroken if it is not JSON."""
        try:
            read = _events.decode(data)
        except msgspec.ValidationError:
            return []
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StreamBroken(f"the target sent a frame that is not JSON: {error}") from error
        match read.type or event:
            case "message_start":
                message = read.message or _Message()
                self._counts = anthropic_counts(message.usage)
                return [Started(message.id, message.model, self._counts.usage())]
            case "content_block_start":
                return self._start(read.index, read.content_block or _Block())
            case "content_block_delta":
                return self._delta(read.index, read.delta or _Delta())
            case "message_delta":
                return self._finish(read)
            case "message_stop":
                return [Ended()]
            case "error":
                return failure_in_answer(error_of(read.error))
        return []

    def _start(self, index: int, block: _Block) -> list[Piece]:
        if block.type == "tool_use":
            self._calls[index] = len(self._calls)
            return [CallStarted(self._calls[index], block.id, block.name)]
        return self._delta(index, _Delta(text=block.text, thinking=block.thinking))

    def _delta(self, index: int, delta: _Delta) -> list[Piece]:
        if delta.text:
            return [TextPiece(delta.text)]
        if delta.thinking:
            return [ThinkingPiece(delta.thinking)]
        if delta.partial_json and index in self._calls:
            return [CallPiece(self._calls[index], delta.partial_json)]
        return []

    def _finish(self, read: _Event) -> list[Piece]:
        self._counts = self._counts.updated(anthropic_counts(read.usage))
        usage = self._counts.usage()
        pieces: list[Piece] = [Counted(usage)] if usage is not None else []
        if read.delta is not None and read.delta.stop_reason:
            finish = FINISH_OF_STOP.get(read.delta.stop_reason, "stop")
            pieces.append(Finished(finish, read.delta.stop_sequence))
        return pieces


class PieceWriter:
    """Writes an app's events. One block is open at a time; why the answer stopped is said at the end, with usage."""

    __slots__ = ("_calls", "_finished", "_frames", "_kind", "_next", "_prompt_tokens", "_thinking", "_usage")

    def __init__(self, *, thinking: bool, prompt_tokens: int) -> None:
        self._thinking = thinking
        self._prompt_tokens = prompt_tokens
        self._usage: Usage | None = None
        self._finished = Finished("stop")
        self._frames = 0
        self._kind = ""
        self._next = 0
        self._calls: dict[int, int] = {}

    def write(self, piece: Piece) -> bytes:
        """Frames for one piece; b"" for one that is kept until the end."""
        match piece:
            case Started():
                return self._start(piece)
            case TextPiece():
                return self._open("text", {"text": ""}) + self._delta({"type": "text_delta", "text": piece.text})
            case ThinkingPiece() if self._thinking:
                opened = self._open("thinking", {"thinking": "", "signature": ""})
                return opened + self._delta({"type": "thinking_delta", "thinking": piece.text})
            case CallStarted():
                self._calls[piece.index] = self._next
                return self._close() + self._open("tool_use", {"id": piece.id, "name": piece.name, "input": {}})
            case CallPiece():
                delta = {"type": "input_json_delta", "partial_json": piece.arguments}
                return self._delta(delta, self._calls[piece.index])
            case Finished():
                self._finished = piece
            case Counted():
                self._usage = piece.usage
            case Ended():
                return self._end()
        return b""

    def _start(self, started: Started) -> bytes:
        """The prompt's tokens are an estimate here, where OpenAI has not counted yet; the end tells the true number."""
        usage = started.usage or Usage(self._prompt_tokens, 0)
        message: dict[str, Any] = {
            "id": started.id,
            "type": "message",
            "role": "assistant",
            "model": started.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": as_anthropic(usage),
        }
        return _event("message_start", {"message": message})

    def _open(self, kind: str, block: dict[str, Any]) -> bytes:
        if self._kind == kind:
            return b""
        closed = self._close()
        self._kind = kind
        self._next += 1
        return closed + _event(
            "content_block_start", {"index": self._next - 1, "content_block": {"type": kind, **block}}
        )

    def _close(self) -> bytes:
        if not self._kind:
            return b""
        signature = {"type": "signature_delta", "signature": UNSIGNED}
        signed = self._delta(signature) if self._kind == "thinking" else b""
        self._kind = ""
        return signed + _event("content_block_stop", {"index": self._next - 1})

    def _delta(self, delta: dict[str, Any], index: int | None = None) -> bytes:
        self._frames += 1
        return _event("content_block_delta", {"index": self._next - 1 if index is None else index, "delta": delta})

    def _end(self) -> bytes:
        usage = self._usage or Usage(self._prompt_tokens, self._frames)
        finished = self._finished
        delta = {
            "stop_reason": stop_reason(finished.finish, finished.stop_sequence),
            "stop_sequence": finished.stop_sequence,
        }
        closing = _event("message_delta", {"delta": delta, "usage": as_anthropic(usage)})
        return self._close() + closing + _event("message_stop", {})


def _event(kind: str, members: dict[str, Any]) -> bytes:
    return sse.event(msgspec.json.encode({"type": kind, **members}), kind)

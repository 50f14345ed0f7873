"""Chat completion streams: a target's frames to pieces of our internal form, and pieces to an app's frames."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmroute.dialects import sse
from llmroute.dialects.conversation import (
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
from llmroute.dialects.openai.answers import arguments_of, call_id, finish_of, reasoning_of, text_of
from llmroute.dialects.openai.streams import DONE, decode
from llmroute.dialects.usage import as_openai, openai_usage
from llmroute.request import Usage


class _Function(Struct):
    name: str | None = None
    arguments: Any = None


class _Call(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None
    stop_reason: Any = None


class _Chunk(Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: Raw = NULL
    error: Any = None


_chunks = msgspec.json.Decoder(_Chunk)


class PieceReader:
    """Reads a target's chunks."""

    __slots__ = ("_calls", "_id", "_ids", "_refused", "_started")

    def __init__(self) -> None:
        self._started = False
        self._refused = False
        self._id = ""
        self._calls: dict[int, int] = {}
        """The provider's index of a call to ours. Gemini gives parallel calls one index and tells them apart by id."""
        self._ids: list[str] = []

    def read(self, event: str, data: bytes) -> list[Piece] | Failure:
        """The pieces of one frame. Raises StreamBroken if it is not JSON."""
        if data.strip() == DONE:
            return [Ended()]
        chunk = decode(_chunks, data)
        if chunk is None:
            return []
        if chunk.error is not None or event == "error":
            return failure_in_answer(error_of(chunk.error if chunk.error is not None else {}))
        pieces: list[Piece] = []
        for choice in chunk.choices or ():
            if choice.index == 0:
                if not self._started:
                    self._started = True
                    self._id = chunk.id or ""
                    pieces.append(Started(self._id, chunk.model or ""))
                pieces += self._choice(choice)
        usage = openai_usage(chunk.usage)
        if usage is not None:
            pieces.append(Counted(usage))
        return pieces

    def _choice(self, choice: _Choice) -> list[Piece]:
        delta = choice.delta or _Delta()
        pieces: list[Piece] = [ThinkingPiece(text) for text in reasoning_of(delta) if text]
        self._refused = self._refused or bool(delta.refusal)
        pieces += [TextPiece(text) for text in (text_of(delta.content), delta.refusal) if text]
        for call in delta.tool_calls or ():
            pieces += self._call(call)
        if choice.finish_reason:
            finish = finish_of(choice.finish_reason, calls=bool(self._ids), refused=self._refused)
            pieces.append(Finished(finish, choice.stop_reason if isinstance(choice.stop_reason, str) else None))
        return pieces

    def _call(self, call: _Call) -> list[Piece]:
        function = call.function or _Function()
        key = call.index if call.index is not None else len(self._ids) - (0 if function.name else 1)
        known = self._calls.get(key)
        pieces: list[Piece] = []
        if known is None or (function.name and call.id and call.id != self._ids[known]):
            known = self._calls[key] = len(self._ids)
            self._ids.append(call.id or call_id(self._id, known))
            pieces.append(CallStarted(known, self._ids[known], function.name or ""))
        if function.arguments:
            pieces.append(CallPiece(known, arguments_of(function.arguments)))
        return pieces


class PieceWriter:
    """Writes an app's chunks; usage goes out at the end, if the app asked for it."""

    __slots__ = ("_created", "_head", "_include_usage", "_usage")

    def __init__(self, *, include_usage: bool, created: int) -> None:
        self._created = created
        self._include_usage = include_usage
        self._usage: Usage | None = None
        self._head: dict[str, Any] = {}

    def write(self, piece: Piece) -> bytes:
        """Frames for one piece; b"" for one that is kept until the end."""
        match piece:
            case Started():
                self._head = {
                    "id": piece.id,
                    "object": "chat.completion.chunk",
                    "created": self._created,
                    "model": piece.model,
                }
                self._usage = piece.usage
                return self._chunk({"role": "assistant", "content": ""})
            case TextPiece():
                return self._chunk({"content": piece.text})
            case ThinkingPiece():
                return self._chunk({"reasoning_content": piece.text})
            case CallStarted():
                function = {"name": piece.name, "arguments": ""}
                return self._call({"index": piece.index, "id": piece.id, "type": "function", "function": function})
            case CallPiece():
                return self._call({"index": piece.index, "function": {"arguments": piece.arguments}})
            case Finished():
                return self._chunk({}, piece)
            case Counted():
                self._usage = piece.usage
                return b""
            case Ended():
                return self._end()

    def _call(self, call: dict[str, Any]) -> bytes:
        return self._chunk({"tool_calls": [call]})

    def _chunk(self, delta: dict[str, Any], finished: Finished | None = None) -> bytes:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        if finished is not None:
            choice["finish_reason"] = finished.finish
            if finished.stop_sequence is not None:
                choice["stop_reason"] = finished.stop_sequence
        return sse.event(msgspec.json.encode({**self._head, "choices": [choice]}))

    def _end(self) -> bytes:
        done = sse.event(DONE)
        if not self._include_usage or self._usage is None:
            return done
        return sse.event(msgspec.json.encode({**self._head, "choices": [], "usage": as_openai(self._usage)})) + done

"""Readers of answers from a target of the other dialect, through our internal form."""

from collections.abc import Callable
from typing import Protocol

from llmroute.dialects.bodies import BodyReader
from llmroute.dialects.conversation import (
    Answer,
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
from llmroute.dialects.failures import Failure
from llmroute.dialects.streams import FrameReader
from llmroute.errors import StreamBroken

_CONTENT = (TextPiece, ThinkingPiece, CallStarted, CallPiece)


class PieceReader(Protocol):
    """A dialect's frames to pieces."""

    def read(self, event: str, data: bytes) -> list[Piece] | Failure:
        """The pieces of one frame. Raises StreamBroken if it is not JSON."""
        ...


class PieceWriter(Protocol):
    """Pieces to a dialect's frames."""

    def write(self, piece: Piece) -> bytes:
        """Frames for one piece; b"" for one that is kept until the end."""
        ...


class TranslatedStream(FrameReader):
    """An AnswerReader of streams."""

    __slots__ = ("_reader", "_writer")

    def __init__(self, reader: PieceReader, writer: PieceWriter) -> None:
        super().__init__()
        self._reader = reader
        self._writer = writer

    def take_frame(self, frame: bytes, event: str, data: bytes) -> bytes:
        """See FrameReader."""
        pieces = self._reader.read(event, data) if data else []
        if isinstance(pieces, Failure):
            self.failure = pieces
            return b""
        if any(isinstance(piece, _CONTENT) for piece in pieces):
            self.content()
        return b"".join([self._take(piece) for piece in pieces])

    def end_without_mark(self) -> bytes:
        """See FrameReader."""
        return super().end_without_mark() if self.finish is None else self._take(Ended())

    def _take(self, piece: Piece) -> bytes:
        if isinstance(piece, Finished):
            self.finish = piece.finish
        elif isinstance(piece, Counted | Started):
            self.usage = piece.usage
        elif isinstance(piece, Ended):
            if self.finish is None:  # some servers end a stream so when they interrupt it: it must not look complete
                raise StreamBroken("the stream ended without saying why it stopped")
            self.end()
        return self._writer.write(piece)


class TranslatedBody(BodyReader, kw_only=True, eq=False):
    """An AnswerReader of bodies."""

    read_answer: Callable[[bytes], Answer]
    write_answer: Callable[[Answer], bytes]

    def close(self) -> bytes:
        """See AnswerReader."""
        body = super().close()
        return body if self.failure is not None else self.write_answer(self.read_answer(body))

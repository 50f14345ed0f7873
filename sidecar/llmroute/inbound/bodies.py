"""A body that did not come whole with its head: framing, content coding, back-pressure."""

import asyncio
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpRequestParser

from llmroute.codings import Decoder, decoder_for
from llmroute.errors import BadRequest
from llmroute.inbound.heads import CHUNKED, Opening

if TYPE_CHECKING:
    from llmroute.inbound.connection import Connection

HIGH = 256 * 1024
"""Unread bytes above which the app is no longer read from."""
PIECE = 256 * 1024
"""Bytes that an inflated body is read in."""
MAX_BARREN = 64 * 1024
"""Bytes of chunk sizes, extensions and trailers without a byte of the body among them."""

_CHUNKED_HEAD = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"


class Body:
    """Bytes go in by `feed`, and come out by `read`, in the order in which they came."""

    __slots__ = (
        "_barren",
        "_connection",
        "_decoder",
        "_error",
        "_left",
        "_parser",
        "_pieces",
        "_waiter",
        "ended",
        "length",
        "unread",
    )

    def __init__(self, connection: "Connection", opening: Opening, length: int) -> None:
        self._connection = connection
        self._pieces: list[bytes] = []
        self._left = self.length = length
        self._decoder: Decoder | None = decoder_for(opening.coding) if opening.coding else None
        self._parser: HttpRequestParser | None = None
        self._barren = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self.unread = 0
        self.ended = length == 0
        """All of it has come, or no more of it will be taken."""
        if length == CHUNKED:
            self._parser = HttpRequestParser(self)
            self._parser.feed_data(_CHUNKED_HEAD)
            self.ended = False

    @property
    def decodes(self) -> bool:
        """Whether what is read has lost its content coding."""
        return self._decoder is not None

    def feed(self, received: bytes) -> bytes:
        """Take what belongs to the body, give what lies behind it."""
        behind = b""
        if self._parser is not None:
            self._parse(self._parser, received)
        else:
            left = self._left
            if len(received) > left:
                received, behind = received[:left], received[left:]
            self._left = left - len(received)
            self.ended = self._left == 0
            if received:
                self._take(received)
        if self.unread > HIGH and not self.ended:
            self._connection.hold_up()
        self._wake()
        return behind

    def fail(self, error: Exception) -> None:
        """No more will come."""
        self.ended = True
        self._error = error
        self._wake()

    async def read(self) -> bytes:
        """The next piece; b"" at the end. Raises BadRequest, and ConnectionError if the app has hung up."""
        while True:
            piece = self._joined() if self._decoder is None else self._decoded(self._decoder)
            if piece:
                return piece
            if self._error is not None:
                raise self._error
            if self.ended:
                if self._decoder is not None and not self._decoder.finished():
                    raise BadRequest("the body could not be read: its compression is cut")
                return b""
            if not self._pieces:
                self._waiter = asyncio.get_running_loop().create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None

    def _joined(self) -> bytes:
        joined = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self.unread = 0
        self._connection.go_on()
        return joined

    def _decoded(self, decoder: Decoder) -> bytes:
        try:
            piece = decoder.take(PIECE)
            if not piece and self._pieces:
                decoder.feed(self._joined())
                piece = decoder.take(PIECE)
        except ValueError as error:
            raise BadRequest(f"the body could not be read: {error}") from error
        return piece

    def _take(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.unread += len(piece)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _parse(self, parser: HttpRequestParser, received: bytes) -> None:
        unread = self.unread
        try:
            parser.feed_data(received)
        except HttpParserError as error:
            if not self.ended:  # else it is about what lies behind, which `on_message_begin` has refused
                self._break(f"the body could not be read: {error}")
        self._barren = 0 if self.unread > unread else self._barren + len(received)
        if self._barren > MAX_BARREN:
            self._break("the body's chunks hold nothing but extensions or trailers")

    def _break(self, reason: str) -> None:
        self._connection.spoil()
        self.fail(BadRequest(reason))

    # What the parser calls, for chunks.

    def on_body(self, piece: bytes) -> None:
        """A chunk, or a part of one."""
        self._take(piece)

    def on_message_complete(self) -> None:
        """The last chunk and its trailers."""
        self.ended = True

    def on_message_begin(self) -> None:
        """Bytes of another request came with the last chunk. The parser does not say where they begin, so they are
        dropped and the connection ends with this answer: whoever pipelines knows how to send them again."""
        if self.ended:
            self._connection.spoil()
            raise ValueError("bytes behind the last chunk")

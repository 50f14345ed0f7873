"""Bytes on the wire: one connection, one parser, at most one response at a time."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import TYPE_CHECKING, cast

from httptools import HttpParserError, HttpResponseParser

from llmroute.errors import StreamBroken
from llmroute.upstream.sending import PIECE, Pump, Sending, Upload

if TYPE_CHECKING:
    from llmroute.upstream.pool import Pool
    from llmroute.upstream.response import Response

HIGH = 256 * 1024
"""Unread bytes above which the target is no longer read from."""
MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 256
TOO_MANY_HEADER_BYTES = "the answer has over 64 KiB of headers"
JOIN = 16 * 1024
"""Bodies up to here are copied behind their head: one buffer (and one TLS record) costs less than two."""


class Connection(asyncio.Protocol):
    """An HTTP/1.1 client connection.

    The parser calls `on_*` from inside `data_received`. `on_body` is the `append` of the list of unread chunks,
    so that a chunk costs no Python frame. Whoever holds `response` reads `chunks`; the pool may lend the
    connection again only when `reusable()` says so.
    """

    __slots__ = (
        "_feed",
        "_parser",
        "address",
        "barren",
        "born_at",
        "chunks",
        "expires_at",
        "full",
        "headers",
        "high",
        "keep_alive",
        "lost",
        "on_body",
        "owner",
        "paused",
        "response",
        "retiring",
        "sending",
        "transport",
        "unread",
        "used",
    )

    transport: asyncio.Transport

    def __init__(self, address: str) -> None:
        self.address = address
        self.born_at = monotonic()
        self.expires_at = 0.0
        self.chunks: list[bytes] = []
        self.on_body = self.chunks.append
        self.headers: list[tuple[bytes, bytes]] = []
        self.response: Response | None = None
        self.owner: Pool | None = None
        self.sending: Sending | None = None
        self.unread = 0
        self.barren = 0  # bytes since the last progress of a body: heads, trailers, chunk extensions
        self.high = HIGH
        self.paused = False
        self.full = False
        self.lost = False
        self.retiring = False
        self.used = False
        self.keep_alive = False
        self._parser = HttpResponseParser(self)
        self._feed = self._parser.feed_data

    # --- the pool's and the response's side -------------------------------------------------------------

    def begin(self, response: "Response", head: bytes, body: bytes) -> None:
        """Writes a whole request, whose answer goes to `response`. `head` ends with its last header line."""
        self._lend(response)
        if self.lost:
            return
        first = head[0]
        if first == 72:  # HEAD
            response.bodiless = True
        length = len(body)
        if length <= JOIN:
            if length or first == 80:  # POST, PUT, PATCH: a length even of nothing
                self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, length, body))
            else:
                self.transport.write(head + b"\r\n")
        elif length <= PIECE:
            self.transport.writelines((b"%bcontent-length: %d\r\n\r\n" % (head, length), body))
        else:
            self.transport.write(b"%bcontent-length: %d\r\n\r\n" % (head, length))
            self.sending = Pump(self, body)
            self.sending.resume()

    def begin_streaming(
        self, response: "Response", head: bytes, body: AsyncIterator[bytes], length: int | None
    ) -> None:
        """Writes a head that declares `length` (chunks if None); the body follows as it arrives."""
        self._lend(response)
        if self.lost:
            return
        self.transport.write(head + b"\r\n")
        self.sending = Upload(self, response, body, length)

    def _lend(self, response: "Response") -> None:
        self.response = response
        self.unread = 0
        self.barren = 0
        self.high = HIGH
        response.written_at = monotonic()
        if self.lost:
            self._break(None)

    def take(self) -> bytes:
        """All unread bytes at once; the target may go on sending."""
        unread = b"".join(self.chunks)
        self.chunks.clear()
        self.unread = 0
        self.resume()
        return unread

    def resume(self) -> None:
        """Reads from the target again."""
        if self.paused:
            self.paused = False
            self.transport.resume_reading()

    def reusable(self) -> bool:
        """Whether the next request may go over this connection: nothing of this one is left in either direction."""
        return (
            self.keep_alive
            and not self.lost
            and not self.retiring
            and not self.chunks
            and self.sending is None
            and self.transport.get_write_buffer_size() == 0
        )

    def close(self) -> None:
        """Closes at once, dropping what is still to be sent; cuts short a close that is under way."""
        self._leave()
        self.transport.abort()

    # --- asyncio.Protocol -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop, or by the tunnel of a proxy."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Parses, then wakes whoever waits for what has come: once, however many chunks there were."""
        response = self.response
        if response is None:
            self.close()  # nobody asked: a timeout notice, or the rest of a message that lied about its length
            return
        if response.ended:
            self.keep_alive = False
            return
        response.last_byte_at = monotonic()
        size = len(data)
        self.unread += size
        chunks = len(self.chunks)
        try:
            self._feed(data)
        except HttpParserError as error:
            if not response.ended:
                self._garbage(response, error)
                return
            self.keep_alive = False  # bytes after the end of the message
        if response.ended:
            response.wake()
            return
        if len(self.chunks) == chunks:
            self.barren += size
            if self.barren > MAX_HEADER_BYTES:
                self._fail(response, StreamBroken(f"{response.origin}: {TOO_MANY_HEADER_BYTES}"))
                return
        else:
            self.barren = 0
        if self.unread > self.high and not self.paused:
            self.paused = True
            self.transport.pause_reading()
        if response.waiter is not None and response.satisfied():
            response.wake()

    def eof_received(self) -> None:
        """The target sends no more: the clean end of a message without a length, a failure of any other."""
        response = self.response
        self._leave()
        if response is None or response.ended:
            return
        if response.status and response.ends_at_close():
            self._end(response)
            response.wake()
        else:
            self._break(None)
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, in whatever state it was."""
        self._leave()
        if self.owner is not None:
            self.owner.bury(self)
        response = self.response
        if response is not None and not response.ended:
            self._break(exc)
        self.stop_sending()
        del self._feed, self._parser  # cycles through bound methods
        del self.on_body

    def pause_writing(self) -> None:
        """The target takes no more for now."""
        self.full = True

    def resume_writing(self) -> None:
        """The target takes more."""
        self.full = False
        if self.sending is not None:
            self.sending.resume()

    # --- httptools --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Refuses a second message behind the one that was asked for."""
        response = self.response
        if response is None or response.ended:
            raise StreamBroken("bytes after the end of the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Headers of the head, later those of trailers, which nobody reads."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Interim answers (100, 102, 103) are skipped; 101 would be another protocol."""
        response = self.response
        assert response is not None  # on_message_begin has seen it
        status = self._parser.get_status_code()
        headers = self.headers
        self.headers = []
        if len(headers) > MAX_HEADERS:
            raise StreamBroken(f"{response.origin}: the answer has {len(headers)} headers; {MAX_HEADERS} are allowed")
        if self.unread > MAX_HEADER_BYTES and sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
            raise StreamBroken(f"{response.origin}: {TOO_MANY_HEADER_BYTES}")
        if status < 200:
            if status == 101 or status < 100:
                raise StreamBroken(f"{response.origin}: the answer has status {status}, which was not asked for")
            return
        response.start(status, headers)
        response.headers_at = response.last_byte_at
        if self.sending is not None and status >= 400:
            self.stop_sending()  # an early refusal: the rest of the body would be wasted
            self.retiring = True
        if response.bodiless:
            self._end(response)
            self.keep_alive = False  # httptools cannot be told that HEAD has no body, and now waits for one
            self.chunks = []  # where the parser cannot put it

    def on_message_complete(self) -> None:
        """The end of an interim answer, or of the answer."""
        response = self.response
        if self.headers:
            self.headers.clear()
        if response is not None and response.status and not response.ended:
            self._end(response)

    def _end(self, response: "Response") -> None:
        self.keep_alive = self._parser.should_keep_alive()
        if self.sending is not None:
            self.stop_sending()  # the target has answered without the rest
            self.retiring = True
        response.end()

    # --- failures ---------------------------------------------------------------------------------------

    def stop_sending(self) -> None:
        """Drops the rest of a request's body."""
        if self.sending is not None:
            sending, self.sending = self.sending, None
            sending.stop()

    def _leave(self) -> None:
        if not self.lost:
            self.lost = True
            if self.owner is not None:
                self.owner.forget(self)

    def _garbage(self, response: "Response", error: HttpParserError) -> None:
        cause = error.__context__
        if isinstance(cause, StreamBroken):
            self._fail(response, cause)
            return
        broken = StreamBroken(f"{response.origin}: the answer is not HTTP/1.1: {error}")
        broken.__cause__ = error
        self._fail(response, broken)

    def _fail(self, response: "Response", error: StreamBroken) -> None:
        response.error = error
        self.close()
        response.wake()

    def _break(self, cause: Exception | None) -> None:
        response = self.response
        if response is None or response.error is not None or response.stale:
            return
        if response.repeatable(monotonic()):
            response.stale = True
        else:
            how = "was reset" if isinstance(cause, ConnectionError) else f"failed ({cause})" if cause else "was closed"
            when = "was complete" if response.status else "began"
            response.error = StreamBroken(f"{response.origin}: the connection {how} before the answer {when}")
            response.error.__cause__ = cause
        response.wake()

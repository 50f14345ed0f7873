"""The server side of HTTP/1.1 on a transport, bare enough to misbehave: it can reset, cut, drip and fall silent.

Knows nothing of LLMs. One request at a time is answered; pipelined ones wait their turn.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any, Protocol, cast

import httptools

KEPT_BODY = 32 * 1024 * 1024
"""Bytes of a request's body that are kept; the rest is only counted."""
_MOST_PIPELINED = 16
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}

Headers = tuple[tuple[str, str], ...]


class Request:
    """What arrived. `size` counts all bytes of the body, `body` holds at most KEPT_BODY of them."""

    __slots__ = ("body", "fields", "keep_alive", "method", "path", "query", "size", "version")

    def __init__(self) -> None:
        self.method = ""
        self.path = ""
        self.query = ""
        self.version = "1.1"
        self.fields: list[tuple[bytes, bytes]] = []
        """Header names (lower case) and values, in order."""
        self.body = b""
        self.size = 0
        self.keep_alive = True

    def header(self, name: bytes) -> str | None:
        """The first header of this name (lower case)."""
        for field, value in self.fields:
            if field == name:
                return value.decode("latin-1")
        return None


class Handler(Protocol):
    """Answers requests of all connections of one provider."""

    def opened(self, connection: "Connection") -> None:
        """A client connected."""

    def closed(self, connection: "Connection") -> None:
        """The connection is gone."""

    def handle(self, connection: "Connection", request: Request) -> Coroutine[Any, Any, None] | None:
        """Answers at once (None), or by the coroutine, which is cancelled when the client hangs up."""


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, handler: Handler, loop: asyncio.AbstractEventLoop) -> None:
        self._handler = handler
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._arriving = Request()
        self._pieces: list[bytes] = []
        self._waiting: deque[Request] = deque()
        self._current: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._last = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the type
        self._handler.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol. Whoever still answers is cancelled: nobody listens any more."""
        self._transport = None
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
        self.resume_writing()
        self._handler.closed(self)

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                self._transport.close()

    def pause_writing(self) -> None:
        """Part of asyncio.Protocol: the client reads too slowly."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Part of asyncio.Protocol."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # What httptools calls.

    def on_message_begin(self) -> None:
        """Part of httptools' protocol."""
        self._arriving = Request()
        self._pieces = []

    def on_url(self, url: bytes) -> None:
        """Part of httptools' protocol; a long target comes in pieces."""
        self._arriving.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Part of httptools' protocol."""
        self._arriving.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Part of httptools' protocol."""
        request = self._arriving
        request.method = self._parser.get_method().decode("latin-1")
        request.path, _, request.query = request.path.partition("?")
        request.version = self._parser.get_http_version()
        request.keep_alive = self._parser.should_keep_alive()
        if self._transport is not None and (request.header(b"expect") or "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Part of httptools' protocol."""
        if self._arriving.size < KEPT_BODY:
            self._pieces.append(body[: KEPT_BODY - self._arriving.size])
        self._arriving.size += len(body)

    def on_message_complete(self) -> None:
        """Part of httptools' protocol."""
        request = self._arriving
        request.body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        self._waiting.append(request)
        if self._current is None:
            self._next()
        elif len(self._waiting) >= _MOST_PIPELINED and self._transport is not None:
            self._transport.pause_reading()

    # What the answering side calls.

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer in one write."""
        self.write(head(status, headers, (("content-length", str(len(body))),), closing=self._closing) + body)

    def stream_head(self, status: int, headers: Headers) -> bytes:
        """The head of a streamed answer."""
        framing = () if self._close_delimited else (("transfer-encoding", "chunked"),)
        return head(status, headers, framing, closing=self._closing)

    def chunk(self, payload: bytes) -> bytes:
        """A piece of a streamed answer as it goes over the wire."""
        return payload if self._close_delimited or not payload else b"%x\r\n%b\r\n" % (len(payload), payload)

    def stream_end(self) -> bytes:
        """What ends a streamed answer."""
        return b"" if self._close_delimited else b"0\r\n\r\n"

    def write(self, raw: bytes) -> None:
        """Raw bytes, whatever they are."""
        if self._transport is not None and raw:
            self._transport.write(raw)

    async def drained(self) -> None:
        """Waits until the client has read enough for more to be written."""
        if self._writable is not None:
            await self._writable

    def close_after_answer(self) -> None:
        """No further request on this connection: at once if idle, else after the answer in hand."""
        self._last = True
        if self._current is None:
            self.close()

    def close(self) -> None:
        """FIN, after what was written."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """RST: a linger time of zero makes the kernel send it instead of FIN."""
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    @property
    def _closing(self) -> bool:
        return self._last or (self._current is not None and not self._current.keep_alive)

    @property
    def _close_delimited(self) -> bool:
        return self._current is not None and self._current.version == "1.0"

    def _next(self) -> None:
        while self._waiting and self._transport is not None:
            self._current = self._waiting.popleft()
            answer = self._handler.handle(self, self._current)
            if answer is not None:
                self._task = self._loop.create_task(answer)
                self._task.add_done_callback(self._answered)
                return
            self._finish()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            self._current = None
            return
        error = task.exception()
        self._finish()
        if error is not None:
            self.reset()
            self._loop.call_exception_handler({"message": "a simulated answer failed", "exception": error})
            return
        self._next()

    def _finish(self) -> None:
        closing = self._closing or self._close_delimited
        self._current = None
        if closing:
            self._waiting.clear()
            self.close()


def head(status: int, headers: Headers, framing: Headers, *, closing: bool) -> bytes:
    """The head of an answer up to and with the empty line."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers + framing]
    if closing:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")

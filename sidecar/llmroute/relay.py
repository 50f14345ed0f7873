"""Bytes to the app: heads, one write per read, back-pressure, honest endings.

aiohttp's server parses requests and keeps connections; its response classes are not used, because building and
serialising their header maps costs more than all our own work on a small answer.
"""

from collections.abc import Callable
from http import HTTPStatus
from time import monotonic

from aiohttp import HttpVersion11, web

from llmroute import dialects
from llmroute.errors import AttemptError
from llmroute.exchange import Exchange
from llmroute.inbound import SENT, SENT_AND_CLOSE, Arrival
from llmroute.request import Outcome

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
_LAST_CHUNK = b"0\r\n\r\n"


def _head(arrival: Arrival, status: int, headers: bytes, closing: bool) -> bytes:
    start = _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
    if closing:
        return b"%b%bconnection: close\r\n" % (start, headers)
    version = arrival.message.version
    if version is not HttpVersion11 and version < HttpVersion11:
        return b"%b%bconnection: keep-alive\r\n" % (start, headers)
    return start + headers


async def send_whole(
    arrival: Arrival, status: int, content_type: bytes, headers: bytes, body: bytes, *, close: bool = False
) -> web.StreamResponse:
    """A complete answer in one write. `headers` are whole lines."""
    message = arrival.message
    closing = close or message.should_close
    head = _head(arrival, status, headers, closing)
    length = len(body)
    if message.method == "HEAD":
        body = b""
    if arrival.write(b"%bcontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (head, content_type, length, body)):
        await arrival.drained()
    return SENT_AND_CLOSE if closing else SENT


async def send_bodiless(arrival: Arrival, status: int, content_type: bytes, headers: bytes) -> web.StreamResponse:
    """An answer that has no body by its nature, to HEAD or with 204: any framing would be taken for the next answer."""
    closing = arrival.message.should_close
    head = _head(arrival, status, headers, closing)
    if arrival.write(b"%bcontent-type: %b\r\n\r\n" % (head, content_type)):
        await arrival.drained()
    return SENT_AND_CLOSE if closing else SENT


class Pipe:
    """An answer written piece by piece: chunked, or ended by close for an HTTP/1.0 client."""

    __slots__ = ("_arrival", "_chunked", "_closing", "_head")

    def __init__(self, arrival: Arrival) -> None:
        message = arrival.message
        self._arrival = arrival
        self._chunked = message.version >= HttpVersion11
        self._closing = not self._chunked or message.should_close or not arrival.content.is_eof()
        self._head = b""

    def begin(self, status: int, content_type: bytes, headers: bytes) -> None:
        """The head; it leaves with the first piece."""
        framing = b"transfer-encoding: chunked\r\n\r\n" if self._chunked else b"\r\n"
        head = _head(self._arrival, status, headers, self._closing)
        self._head = b"%bcontent-type: %b\r\n%b" % (head, content_type, framing)

    async def write(self, piece: bytes, *, last: bool = False) -> None:
        """One write; returns when the app has taken enough for more to come. Raises ConnectionError."""
        out = piece
        if self._chunked:
            out = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
            if last:
                out += _LAST_CHUNK
        if self._head:
            out = self._head + out
            self._head = b""
        if out and self._arrival.write(out):
            await self._arrival.drained()

    def ended(self) -> web.StreamResponse:
        """What the handler returns after the last piece."""
        return SENT_AND_CLOSE if self._closing else SENT


class Relay:
    """A committed exchange, written to the app as it comes.

    `tee`, if given, is handed every piece as well; `goes_on()` tells whether the answer is still wanted by others
    after the app has hung up.
    """

    __slots__ = ("_exchange", "_goes_on", "_hung_up", "_pipe", "_tee")

    def __init__(
        self,
        arrival: Arrival,
        exchange: Exchange,
        tee: Callable[[bytes], None] | None = None,
        goes_on: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pipe = Pipe(arrival)
        self._exchange = exchange
        self._tee = tee
        self._goes_on = goes_on
        self._hung_up = False

    async def run(self, content_type: bytes, headers: bytes, first: bytes) -> web.StreamResponse:
        """Write the head and everything after it. An exchange that breaks ends with the dialect's error event,
        without the event that would mark a clean end, and the connection closes."""
        exchange, piece = self._exchange, first
        self._pipe.begin(200, content_type, headers)
        try:
            while True:
                if self._tee is not None:
                    self._tee(piece)
                await self._write(piece, last=exchange.complete)
                if exchange.complete:
                    return self._pipe.ended()
                piece = await exchange.more()
        except AttemptError as error:
            await self._end_honestly(error)
            return SENT_AND_CLOSE
        finally:
            exchange.finish(Outcome.CANCELLED)

    async def _write(self, piece: bytes, *, last: bool) -> None:
        if self._hung_up:
            return
        exchange = self._exchange
        before = monotonic()
        try:
            await self._pipe.write(piece, last=last)
        except ConnectionError:
            if not self._goes_on():
                raise
            self._hung_up = True
        exchange.stalled += monotonic() - before

    async def _end_honestly(self, error: AttemptError) -> None:
        """After the commit point nothing can be retried: say so in the stream, and do not let it look complete."""
        inference = self._exchange.request
        if inference.stream:
            event = dialects.error_event(inference.operation.dialect, inference.operation, error)
            await self._write(event, last=True)

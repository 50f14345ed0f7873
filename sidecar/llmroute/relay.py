"""Bytes to the app: heads, one write per read, back-pressure, honest endings."""

import asyncio
import contextlib
from http import HTTPStatus
from time import monotonic
from typing import Protocol

from llmroute import dialects
from llmroute.errors import AttemptError, Internal, RequestError
from llmroute.exchange import Exchange
from llmroute.inbound import Arrival
from llmroute.lines import for_origin
from llmroute.request import Outcome

LONGEST_HOLD_UP = 1.0
"""Seconds that an app that does not read can hold up others who have come to wait for the same answer."""
OWN_ERROR = "an error inside LLMRoute; its log has the details"
JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
_LAST_CHUNK = b"0\r\n\r\n"


def _head(arrival: Arrival, status: int, headers: bytes) -> bytes:
    start = _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
    said = arrival.opening.head
    if said is not None and said.origin:
        headers += for_origin(said.origin)
    if arrival.body is not None and not arrival.body.ended:  # what is left of it is not read
        arrival.stays = False
    if not arrival.stays:
        return b"%b%bconnection: close\r\n" % (start, headers)
    if arrival.opening.old:
        return b"%b%bconnection: keep-alive\r\n" % (start, headers)
    return start + headers


def send_whole(arrival: Arrival, status: int, content_type: bytes, headers: bytes, body: bytes) -> None:
    """A complete answer in one write. `headers` are whole lines. Raises ConnectionError."""
    head = _head(arrival, status, headers)
    length = len(body)
    if arrival.opening.method == "HEAD":
        body = b""
    arrival.write(b"%bcontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (head, content_type, length, body))


def send_bodiless(arrival: Arrival, status: int, content_type: bytes, headers: bytes) -> None:
    """An answer that has no body by its nature, to HEAD or with 204: any framing would be taken for the next answer.

    Raises ConnectionError.
    """
    arrival.write(b"%bcontent-type: %b\r\n\r\n" % (_head(arrival, status, headers), content_type))


class Pipe:
    """An answer written piece by piece: chunked, or ended by close for an HTTP/1.0 client."""

    __slots__ = ("_arrival", "_chunked", "_head", "_status")

    def __init__(self, arrival: Arrival) -> None:
        self._arrival = arrival
        self._status = 0
        self._chunked = not arrival.opening.old
        if not self._chunked:
            arrival.stays = False
        self._head = b""

    def begin(self, status: int, content_type: bytes, headers: bytes) -> None:
        """The head; it leaves with the first piece."""
        framing = b"transfer-encoding: chunked\r\n\r\n" if self._chunked else b"\r\n"
        self._status = status
        head = _head(self._arrival, status, headers)
        self._head = b"%bcontent-type: %b\r\n%b" % (head, content_type, framing)

    async def write(self, piece: bytes, *, last: bool = False) -> None:
        """One write; returns when the app has taken enough for more to come. Raises ConnectionError."""
        if self.put(piece, last=last):
            await self._arrival.drained()

    async def drained(self) -> None:
        """Until the app has taken enough for more to come. Raises ConnectionError."""
        await self._arrival.drained()

    def put(self, piece: bytes, *, last: bool = False) -> bool:
        """One write. True: the app can take no more for now. Raises ConnectionError."""
        out = piece
        if self._chunked:
            out = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
            if last:
                out += _LAST_CHUNK
        if self._head:
            out = self._head + out
            self._head = b""
            self._arrival.begun = self._status
        return bool(out) and self._arrival.write(out)


class Audience(Protocol):
    """Others who want the same answer as the app."""

    def take(self, piece: bytes) -> None:
        """A piece of the answer, before the app gets it; the exchange is complete with the last one."""

    def waits(self) -> bool:
        """Whether anybody waits for the answer now."""

    def hung_up(self) -> bool:
        """The app has hung up. True: go on, others wait; the app counts no more."""


class Relay:
    """A committed exchange, written to the app as it comes, and to an audience, if there is one."""

    __slots__ = ("_arrival", "_audience", "_exchange", "_hung_up", "_pipe")

    def __init__(self, arrival: Arrival, exchange: Exchange, audience: Audience | None = None) -> None:
        self._arrival = arrival
        self._pipe = Pipe(arrival)
        self._exchange = exchange
        self._audience = audience
        self._hung_up = False

    async def run(self, content_type: bytes, headers: bytes, first: bytes) -> None:
        """Write the head and everything after it. An exchange that breaks ends with the dialect's error event,
        without the event that would mark a clean end, and the connection closes."""
        exchange, piece = self._exchange, first
        self._pipe.begin(200, content_type, headers)
        try:
            while True:
                if self._audience is not None:
                    self._audience.take(piece)
                if self._put(piece, last=exchange.complete):
                    await self._drained()
                if exchange.complete:
                    return
                piece = await exchange.more()
        except AttemptError as error:
            await self._end_honestly(error)
        except ConnectionError:
            raise
        except Exception:
            await self._end_honestly(Internal(OWN_ERROR))
            raise
        finally:
            exchange.finish(Outcome.CANCELLED)

    def _put(self, piece: bytes, *, last: bool) -> bool:
        """One write. True: the app can take no more for now."""
        if self._hung_up:
            return False
        try:
            return self._pipe.put(piece, last=last)
        except ConnectionError as error:
            self._lose(error)
            return False

    def _lose(self, error: ConnectionError) -> None:
        """The app has hung up. Raises the error unless others wait."""
        if self._audience is None or not self._audience.hung_up():
            raise error
        self._hung_up = True

    async def _drained(self) -> None:
        before = monotonic()
        try:
            await self._taken()
        except ConnectionError as error:
            self._lose(error)
        self._exchange.stalled += monotonic() - before

    async def _taken(self) -> None:
        """Until the app has taken enough for more to come, unless others wait: one app must not hold them up. What
        it has not taken then waits in its connection; an audience waits for bounded answers only."""
        audience = self._audience
        if audience is None:
            await self._pipe.drained()
            return
        while not audience.waits():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_HOLD_UP):
                    await self._pipe.drained()
                    return

    async def _end_honestly(self, error: RequestError) -> None:
        """After the commit point nothing can be retried: say so in the stream, and do not let it look complete."""
        self._arrival.stays = False
        inference = self._exchange.request
        if inference.stream:
            event = dialects.error_event(inference.operation.dialect, inference.operation, error)
            if self._put(event, last=True):
                await self._drained()

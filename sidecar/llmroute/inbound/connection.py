"""One connection of an app: requests in, one at a time, and bytes out."""

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from llmroute.inbound.arrival import Arrival
from llmroute.inbound.bodies import Body
from llmroute.inbound.heads import BadHead, Opening, Reading

if TYPE_CHECKING:
    from llmroute.inbound.server import AppServer

log = logging.getLogger("llmroute")

MAX_HELD = 64 * 1024
"""Bytes of further requests that are taken while one is being answered; the rest waits in the kernel."""
LINGER = 1.0
"""Seconds that what an app still sends is read and dropped after the last answer: closing at once would reset the
connection, and might take the answer with it."""


class Connection(asyncio.Protocol):
    """Reads one request at a time: what comes behind it waits, so that answers leave in order.

    The usual request has the same head as the last one but for the length of its body, and comes whole: that takes a
    comparison of bytes and no parser. An app that hangs up cancels its request at once, unless others wait for the
    same answer.
    """

    __slots__ = (
        "_arrival",
        "_dropping",
        "_held",
        "_known",
        "_loop",
        "_paused",
        "_reading",
        "_server",
        "_task",
        "_timer",
        "_turn",
        "_waiter",
        "full",
        "lost",
        "quiet",
        "transport",
    )

    transport: asyncio.Transport
    _task: asyncio.Task[None]

    def __init__(self, server: "AppServer") -> None:
        self._server = server
        self._loop = server.loop
        self._known: Opening | None = None
        self._reading: Reading | None = None
        self._arrival: Arrival | None = None
        self._turn: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._held = b""
        self._paused = False
        self._dropping = False
        self.full = False
        """The app takes no more for now."""
        self.lost = False
        """Nothing that is written can arrive."""
        self.quiet = 0
        """Rounds of the server without a request."""

    # --- asyncio.Protocol -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self.transport = cast(asyncio.Transport, transport)
        self._task = self._loop.create_task(self._work())
        self._server.opened(self)

    def data_received(self, received: bytes) -> None:
        """Know the usual head again; anything else takes the long way."""
        known = self._known
        if known is not None and self._arrival is None and self._reading is None and received.startswith(known.before):
            at = known.length_at
            end = received.find(b"\r", at, at + 16)
            digits = received[at:end]
            if end > at and received.startswith(known.after, end) and digits.isdigit():
                self._open(known, int(digits), received[end + len(known.after) :])
                return
        self._receive(received)

    def eof_received(self) -> bool:
        """The app sends no more. It has hung up: none of them closes one direction only. An answer for which nothing
        is to be awaited goes out nevertheless: whatever was begun before takes its first step first."""
        if self._arrival is None:
            return False
        self._loop.call_soon(self._hung_up)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The app has hung up, or we have."""
        self.lost = True
        self._stop_timer()
        self._wake()
        arrival = self._arrival
        if arrival is None:
            self._task.cancel()
            self._server.closed(self)
            return
        if arrival.body is not None:
            arrival.body.fail(ConnectionResetError("the app has hung up"))
        self._loop.call_soon(self._hung_up)

    def pause_writing(self) -> None:
        """The app takes no more for now."""
        self.full = True

    def resume_writing(self) -> None:
        """The app takes more."""
        self.full = False
        self._wake()

    # --- reading ----------------------------------------------------------------------------------------

    def _receive(self, received: bytes) -> None:
        arrival = self._arrival
        if self._dropping:
            return
        if arrival is None:
            self._read_head(received)
            return
        if arrival.body is not None and not arrival.body.ended:
            received = arrival.body.feed(received)
        if received:
            self._held += received
            if len(self._held) > MAX_HELD:
                self.hold_up()

    def _read_head(self, received: bytes) -> None:
        reading = self._reading
        if reading is None:
            received = received.lstrip(b"\r\n")  # empty lines before a request mean nothing
            if not received:
                return
            reading = self._reading = Reading()
        try:
            behind = reading.feed(received)
        except BadHead as error:
            self._refuse(error.status, str(error))
            return
        opening = reading.opening
        if opening is None:
            if self._timer is None:
                self._timer = self._loop.call_later(self._server.header_timeout, self._late)
            return
        self._reading = None
        self._stop_timer()
        self._known = opening if opening.before else None
        self._open(opening, opening.length, behind)
        if self._server.draining:
            self.end_soon()

    def _open(self, opening: Opening, length: int, behind: bytes) -> None:
        """A head is there, and what came behind it."""
        if length == len(behind) and not opening.coding:
            arrival = Arrival(self, opening, behind)
        elif 0 <= length < len(behind) and not opening.coding:
            arrival = Arrival(self, opening, behind[:length])
            self._held = behind[length:]
        else:
            arrival = self._arrival = Arrival(self, opening, b"", Body(self, opening, length))
            self._receive(behind)
        self._arrival = arrival
        turn = self._turn
        if turn is not None and not turn.done():
            turn.set_result(None)

    def _late(self) -> None:
        self._timer = None
        self._refuse(408, "the request's head came too slowly", self._server.header_timeout)

    def _refuse(self, status: int, reason: str, seconds: float = 0.0) -> None:
        """An answer to what is no request: its path is not known, nor whose dialect to speak."""
        code = "request_timeout" if status == 408 else "invalid_request"
        request_id = self._server.refused(status, code, seconds)
        self.transport.write(_plain(status, code, reason, f"x-request-id: {request_id}\r\n"))
        self._close(linger=True)

    # --- answering --------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """One task for all requests of the connection: a task for each would cost more than all else that is done
        here for a small one."""
        handler, create_future = self._server.handler, self._loop.create_future
        while True:
            arrival = self._arrival
            if arrival is not None:
                try:
                    await handler(arrival)
                except ConnectionError:
                    arrival.stays = False
                except Exception:
                    self._fail(arrival)
                except BaseException:
                    arrival.stays = False
                    raise
                finally:
                    self._served(arrival)
            elif self._dropping or self.lost:
                return
            else:
                self._turn = create_future()
                await self._turn

    def _fail(self, arrival: Arrival) -> None:
        log.exception("a request has failed without an answer")
        arrival.stays = False
        if not arrival.begun and not self.lost:
            self.transport.write(_plain(500, "internal", "internal error"))

    def _served(self, arrival: Arrival) -> None:
        """The answer is written: on to the next request, or to the end."""
        self._arrival = None
        if self.lost:
            self._server.closed(self)
        elif arrival.stays and arrival.complete:
            self.quiet = 0
            if self._paused:
                self.go_on()
            if self._held:
                held, self._held = self._held, b""
                self.data_received(held)
        else:
            self._close(linger=bool(self._held) or not arrival.complete or self._dropping)

    def spoil(self) -> None:
        """What comes from now on can no longer be told apart: drop it, and close after this answer."""
        self._dropping = True
        if self._arrival is not None:
            self._arrival.stays = False

    def hold_up(self) -> None:
        """Read no more from the app for now."""
        if not self._paused and not self.lost:
            self._paused = True
            self.transport.pause_reading()

    def go_on(self) -> None:
        """Read from the app again."""
        if self._paused and not self.lost:
            self._paused = False
            self.transport.resume_reading()

    async def drained(self) -> None:
        """Until the app takes more. Raises ConnectionError if it has hung up."""
        while self.full and not self.lost:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self.lost:
            raise ConnectionResetError("the app has hung up")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- ending -----------------------------------------------------------------------------------------

    def end_if_idle(self) -> None:
        """Close unless a request is being answered."""
        if self._arrival is None and not self._dropping:
            self.transport.close()

    def end_soon(self) -> None:
        """Close when nothing is under way: at once, or after the answer, which says so if it has not begun. A request
        whose head has come in part is under way."""
        if self._arrival is not None:
            self._arrival.stays = False
        elif self._reading is None:
            self.end_if_idle()

    def cut(self) -> None:
        """End whatever is still under way."""
        if not self.lost:
            self.transport.abort()
        self._loop.call_soon(self._task.cancel)

    def _hung_up(self) -> None:
        arrival = self._arrival
        self.transport.close()
        if arrival is not None and not (arrival.goes_on is not None and arrival.goes_on()):
            self._task.cancel()

    def _close(self, *, linger: bool) -> None:
        self._dropping = True
        self._known = None  # so that no more is taken for a request, whatever it looks like
        self._stop_timer()
        if not linger:
            self.transport.close()
            return
        self.transport.write_eof()
        self.go_on()
        self._timer = self._loop.call_later(LINGER, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _plain(status: int, code: str, text: str, headers: str = "") -> bytes:
    body = f"{text}\n".encode("utf-8", "replace")
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"connection: close\r\nx-llmroute-error: {code}\r\nx-should-retry: false\r\n"
        f"content-length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body

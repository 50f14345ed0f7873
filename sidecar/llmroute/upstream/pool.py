"""The connections of one origin: ready ones to take, new ones dialled, old ones retired before they fail."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from llmroute.errors import AttemptError, ConnectFailed
from llmroute.upstream.connection import Connection
from llmroute.upstream.dial import Dialer
from llmroute.upstream.response import Response
from llmroute.upstream.sending import dispose, framing

if TYPE_CHECKING:
    from llmroute.upstream.dns import Names
    from llmroute.upstream.origin import Origin

logger = logging.getLogger(__name__)

BACKOFF_FIRST = 0.5
BACKOFF_LONGEST = 30.0
"""Seconds between background dials to an origin that does not take them, doubling from the first to the longest."""

BACKGROUND_TIMEOUT = 10.0
"""Seconds that a background dial may take: nobody waits for it."""


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """Times of the connection pools, in seconds."""

    idle_limit: float = 60.0
    """An unused connection is closed after this; sooner where the target's Keep-Alive header says so."""
    max_age: float = 300.0
    """A connection is not used again after this, so that a Service with new pods behind one address is spread over."""
    retire_lead: float = 5.0
    """A ready connection is replaced this long before it is closed."""
    dns_ttl: float = 30.0
    """How long an answer of the resolver is believed."""
    sweep_every: float = 1.0
    """How often idle connections and aged names are looked after."""


class Pool:
    """Ready connections of one origin, last used first; as many connections as there are requests.

    After the first request `warm` ready connections are kept: when one is taken, dies or grows old, another is
    dialled in the background, with back-off while the origin does not take it. Limits on concurrency belong above.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, origin: "Origin", dialer: Dialer, tuning: Tuning) -> None:
        self.loop = loop
        self.origin = origin
        self.warm = 1
        self._dialer = dialer
        self._tuning = tuning
        self._absolute = dialer.absolute_form
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._waiting: deque[asyncio.Future[Connection]] = deque()
        self._dials: set[asyncio.Task[None]] = set()
        self._spares = 0  # background dials under way
        self._used = False
        self._retired = False  # no connection is kept any more
        self._closed = False
        self._emptied: asyncio.Future[None] | None = None
        self._told = False  # that it cannot be reached
        self._backoff = 0.0
        self._dial_again_at = 0.0

    def __repr__(self) -> str:
        return f"<Pool {self.origin}: {len(self._idle)} ready of {len(self._all)}>"

    # --- requests ---------------------------------------------------------------------------------------

    async def send(self, head: bytes, body: bytes, *, connect_timeout: float) -> Response:
        """Writes a request on a ready connection, or dials one; returns as soon as it is written.

        `head` is `build_head`'s: content-length and the blank line are added here. Raises ConnectFailed or
        ConnectTimeout (`connect_timeout` seconds, armed only when no connection is ready). The caller must call
        `Response.release` in a finally.
        """
        response = self.send_at_once(head, body, connect_timeout)
        if response is not None:
            return response
        if self._absolute is not None:
            head = self._absolute.absolute(self.origin, head)
        started = monotonic()
        connection = await self._connected(connect_timeout)
        response = Response(self, connection, (head, body), connect_timeout)
        response.reused = connection.used
        response.connect = monotonic() - started
        connection.begin(response, head, body)
        self._replenish()
        return response

    def send_at_once(self, head: bytes, body: bytes, connect_timeout: float) -> Response | None:
        """`send` on a connection that is ready; None if there is none."""
        idle = self._idle
        if not idle or idle[-1].expires_at <= monotonic():
            return None
        if self._absolute is not None:
            head = self._absolute.absolute(self.origin, head)
        connection = idle.pop()
        response = Response(self, connection, (head, body), connect_timeout)
        connection.begin(response, head, body)
        if len(idle) < self.warm:
            self._replenish()
        return response

    async def send_streaming(self, head: bytes, body: AsyncIterator[bytes], *, connect_timeout: float) -> Response:
        """Writes a request whose body is still arriving; it is sent in the background, and never sent again.

        Returns once the head is written, so that an early answer is seen: an error status stops the upload. An
        exception of `body` ends the response with it. The headers in `head` say how the body goes: content-length
        as it is, transfer-encoding in chunks; without either there is none. Errors and release as for `send`.
        """
        declared, length = framing(head)
        if not declared:
            await dispose(body)
            return await self.send(head, b"", connect_timeout=connect_timeout)
        if self._absolute is not None:
            head = self._absolute.absolute(self.origin, head)
        started = monotonic()
        idle = self._idle
        ready = bool(idle) and idle[-1].expires_at > started
        connection = idle.pop() if ready else await self._connected(connect_timeout)
        response = Response(self, connection, None, connect_timeout)
        response.reused = ready or connection.used
        response.connect = 0.0 if ready else monotonic() - started
        connection.begin_streaming(response, head, body, length)
        self._replenish()
        return response

    async def _connected(self, within: float) -> Connection:
        """Whichever comes first: a connection that another request gives back, or one dialled for this."""
        waiter: asyncio.Future[Connection] = self.loop.create_future()
        self._waiting.append(waiter)
        try:
            return await self.dialled(waiter, within)
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiter)

    async def dialled(self, waiter: asyncio.Future[Connection], within: float) -> Connection:
        """Dials for a waiter, which may be served or failed by others meanwhile; cancelling it loses nothing."""
        if self._closed:
            raise self._is_closed()
        self._start_dial(within, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._hand_over(waiter.result())
            raise

    # --- connections come and go ------------------------------------------------------------------------

    def restore(self, connection: Connection, keep_alive: bytes | None) -> None:
        """Takes back a connection whose answer has been taken; `keep_alive` is the answer's header of that name."""
        now = monotonic()
        limit = self._tuning.idle_limit
        if keep_alive is not None:
            limit = min(limit, _timeout_of(keep_alive))
        connection.used = True
        self._backoff = 0.0
        self._told = False
        connection.expires_at = min(now + limit, connection.born_at + self._tuning.max_age)
        self._hand_over(connection)

    def forget(self, connection: Connection) -> None:
        """A connection is no longer good: it is not given out again, and replaced if it was a ready one."""
        if connection in self._idle:
            self._idle.remove(connection)
            if not connection.used and monotonic() - connection.born_at < self._tuning.retire_lead:
                self._slow_down()  # who accepts and closes would be dialled without end
            self._replenish()

    def bury(self, connection: Connection) -> None:
        """The transport of a connection has closed."""
        self._all.discard(connection)
        if self._emptied is not None and not self._all and not self._emptied.done():
            self._emptied.set_result(None)

    def _hand_over(self, connection: Connection) -> None:
        if connection.lost:
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if self._retired or connection.expires_at <= monotonic():
            connection.close()
        else:
            self._idle.append(connection)

    def _start_dial(self, within: float, waiter: asyncio.Future[Connection] | None) -> None:
        task = self.loop.create_task(self._dial(within, waiter))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _dial(self, within: float, waiter: asyncio.Future[Connection] | None) -> None:
        try:
            connection = await self._dialer.dial(within)
            if connection.lost:
                connection.close()
                raise ConnectFailed(f"{self.origin}: the connection was closed as soon as it was made")
        except AttemptError as error:
            self._dial_failed(error, waiter)
            return
        except BaseException as error:
            if waiter is not None and not waiter.done():  # nobody may wait for ever
                waiter.set_exception(self._is_closed() if isinstance(error, asyncio.CancelledError) else error)
            raise
        finally:
            self._spares -= waiter is None
        self._used = True
        self._all.add(connection)
        connection.owner = self
        connection.expires_at = monotonic() + min(self._tuning.idle_limit, self._tuning.max_age)
        if waiter is not None and not waiter.done():
            waiter.set_result(connection)
        else:
            self._hand_over(connection)

    def _dial_failed(self, error: AttemptError, waiter: asyncio.Future[Connection] | None) -> None:
        if self._used and not self._told:
            self._told = True
            logger.warning("%s; dialling again in the background", error.message)
        self._slow_down()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def _slow_down(self) -> None:
        self._backoff = min(BACKOFF_LONGEST, self._backoff * 2 or BACKOFF_FIRST)
        self._dial_again_at = monotonic() + self._backoff

    def _replenish(self) -> None:
        """Dials in the background until `warm` connections are ready, or will be."""
        if not self._used or self._retired or (self._backoff and monotonic() < self._dial_again_at):
            return
        lead = monotonic() + self._tuning.retire_lead
        ready = sum(connection.expires_at > lead for connection in self._idle) + self._spares
        for _ in range(self.warm - ready):
            self._spares += 1
            self._start_dial(BACKGROUND_TIMEOUT, None)

    def sweep(self, names: "Names") -> None:
        """Retires what has aged or whose address has moved, and dials replacements first. Called once a second."""
        now = monotonic()
        soon = now + self._tuning.retire_lead
        names.refresh(self._dialer.host, self._dialer.port)
        known = names.known(self._dialer.host, self._dialer.port)
        for connection in self._all:
            if known and connection.address not in known and not connection.retiring:
                connection.retiring = True
                connection.expires_at = min(connection.expires_at, soon)
        self._replenish()
        for connection in list(self._idle):
            if connection.expires_at <= now:
                connection.close()
            elif connection.born_at < now - self._tuning.retire_lead:
                self._backoff = 0.0

    def _is_closed(self) -> ConnectFailed:
        return ConnectFailed(f"{self.origin}: the client is closed")

    def retire(self) -> None:
        """No configuration names the origin any more: requests go on, but no connection is kept after its use."""
        self._retired = True
        for connection in list(self._idle):
            connection.close()

    @property
    def empty(self) -> bool:
        """Whether nothing is open or under way."""
        return not self._all and not self._dials

    async def aclose(self) -> None:
        """Closes all connections, and ends dials; requests under way end with StreamBroken or ConnectFailed."""
        self._closed = True
        self.retire()
        for task in list(self._dials):
            task.cancel()
        for task in list(self._dials):
            with suppress(asyncio.CancelledError):
                await task
        for connection in list(self._all):
            connection.close()
        if self._all:
            self._emptied = self.loop.create_future()
            await self._emptied


@lru_cache(maxsize=64)
def _timeout_of(keep_alive: bytes) -> float:
    """Seconds that the target keeps an idle connection, less one for the way; infinite where it does not say."""
    for part in keep_alive.lower().split(b","):
        name, _, value = part.strip().partition(b"=")
        if name == b"timeout" and value.isdigit():
            return max(0.0, int(value) - 1.0)
    return float("inf")

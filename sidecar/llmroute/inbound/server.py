"""All connections of apps, and what they share."""

import asyncio
from collections.abc import Awaitable, Callable

from llmroute.inbound.arrival import Arrival
from llmroute.inbound.connection import Connection

KEEP_ALIVE = 75.0
"""Seconds that an idle connection of an app is kept: longer than the SDKs' pools keep theirs (5 to 60 s), so that
it is the app that closes, and no request meets a closing connection."""
ROUND = 5.0
"""Seconds between two looks at what is idle: one timer for all, since one for each request costs."""

Handler = Callable[[Arrival], Awaitable[None]]
Refused = Callable[[int, str, float], str]
"""Told of what could not be read as a request: HTTP status, code of the error, and seconds that it took. Gives the
request id to answer with."""


class AppServer:
    """Makes a Connection for each accepted socket, and ends them all."""

    def __init__(self, handler: Handler, header_timeout: float, refused: Refused) -> None:
        self.loop = asyncio.get_running_loop()
        self.handler = handler
        self.header_timeout = header_timeout
        self.refused = refused
        self.draining = False
        self._connections: set[Connection] = set()
        self._round: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self)

    def opened(self, connection: Connection) -> None:
        """A connection has come."""
        self._connections.add(connection)
        if self.draining:
            connection.end_soon()
        elif self._round is None:
            self._round = self.loop.call_later(ROUND, self._look_around)

    def closed(self, connection: Connection) -> None:
        """A connection is gone, and nothing works for it any longer."""
        self._connections.discard(connection)
        if self._empty is not None and not self._connections and not self._empty.done():
            self._empty.set_result(None)

    async def drain(self) -> None:
        """Close what is idle, now and from now on; returns when nothing is left."""
        self.draining = True
        for connection in list(self._connections):
            connection.end_soon()
        if self._connections:
            self._empty = self.loop.create_future()
            await self._empty

    def cut(self) -> None:
        """End whatever is still under way; `drain` tells when it has ended."""
        for connection in list(self._connections):
            connection.cut()

    def close(self) -> None:
        """Nothing is left: look around no more."""
        if self._round is not None:
            self._round.cancel()
            self._round = None

    def _look_around(self) -> None:
        self._round = self.loop.call_later(ROUND, self._look_around) if self._connections else None
        for connection in list(self._connections):
            connection.quiet += 1
            if connection.quiet * ROUND > KEEP_ALIVE:
                connection.end_if_idle()

"""One request through the cache: a hit, a follower of an identical request, or a leader that fills the cache."""

import asyncio
from asyncio import current_task
from collections.abc import Awaitable
from time import monotonic
from typing import TYPE_CHECKING

from llmroute import dialects
from llmroute.cache import Entry, Seat, Store, cache_key
from llmroute.cache.store import LARGEST_SHARE
from llmroute.errors import Overloaded
from llmroute.request import InferenceRequest
from llmroute.runtime import LiveRoute

if TYPE_CHECKING:
    from llmroute.handlers import Visit


class CachedVisit:
    """A visit whose route has a cache; the Audience of its own answer, for those who follow and who come later."""

    __slots__ = ("_cache", "_key", "_pieces", "_route", "_seat", "_size", "_visit", "_wanted")

    def __init__(self, visit: "Visit", wanted: InferenceRequest, route: LiveRoute, cache: Store) -> None:
        self._visit = visit
        self._wanted = wanted
        self._route = route
        self._cache = cache
        self._key = b""
        self._seat: Seat | None = None
        self._pieces: list[bytes] = []
        self._size = 0

    async def answer(self) -> None:
        """From the cache if it is there, else from whoever fetches the same already, else from a target."""
        visit, wanted, route, wishes = self._visit, self._wanted, self._route, self._wanted.wishes
        if wishes.no_store:
            return await visit.from_target(wanted, route)
        isolate_by = route.declared.spec.cache.isolate_by if route.declared.spec.cache else ()
        self._key = key = cache_key(route.namespace, route.answered_by, wanted, isolate_by)
        if wishes.refresh:
            return await self._fetch()
        entry = self._cache.get(key, monotonic())
        if entry is not None:
            return await self._serve(entry, "hit")
        self._seat = seat = route.flights.join(key)
        if not seat.leads:
            entry = await self._follow(seat)
            return await self._fetch() if entry is None else await self._serve(entry, "coalesced")
        # Fetch for all who wait. If our app hangs up while others wait, the work goes on until the last one leaves.
        task = current_task()
        assert task is not None
        seat.carry(task)
        arrival = visit.arrival
        arrival.goes_on = self.hung_up
        try:
            return await self._fetch()
        finally:
            arrival.goes_on = None
            seat.fail()  # unless it was published: who waits goes alone, and the work is not cancelled at its end

    async def _follow(self, seat: Seat) -> Entry | None:
        """The answer that another request fetches; None: go alone. A stream is not waited for: it would come all at
        once, at its end. Anything else is waited for as long as an answer of one's own might take."""
        wanted = self._wanted
        within: float = self._route.declared.spec.failover.timeouts.total
        if wanted.deadline is not None:
            within = min(within, wanted.deadline - monotonic())
        try:
            if wanted.stream:
                return None
            async with asyncio.timeout(within):
                return await seat.entry()
        except TimeoutError:
            return None
        finally:
            seat.leave()

    async def _serve(self, entry: Entry, how: str) -> None:
        """Answer from a kept answer; one that cannot be told as this app wants it is no answer."""
        try:
            body = _as_wanted(entry, self._wanted)
        except ValueError:
            await self._fetch()
        else:
            self._visit.from_cache(entry, body, how)

    def waits(self) -> bool:
        """See Audience."""
        seat = self._seat
        return seat is not None and seat.leads and seat.followers > 0

    def hung_up(self) -> bool:
        """See Audience."""
        if self._seat is None or not self.waits():
            return False
        self._seat.leave()
        return True

    def _fetch(self) -> Awaitable[None]:
        self._visit.cache = "miss"
        return self._visit.from_target(self._wanted, self._route, self)

    def take(self, piece: bytes) -> None:
        """See Audience. An answer that has grown too large to be kept, or for which there is no room among the
        buffers, is let go at once, and nobody waits for it any longer."""
        self._size += len(piece)
        if self._size * LARGEST_SHARE <= self._cache.max_bytes:
            try:
                self._visit.share.take(len(piece))
            except Overloaded:
                self._size = self._cache.max_bytes
            else:
                self._pieces.append(piece)
                self._keep()
                return
        self._pieces.clear()
        if self._seat is not None and self._seat.leads:
            self._seat.fail()

    def _keep(self) -> None:
        """Store and share the answer as soon as it is a complete success, before our own app has taken it."""
        attempts = self._visit.attempts
        exchange = attempts.exchange if attempts is not None else None
        observation = exchange.observation if exchange is not None else None
        if exchange is None or observation is None or not observation.outcome.is_ok:
            return
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        entry = Entry(body, self._wanted.peek.stream, exchange.target.name, observation.usage, observation.at)
        self._cache.put(self._key, entry)
        if self._seat is not None and self._seat.leads:
            self._seat.publish(entry)


def _as_wanted(entry: Entry, wanted: InferenceRequest) -> bytes:
    """The kept answer as the stream or the document that the app asked for. Raises ValueError if it cannot be."""
    operation, include_usage = wanted.operation, wanted.peek.include_usage
    if not wanted.stream:
        return dialects.to_body(operation, entry.body, entry.usage) if entry.stream else entry.body
    if entry.stream:
        return dialects.with_usage(operation, entry.body, entry.usage, include_usage=include_usage)
    return dialects.to_stream(operation, entry.body, include_usage=include_usage)

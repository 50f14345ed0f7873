"""Identical requests that are under way at the same time share one answer."""

import asyncio

from llmroute.cache.store import Entry


class _Flight:
    """One answer on its way, and all who wait for it."""

    __slots__ = ("aboard", "done", "entry", "key", "under_way", "waiters", "watched", "work")

    def __init__(self, key: bytes, under_way: "dict[bytes, _Flight]") -> None:
        self.key = key
        self.under_way = under_way
        self.aboard = 1
        """Seats that have not been left."""
        self.waiters: list[asyncio.Future[Entry | None]] | None = None
        self.entry: Entry | None = None
        self.done = False
        self.work: asyncio.Task[object] | None = None
        self.watched = False

    def watch(self) -> None:
        """Somebody waits for the work: its end without an answer must not be missed."""
        if self.work is not None and not self.watched:
            self.watched = True
            self.work.add_done_callback(self._ended)

    def _ended(self, _: object) -> None:
        self.land(None)

    def land(self, entry: Entry | None) -> None:
        if self.done:
            return
        self.done = True
        self.entry = entry
        if self.watched and self.work is not None:
            self.work.remove_done_callback(self._ended)  # it may go on with something else
        del self.under_way[self.key]
        for waiter in self.waiters or ():
            if not waiter.done():
                waiter.set_result(entry)


class Seat:
    """One request's part in a flight. Whoever got a seat must `leave()` it in a `finally`.

    `leads`: this request goes to the targets, and `publish`es the answer or `fail`s. All others wait in `entry()`.
    """

    __slots__ = ("_flight", "_left", "leads")

    def __init__(self, flight: _Flight, leads: bool) -> None:
        self._flight = flight
        self._left = False
        self.leads = leads

    @property
    def followers(self) -> int:
        """How many others still wait for the answer."""
        flight = self._flight
        return 0 if flight.done else flight.aboard - (not self._left)

    async def entry(self) -> Entry | None:
        """The answer; None if the flight failed: then go alone, without a new `join`."""
        if self._flight.done:
            return self._flight.entry
        # A future of its own: cancelling one waiter must not cancel what the others wait on.
        waiter: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        if self._flight.waiters is None:
            self._flight.waiters = []
        self._flight.waiters.append(waiter)
        return await waiter

    def carry(self, work: "asyncio.Task[object]") -> None:
        """The leader's work goes on in a task of its own, so that the leader itself may leave.

        The task is cancelled when the last seat is left; if it ends without `publish`, the flight has failed.
        """
        flight = self._flight
        flight.work = work
        if flight.aboard > 1:
            flight.watch()

    def publish(self, entry: Entry) -> None:
        """Give the complete answer to all who wait. What comes after the first `publish` or `fail` is ignored."""
        self._flight.land(entry)

    def fail(self) -> None:
        """There is no answer: all who wait go alone."""
        self._flight.land(None)

    def leave(self) -> None:
        """This request waits no more. The last one to leave cancels the work; a leader without `carry` ends it."""
        flight = self._flight
        if not self._left:
            self._left = True
            flight.aboard -= 1
        if flight.done:
            return
        if flight.work is None:
            if self.leads:
                self.fail()
        elif not flight.aboard:
            self.fail()
            flight.work.cancel()


class SingleFlight:
    """The flights under way, by key. As many as there are different requests in flight, so bounded like those."""

    __slots__ = ("_under_way",)

    def __init__(self) -> None:
        self._under_way: dict[bytes, _Flight] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def join(self, key: bytes) -> Seat:
        """A seat in the flight of this key; the first one leads."""
        under_way = self._under_way
        flight = under_way.get(key)
        if flight is None:
            flight = under_way[key] = _Flight(key, under_way)
            return Seat(flight, True)
        flight.watch()
        flight.aboard += 1
        return Seat(flight, False)

"""Identical requests that are under way at the same time share one answer."""

import asyncio

from msgspec import Struct

from llmroute.cache.store import Entry


class Seat(Struct, eq=False):
    """One request's part in a flight. Whoever got a seat must `leave()` it in a `finally`; a leader may `fail()`.

    `leads`: this request goes to the targets, and `publish`es the answer or `fail`s. All others wait in `entry()`. The
    leader's seat is the flight itself: nearly every request leads, and nobody follows. A Struct, since one call of C
    makes all of it.
    """

    _key: bytes
    _under_way: "dict[bytes, Seat]"
    _flight: "Seat | None" = None
    """The leader's seat, in the seats of all others."""
    leads: bool = True
    _left: bool = False
    _aboard: int = 1
    """Seats of the flight that have not been left; this and what follows is the leader's."""
    _done: bool = False
    _entry: Entry | None = None
    waiters: list[asyncio.Future[Entry | None]] | None = None
    _work: asyncio.Task[object] | None = None
    _watched: bool = False

    def __repr__(self) -> str:
        return f"<Seat leads={self.leads}>"  # what the app gets is in it

    @property
    def followers(self) -> int:
        """How many others still wait for the answer."""
        flight = self._flight or self
        return 0 if flight._done else flight._aboard - (not self._left)

    def followed(self) -> "Seat":
        """Another seat in the flight that this one leads."""
        self._watch()
        self._aboard += 1
        return Seat(self._key, self._under_way, self, False)

    async def entry(self) -> Entry | None:
        """The answer; None if the flight failed: then go alone, without a new `join`."""
        flight = self._flight or self
        if flight._done:
            return flight._entry
        # A future of its own: cancelling one waiter must not cancel what the others wait on.
        waiter: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        if flight.waiters is None:
            flight.waiters = []
        flight.waiters.append(waiter)
        return await waiter

    def carry(self, work: "asyncio.Task[object]") -> None:
        """The leader's work goes on in a task of its own, so that the leader itself may leave.

        The task is cancelled when the last seat is left; if it ends without `publish`, the flight has failed.
        """
        self._work = work
        if self._aboard > 1:
            self._watch()

    def publish(self, entry: Entry) -> None:
        """The leader's: give the complete answer to all who wait. What comes after the first `publish` or `fail` is
        ignored."""
        if not self._done:
            self._land(entry)

    def fail(self) -> None:
        """The leader's: there is no answer, all who wait go alone."""
        if not self._done:
            self._land(None)

    def leave(self) -> None:
        """This request waits no more. The last one to leave cancels the work; a leader without `carry` ends it."""
        flight = self._flight or self
        if not self._left:
            self._left = True
            flight._aboard -= 1
        if flight._done:
            return
        if flight._work is None:
            if self.leads:
                self.fail()
        elif not flight._aboard:
            flight.fail()
            flight._work.cancel()

    def _watch(self) -> None:
        """Somebody waits for the work: its end without an answer must not be missed."""
        if self._work is not None and not self._watched:
            self._watched = True
            self._work.add_done_callback(self._ended)

    def _ended(self, _: object) -> None:
        self.fail()

    def _land(self, entry: Entry | None) -> None:
        self._done = True
        self._entry = entry
        del self._under_way[self._key]
        if self._watched and self._work is not None:
            self._work.remove_done_callback(self._ended)  # it may go on with something else
        for waiter in self.waiters or ():
            if not waiter.done():
                waiter.set_result(entry)


class SingleFlight:
    """The flights under way, by key. As many as there are different requests in flight, so bounded like those."""

    __slots__ = ("_under_way",)

    def __init__(self) -> None:
        self._under_way: dict[bytes, Seat] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def join(self, key: bytes) -> Seat:
        """A seat in the flight of this key; the first one leads."""
        under_way = self._under_way
        leader = under_way.get(key)
        if leader is not None:
            return leader.followed()
        under_way[key] = seat = Seat(key, under_way)
        return seat

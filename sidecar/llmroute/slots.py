"""How many attempts may be in flight to one target at once; requests beyond it wait in the one line of their route."""

import asyncio
from collections.abc import Container

from llmroute.errors import Overloaded

MAX_WAITING = 1024
"""Requests that may wait in one line; a longer one would only time out."""


class Place:
    """One request's place in the line, kept until `Line.leave`."""

    __slots__ = ("_turn", "offered", "wants")

    def __init__(self) -> None:
        self.wants: Container[Slots] = ()
        """Targets that would do."""
        self.offered: Slots | None = None
        """Where a slot is kept for this request."""
        self._turn: asyncio.Future[None] | None = None

    async def turn(self, wants: "Container[Slots]") -> "Slots":
        """Wait until one of the targets has a free slot: it has been taken for this request."""
        self.wants = wants
        self._turn = asyncio.get_running_loop().create_future()
        await self._turn
        assert self.offered is not None
        slots, self.offered = self.offered, None
        return slots

    def offer(self, slots: "Slots") -> bool:
        """Take the slot for this request if it wants it and has none."""
        if self._turn is None or self._turn.done() or slots not in self.wants:
            return False
        self.offered = slots
        self._turn.set_result(None)
        return True


class Line:
    """The requests of one route that wait for a slot, in the order in which they came; outlives reloads."""

    __slots__ = ("places",)

    def __init__(self) -> None:
        self.places: list[Place] = []

    def join(self) -> Place:
        """The last place. Raises Overloaded if too many wait already."""
        if len(self.places) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} requests already wait for a slot at the targets", retry_after=1.0)
        place = Place()
        self.places.append(place)
        return place

    def leave(self, place: Place) -> None:
        """The request waits no more; a slot that came in the same moment is handed on."""
        self.places.remove(place)
        if place.offered is not None:
            place.offered.release()


class Slots:
    """Counts attempts in flight to one target; with a limit, who finds none free waits in the `line` of the route."""

    __slots__ = ("in_flight", "limit", "line")

    def __init__(self, line: Line) -> None:
        self.limit: int | None = None
        self.in_flight = 0
        self.line = line

    @property
    def full(self) -> bool:
        """Whether the next attempt would have to wait."""
        return self.limit is not None and self.in_flight >= self.limit

    def take(self) -> bool:
        """Take a slot if one is free: then nobody waits who wants it."""
        limit = self.limit
        if limit is not None and self.in_flight >= limit:
            return False
        self.in_flight += 1
        return True

    def release(self) -> None:
        """Give the slot back; the first in the line who wants it gets it."""
        self.in_flight -= 1
        if self.line.places:
            self.wake()

    def wake(self) -> None:
        """Let waiting requests in as far as the limit allows; also to be called when a reload raised the limit."""
        for place in self.line.places:
            if self.full:
                return
            if place.offer(self):
                self.in_flight += 1

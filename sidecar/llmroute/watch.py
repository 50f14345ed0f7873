"""One timer for all that wait for a target: one of its own for each costs as much as parsing the answer."""

import asyncio
from math import inf
from time import monotonic
from typing import Protocol


class Watched(Protocol):
    """Something that must not last beyond its `deadline`, an instant on the monotonic clock."""

    deadline: float

    def overdue(self, now: float) -> None:
        """The deadline has passed: end, or move it."""


class Watch:
    """Looks after deadlines. The timer stands at the earliest one that was ever seen; ends are not told to it, so that
    it finds nothing to do when it fires, mostly, and is set anew to the earliest of what is left."""

    __slots__ = ("_all", "_looks_at", "_timer")

    def __init__(self) -> None:
        self._all: set[Watched] = set()
        self._looks_at = inf
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watched: Watched) -> None:
        """Look after it from now on; also to be called when its deadline has come nearer."""
        self._all.add(watched)
        if watched.deadline < self._looks_at:
            self._look_at(watched.deadline)

    def drop(self, watched: Watched) -> None:
        """It is over."""
        self._all.discard(watched)

    def _look_at(self, instant: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = instant
        self._timer = asyncio.get_running_loop().call_later(max(0.0, instant - monotonic()), self._look)

    def _look(self) -> None:
        now = monotonic()
        for watched in [each for each in self._all if each.deadline <= now]:
            watched.overdue(now)
        self._timer, self._looks_at = None, inf
        if self._all:
            self._look_at(min(each.deadline for each in self._all))

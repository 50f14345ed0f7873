"""Simulated time: callbacks in the order of their instants."""

import heapq
from collections.abc import Callable
from itertools import count

Callback = Callable[[], object]


class Timer:
    """A callback that can still be called off."""

    __slots__ = ("at", "callback")

    def __init__(self, at: float, callback: Callback) -> None:
        self.at = at
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """It will not be called."""
        self.callback = None


class Clock:
    """`now` is the instant of the callback that runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def at(self, instant: float, callback: Callback) -> Timer:
        """Call back at the instant, or now if it has passed."""
        timer = Timer(max(instant, self.now), callback)
        heapq.heappush(self._heap, (timer.at, next(self._order), timer))
        return timer

    def run(self) -> None:
        """Until nothing is left to do."""
        heap = self._heap
        while heap:
            instant, _, timer = heapq.heappop(heap)
            if timer.callback is not None:
                self.now = instant
                timer.callback()

"""How many attempts may be in flight to one target at once; the rest wait in order, in a bounded queue."""

import asyncio
from collections import deque

from llmroute.errors import Overloaded

MAX_WAITING = 1024
"""Attempts that may wait for one target; a longer queue would only time out."""


class Slots:
    """Counts attempts in flight to one target and, with a limit, queues those beyond it first come, first served."""

    __slots__ = ("_waiting", "in_flight", "limit")

    def __init__(self) -> None:
        self.limit: int | None = None
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def full(self) -> bool:
        """Whether the next attempt would have to wait."""
        return self.limit is not None and self.in_flight >= self.limit

    def take(self) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        limit = self.limit
        if self._waiting or (limit is not None and self.in_flight >= limit):
            return False
        self.in_flight += 1
        return True

    async def acquire(self) -> None:
        """Take a slot, waiting for one if need be. Raises Overloaded if too many wait already."""
        if self.take():
            return
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} requests already wait for a slot at the target", retry_after=1.0)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # our turn came in the same moment as the cancellation: hand it on
            else:
                self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Give the slot back; the longest waiting attempt gets it."""
        self.in_flight -= 1
        if self._waiting:
            self.wake()

    def wake(self) -> None:
        """Let waiting attempts in as far as the limit allows; also to be called when a reload raised the limit."""
        while self._waiting and not self.full:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)

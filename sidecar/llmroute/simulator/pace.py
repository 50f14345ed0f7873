"""When each token of an answer is ready: by the clock of a provider with room for all, or by that of a batch engine."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from llmroute.simulator.capacity import Engine, Ticket

_RESAMPLE = 0.05
"""Seconds after which a busy engine looks at its factors again: a ramp or a sine changes them all the time."""
_ALL = 1 << 60


class Pace(Protocol):
    """The timing of one answer. Token 1 is the first; one beyond the last is the end of the answer."""

    async def ready(self, token: int) -> int:
        """Waits until this token is ready; returns up to which one all are."""

    def leave(self) -> None:
        """The answer is over, whether complete or not."""


class FreePace:
    """Nobody shares: the first token at `first_at` on the loop's clock, then `speed` a second (None: all at once)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, first_at: float, speed: float | None) -> None:
        self._loop = loop
        self._first_at = first_at
        self._speed = speed

    async def ready(self, token: int) -> int:
        """Part of Pace."""
        due = self._first_at if self._speed is None else self._first_at + (token - 1) / self._speed
        delay = due - self._loop.time()
        if delay > 0:
            await asyncio.sleep(delay)
        if self._speed is None:
            return _ALL
        return max(token, 1 + int((self._loop.time() - self._first_at) * self._speed))

    def leave(self) -> None:
        """Part of Pace: nothing is held."""


class SharedEngine:
    """Runs an Engine on the loop's clock: one timer, for whoever is due next."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, engine: Engine, factors: Callable[[], tuple[float, float]]
    ) -> None:
        self.engine = engine
        self._loop = loop
        self._factors = factors
        """Latency factor and slots factor of this moment."""
        self._timer: asyncio.TimerHandle | None = None

    def join(self, prefill: float) -> "SharedPace":
        """A place for one more request, whose first token takes `prefill` token-units."""
        self.touch()
        return SharedPace(self, self.engine.join(), prefill)

    def leave(self, ticket: Ticket) -> None:
        """Gives the place back."""
        self.touch()
        self.engine.leave(ticket)
        self.touch()

    async def reached(self, ticket: Ticket, units: float) -> None:
        """Waits until the request has got so much service."""
        self.touch()
        if ticket.entered is not None and self.engine.served(ticket) >= units:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self.engine.call_when(ticket, units, partial(_resolve, future))
        self._schedule()
        await future

    def touch(self) -> None:
        """Brings the engine up to this moment, and its factors too."""
        self.engine.advance(self._loop.time(), *self._factors())
        self._schedule()

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self.close()
        due = self.engine.next_at()
        if due is not None:
            self._timer = self._loop.call_at(min(due, self._loop.time() + _RESAMPLE), self.touch)


class SharedPace:
    """The timing of one request in a batch engine."""

    def __init__(self, shared: SharedEngine, ticket: Ticket, prefill: float) -> None:
        self._shared = shared
        self._ticket = ticket
        self._prefill = prefill

    async def ready(self, token: int) -> int:
        """Part of Pace."""
        await self._shared.reached(self._ticket, self._prefill + token - 1)
        return max(token, 1 + int(self._shared.engine.served(self._ticket) - self._prefill))

    def leave(self) -> None:
        """Part of Pace."""
        self._shared.leave(self._ticket)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

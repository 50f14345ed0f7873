"""What a provider can carry: a batch engine with processor sharing, and a rate limit. Pure: `now` is an argument."""

import heapq
import itertools
from collections import deque
from collections.abc import Callable

from llmroute.simulator.spec import Batch, RateLimit


class Ticket:
    """One request in a batch engine: queued until `entered` (the engine's service clock at its admission)."""

    __slots__ = ("due", "entered", "wake")

    def __init__(self) -> None:
        self.entered: float | None = None
        self.due: float | None = None
        """Token-units of its own service after which it wants to be woken."""
        self.wake: Callable[[], None] | None = None


class Engine:
    """Processor sharing with `slots` places and a FIFO queue.

    Everyone in service progresses alike, so one clock of service (token-units that each has got since the start) is
    all the state: a request that entered at e and wants w units is due when the clock shows e + w.
    """

    def __init__(self, batch: Batch, speed: float, now: float) -> None:
        self._batch = batch
        self._speed = speed
        self._now = now
        self._factor = 1.0
        self._slots = batch.slots
        self._clock = 0.0
        self._serving: set[Ticket] = set()
        self._queue: deque[Ticket] = deque()
        self._due: list[tuple[float, int, Ticket]] = []
        self._count = itertools.count()

    @property
    def queued(self) -> int:
        """Requests that wait for a slot."""
        return len(self._queue)

    @property
    def serving(self) -> int:
        """Requests in a slot."""
        return len(self._serving)

    def advance(self, now: float, latency_factor: float, slots_factor: float) -> None:
        """Serves until `now` at the old rate; from now on at the new factors. Wakes those that are due."""
        self._clock += max(now - self._now, 0.0) * self._rate()
        self._now = now
        self._factor = latency_factor
        self._slots = max(1, round(self._batch.slots * slots_factor))
        while self._queue and len(self._serving) < self._slots:
            self._admit(self._queue.popleft())
        # Float noise must not leave a request due by a billionth of a token, with a timer of zero seconds for ever.
        while self._due and self._due[0][0] <= self._clock + 1e-9:
            _, _, ticket = heapq.heappop(self._due)
            if ticket.wake is not None and ticket in self._serving:
                wake, ticket.wake = ticket.wake, None
                wake()

    def join(self) -> Ticket:
        """Takes a slot, or a place at the end of the queue."""
        ticket = Ticket()
        if len(self._serving) < self._slots and not self._queue:
            self._admit(ticket)
        else:
            self._queue.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Gives the slot to the first of the queue. Any ticket may leave at any time, also twice."""
        if ticket in self._serving:
            self._serving.discard(ticket)
            if self._queue and len(self._serving) < self._slots:
                self._admit(self._queue.popleft())
        elif ticket in self._queue:
            self._queue.remove(ticket)

    def served(self, ticket: Ticket) -> float:
        """Token-units that the request has got so far."""
        return 0.0 if ticket.entered is None else self._clock - ticket.entered + 1e-9

    def call_when(self, ticket: Ticket, units: float, wake: Callable[[], None]) -> None:
        """Calls `wake` once the request has got `units` of service, in a later `advance`."""
        ticket.due, ticket.wake = units, wake
        if ticket.entered is not None:
            self._schedule(ticket, ticket.entered)

    def next_at(self) -> float | None:
        """When someone will be due if nothing changes before."""
        while self._due and self._due[0][2] not in self._serving:
            heapq.heappop(self._due)
        return self._now + max(self._due[0][0] - self._clock, 0.0) / self._rate() if self._due else None

    def _admit(self, ticket: Ticket) -> None:
        ticket.entered = self._clock
        self._serving.add(ticket)
        self._schedule(ticket, ticket.entered)

    def _schedule(self, ticket: Ticket, entered: float) -> None:
        if ticket.due is not None:
            heapq.heappush(self._due, (entered + ticket.due, next(self._count), ticket))

    def _rate(self) -> float:
        crowd = max(len(self._serving) - 1, 0)
        return self._speed / (1 + crowd / self._batch.knee) / self._factor


class Bucket:
    """Token bucket of a rate limit."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        self._limit = limit
        self._level = limit.burst
        self._now = now

    @property
    def remaining(self) -> int:
        """Requests that may still come at once."""
        return int(self._level)

    def take(self, now: float) -> bool:
        """Whether one more request is within the limit."""
        self._level = min(self._limit.burst, self._level + (now - self._now) * self._limit.rps)
        self._now = now
        if self._level < 1:
            return False
        self._level -= 1
        return True

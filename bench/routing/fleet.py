"""The sidecars of one run: arrivals, attempts, failover, hedges. What is the same for every policy is here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bench.routing.clock import Clock, Timer
from bench.routing.luck import Arrival, arrivals, luck
from bench.routing.scenarios import Scenario
from bench.routing.servers import Kind, Server, Ticket, server

ATTEMPTS = 4
FAILED_TTFT, FAILED_TOTAL = 30.0, 60.0
"""Seconds that a failed request scores, or its elapsed time if larger."""
DIGEST_PERIOD = 1.0

Outcome = Literal["ok", "5xx", "refused", "429", "timeout", "stalled", "cancelled"]


@dataclass(eq=False, slots=True)
class Attempt:
    """One try at a target; `first` and `ended` are instants."""

    request: "Request"
    target: int
    sent: float
    is_hedge: bool
    ticket: Ticket | None = None
    first: float | None = None
    ended: float | None = None
    outcome: Outcome | None = None
    retry_after: float = 0.0
    timers: list[Timer] = field(default_factory=list)

    @property
    def sidecar(self) -> int:
        return self.request.arrival.sidecar


@dataclass(eq=False, slots=True)
class Request:
    """One request of an app, and what became of it."""

    arrival: Arrival
    attempts: list[Attempt] = field(default_factory=list)
    winner: Attempt | None = None
    score: float | None = None
    failed: bool = False

    @property
    def tried(self) -> set[int]:
        return {attempt.target for attempt in self.attempts}

    @property
    def flying(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.ended is None]


class Policy(Protocol):
    """Decides, for all sidecars of a run; what one of them knows the others learn only by `exchange`."""

    def pick(self, request: Request, now: float) -> int:
        """The target of the request's next attempt."""

    def timeout(self, attempt: Attempt, now: float) -> float:
        """Seconds that the attempt may take to its first token (to its end, where there are only ends)."""

    def hedge_after(self, attempt: Attempt, now: float) -> float | None:
        """Seconds after which a second attempt should begin; None for never."""

    def hedge(self, attempt: Attempt, now: float) -> int | None:
        """The target of that second attempt, now that it is time; None if it is not worth it."""

    def sent(self, attempt: Attempt, now: float) -> None:
        """An attempt has begun."""

    def first(self, attempt: Attempt, now: float) -> None:
        """An attempt's first token has come; only where answers are streams."""

    def ended(self, attempt: Attempt, now: float) -> None:
        """An attempt has ended, with its outcome."""

    def exchange(self, now: float) -> None:
        """Time for digests."""


class Fleet:
    """One run of one scenario under one policy."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.clock = Clock()
        self.servers: Sequence[Server] = [server(self.clock, target) for target in scenario.targets]
        self.requests: list[Request] = []
        self._seed = seed
        self._streams = scenario.objective == "ttft"

    def run(self, policy: Policy) -> list[Request]:
        """All requests, to their ends."""
        self._policy = policy
        for arrival in arrivals(self.scenario, self._seed):
            request = Request(arrival)
            self.requests.append(request)
            self.clock.at(arrival.at, lambda request=request: self._launch(request, None))  # type: ignore[misc]
        self.clock.at(DIGEST_PERIOD, self._exchange)
        self.clock.run()
        return self.requests

    def _exchange(self) -> None:
        now = self.clock.now
        self._policy.exchange(now)
        if now < self.scenario.duration:
            self.clock.at(now + DIGEST_PERIOD, self._exchange)

    def _launch(self, request: Request, hedged: int | None) -> None:
        clock, policy = self.clock, self._policy
        now = clock.now
        target = policy.pick(request, now) if hedged is None else hedged
        again = sum(attempt.target == target for attempt in request.attempts)
        attempt = Attempt(request, target, now, is_hedge=hedged is not None)
        request.attempts.append(attempt)
        policy.sent(attempt, now)
        noise = luck(self._seed, request.arrival.number, target, again)
        attempt.ticket = self.servers[target].send(
            request.arrival, noise, lambda kind, retry_after: self._told(attempt, kind, retry_after)
        )
        attempt.timers.append(clock.at(now + policy.timeout(attempt, now), lambda: self._late(attempt)))
        if hedged is None:
            after = policy.hedge_after(attempt, now)
            if after is not None:
                attempt.timers.append(clock.at(now + after, lambda: self._hedge(attempt)))

    def _hedge(self, attempt: Attempt) -> None:
        request = attempt.request
        if request.winner is None and len(request.flying) == 1 and len(request.attempts) < ATTEMPTS:
            target = self._policy.hedge(attempt, self.clock.now)
            if target is not None:
                self._launch(request, target)

    def _told(self, attempt: Attempt, kind: Kind, retry_after: float) -> None:
        if attempt.ended is not None:
            return
        if kind == "first":
            self._first(attempt)
        elif kind == "end":
            if not self._streams:
                self._win(attempt)
            self._end(attempt, "ok")
        else:
            attempt.retry_after = retry_after
            self._end(attempt, kind)
            if attempt.request.winner is attempt:
                attempt.request.failed = True  # broken after its first token: that came when it came
            else:
                self._go_on(attempt.request)

    def _first(self, attempt: Attempt) -> None:
        now = self.clock.now
        attempt.first = now
        if self._streams:
            self._disarm(attempt)
            self._policy.first(attempt, now)
            self._win(attempt)

    def _win(self, attempt: Attempt) -> None:
        request, now = attempt.request, self.clock.now
        request.winner = attempt
        request.score = now - request.arrival.at
        for other in request.flying:
            if other is not attempt:
                self._cancel(other)
                self._end(other, "cancelled")

    def _late(self, attempt: Attempt) -> None:
        self._cancel(attempt)
        self._end(attempt, "timeout")
        self._go_on(attempt.request)

    def _go_on(self, request: Request) -> None:
        """After a failure: others that fly may still answer; else again, else it has failed."""
        if request.winner is not None or request.flying:
            return
        if len(request.attempts) < ATTEMPTS:
            self._launch(request, None)
        else:
            self._fail(request)

    def _fail(self, request: Request) -> None:
        request.failed = True
        least = FAILED_TTFT if self._streams else FAILED_TOTAL
        request.score = max(least, self.clock.now - request.arrival.at)

    def _cancel(self, attempt: Attempt) -> None:
        if attempt.ticket is not None:
            attempt.ticket.cancel()

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        now = self.clock.now
        attempt.ended, attempt.outcome = now, outcome
        self._disarm(attempt)
        self._policy.ended(attempt, now)

    def _disarm(self, attempt: Attempt) -> None:
        for timer in attempt.timers:
            timer.cancel()
        attempt.timers.clear()

"""What answers: providers with any capacity, and model servers that share a finite one."""

import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import Literal, Protocol

from bench.routing.clock import Clock, Timer
from bench.routing.luck import Arrival, Luck
from bench.routing.scenarios import Fail, RateLimit, Target

Kind = Literal["first", "end", "refused", "5xx", "429", "stalled"]
Tell = Callable[[Kind, float], None]
"""Told of what happens to an attempt, and the Retry-After of a 429."""
TPS_SIGMA = 0.2
IDLE_TIMEOUT = 5.5
"""Seconds of silence after the first token that a router bears: it is told of a stall then."""


class Ticket(Protocol):
    """One attempt at a server."""

    def cancel(self) -> None:
        """Whoever waited has left."""


class Server(Protocol):
    """One target."""

    def send(self, arrival: Arrival, noise: Luck, tell: Tell) -> Ticket:
        """An attempt begins now."""

    def expected(self, arrival: Arrival, total: bool) -> float:
        """Expected seconds to the first token, or to the end, of an attempt that would begin now, knowing all but its
        noise; infinite if it cannot succeed. For the oracle."""


class Events:
    """The ticket of an attempt whose future is known when it begins."""

    __slots__ = ("_timers",)

    def __init__(self, timers: list[Timer]) -> None:
        self._timers = timers

    def cancel(self) -> None:
        for timer in self._timers:
            timer.cancel()


class Bucket:
    """A token bucket."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._tokens = limit.burst
        self._at = 0.0

    def level(self, now: float) -> float:
        return min(self.limit.burst, self._tokens + (now - self._at) * self.limit.rps)

    def take(self, now: float) -> bool:
        self._tokens, self._at = self.level(now), now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Gate:
    """What may befall an attempt before a server works on it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.bucket = Bucket(target.rate_limit) if target.rate_limit is not None else None

    def fails(self, now: float, noise: Luck) -> Fail | None:
        """The failure that hits this attempt, if any."""
        left = noise.failure
        for fail in self.target.fails:
            if fail.t0 <= now < fail.t1:
                if left < fail.p:
                    return fail
                left = (left - fail.p) / (1.0 - fail.p) if fail.p < 1.0 else left
        return None

    def slowness(self, now: float, hit: float) -> float:
        """M(t) of an attempt whose share of the mods is `hit`."""
        factor = 1.0
        for mod in self.target.mods:
            if hit < mod.frac:
                factor *= mod.at(now)
        return factor

    def risk(self, now: float, cost: float) -> float:
        """Expected cost when failures are counted: what hangs or stalls costs a time-out, the rest a second try."""
        if now < self.target.appears_at or (self.bucket is not None and self.bucket.level(now) < 1.0):
            return math.inf
        for fail in self.target.fails:
            if fail.t0 <= now < fail.t1:
                if fail.p >= 1.0 or fail.type in ("hang", "stall"):
                    return math.inf
                cost += fail.p / (1.0 - fail.p) * (self.target.rtt + fail.delay)
        return cost


class Provider:
    """Latency does not depend on load."""

    def __init__(self, clock: Clock, target: Target) -> None:
        self._clock = clock
        self._target = target
        self._gate = Gate(target)

    def send(self, arrival: Arrival, noise: Luck, tell: Tell) -> Ticket:
        clock, target, gate = self._clock, self._target, self._gate
        now = clock.now
        if now < target.appears_at:
            return self._soon(target.rtt, tell, "refused")
        if gate.bucket is not None and not gate.bucket.take(now):
            return self._soon(target.rtt, tell, "429", gate.bucket.limit.retry_after)
        fail = gate.fails(now, noise)
        if fail is not None and fail.type == "hang":
            return Events([])
        if fail is not None and fail.type != "stall":
            return self._soon(target.rtt + fail.delay, tell, "5xx" if fail.type == "5xx" else "refused")
        base = target.a + target.b_per_1k * arrival.prompt / 1000.0
        first = now + target.rtt + gate.slowness(now, noise.hit) * base * math.exp(target.sigma * noise.first)
        timers = [clock.at(first, lambda: tell("first", 0.0))]
        if fail is not None:
            timers.append(clock.at(first + IDLE_TIMEOUT, lambda: tell("stalled", 0.0)))
        else:
            end = first + arrival.output / (target.tps * math.exp(TPS_SIGMA * noise.speed))
            timers.append(clock.at(end, lambda: tell("end", 0.0)))
        return Events(timers)

    def expected(self, arrival: Arrival, total: bool) -> float:
        target, now = self._target, self._clock.now
        slowness = 1.0
        for mod in target.mods:
            slowness *= 1.0 + mod.frac * (mod.at(now) - 1.0)
        base = target.a + target.b_per_1k * arrival.prompt / 1000.0
        cost = target.rtt + slowness * base * math.exp(target.sigma**2 / 2.0)
        if total:
            cost += arrival.output / target.tps * math.exp(TPS_SIGMA**2 / 2.0)
        return self._gate.risk(now, cost)

    def _soon(self, delay: float, tell: Tell, kind: Kind, retry_after: float = 0.0) -> Ticket:
        return Events([self._clock.at(self._clock.now + delay, lambda: tell(kind, retry_after))])


class Job:
    """An attempt at a model server, in token-units of service: `first` of them until the first token, `end` in all."""

    __slots__ = ("begins", "end", "first", "gone", "server", "started", "tell")

    def __init__(self, server: "ModelServer", first: float, end: float, tell: Tell) -> None:
        self.server = server
        self.first = first
        self.end = end
        self.tell = tell
        self.begins = 0.0
        self.started = False
        self.gone = False

    def cancel(self) -> None:
        if not self.gone:
            self.server.leave(self)


class ModelServer:
    """Processor sharing: all running requests get the same speed, `max_batch` run, the rest wait in order."""

    def __init__(self, clock: Clock, target: Target) -> None:
        self._clock = clock
        self._target = target
        self._gate = Gate(target)
        self._work = 0.0
        """Token-units that a request that runs since ever would have got."""
        self._at = 0.0
        self._running: set[Job] = set()
        self._queue: deque[Job] = deque()
        self._marks: list[tuple[float, int, bool, Job]] = []
        """When `_work` gets there, a job's first token or its end is due."""
        self._order = 0
        self._timer: Timer | None = None

    def send(self, arrival: Arrival, noise: Luck, tell: Tell) -> Ticket:
        target, now = self._target, self._clock.now
        fail = self._gate.fails(now, noise)
        if now < target.appears_at or fail is not None:
            kind: Kind = fail.type if fail is not None and fail.type == "5xx" else "refused"
            if fail is not None and fail.type in ("hang", "stall"):
                return Events([])
            return Events([self._clock.at(now + target.rtt, lambda: tell(kind, 0.0))])
        prefill = target.base_work + target.prefill_work_per_token * arrival.prompt
        first = prefill * math.exp(target.sigma * noise.first)
        job = Job(self, first, first + arrival.output, tell)
        self._advance()
        self._queue.append(job)
        self._admit()
        return job

    def leave(self, job: Job) -> None:
        """The job is given up."""
        self._advance()
        job.gone = True
        if job.started:
            self._running.discard(job)
        else:
            self._queue.remove(job)
        self._admit()

    def expected(self, arrival: Arrival, total: bool) -> float:
        """By playing on with what runs and waits, without new arrivals."""
        target, now = self._target, self._clock.now
        self._advance()
        capacity, slowness = self._capacity(now), self._gate.slowness(now, 0.0)
        left = sorted(job.begins + job.end - self._work for job in self._running)
        waiting = [job.end for job in self._queue]
        passed, done = 0.0, 0.0
        while len(left) + 1 > capacity or waiting:
            if not left:
                break
            passed += (left[0] - done) / self._speed(len(left), slowness)
            done = left.pop(0)
            if waiting:
                left.append(done + waiting.pop(0))
                left.sort()
        left = [end for end in left if end > done]  # who ends together with the last one is gone as well
        work = target.base_work + target.prefill_work_per_token * arrival.prompt
        work *= math.exp(target.sigma**2 / 2.0)
        work += arrival.output if total else 0.0
        cost = target.rtt + passed + work / self._speed(len(left) + 1, slowness)
        return self._gate.risk(now, cost)

    def _capacity(self, now: float) -> int:
        factor = 1.0
        for mod in self._target.mods:
            if mod.t0 <= now < mod.t1:
                factor *= mod.batch_x
        return max(1, int(self._target.max_batch * factor))

    def _speed(self, running: int, slowness: float) -> float:
        return self._target.tps / (1.0 + (running - 1) / self._target.knee) / slowness

    def _advance(self) -> None:
        """Serve everyone who runs up to now. M(t) is taken as it was when this stretch began."""
        now, running = self._clock.now, len(self._running)
        if running:
            self._work += (now - self._at) * self._speed(running, self._gate.slowness(self._at, 0.0))
        self._at = now

    def _admit(self) -> None:
        now = self._clock.now
        while self._queue and len(self._running) < self._capacity(now):
            job = self._queue.popleft()
            job.started, job.begins = True, self._work
            self._running.add(job)
            for due, last in ((job.first, False), (job.end, True)):
                self._order += 1
                heapq.heappush(self._marks, (self._work + due, self._order, last, job))
        self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        marks = self._marks
        while marks and marks[0][3].gone:
            heapq.heappop(marks)
        if not marks:
            return
        speed = self._speed(len(self._running), self._gate.slowness(now, 0.0))
        due = now + max(0.0, marks[0][0] - self._work) / speed
        self._timer = self._clock.at(min(due, self._next_change(now)), self._wake)

    def _next_change(self, now: float) -> float:
        """When M(t) may have changed: at the edges of steps, every 0.1 s where it moves all the time."""
        changes = [math.inf]
        for mod in self._target.mods:
            if mod.type == "step":
                changes += [edge for edge in (mod.t0, mod.t1) if edge > now]
            elif mod.t0 <= now < mod.t1:
                changes.append(now + 0.1)
        return min(changes)

    def _wake(self) -> None:
        self._advance()
        marks = self._marks
        due: list[tuple[bool, Job]] = []
        while marks and (marks[0][3].gone or marks[0][0] <= self._work + 1e-9):
            _, _, last, job = heapq.heappop(marks)
            if not job.gone:
                due.append((last, job))
        for last, job in due:
            if last:
                job.gone = True
                self._running.discard(job)
        self._admit()
        for last, job in due:
            self._tell_later(job, "end" if last else "first")

    def _tell_later(self, job: Job, kind: Kind) -> None:
        self._clock.at(self._clock.now + self._target.rtt, lambda: job.tell(kind, 0.0))


def server(clock: Clock, target: Target) -> Server:
    """The server of a target."""
    return Provider(clock, target) if target.kind == "saas" else ModelServer(clock, target)

"""The algorithms of others, as their sources have them; each sidecar runs its own instance, as it would in a pod."""

import math
from collections import defaultdict, deque
from collections.abc import Sequence
from random import Random

from bench.routing.fleet import Attempt, Request
from bench.routing.guard import Guarded


class RoundRobin(Guarded):
    """In turn."""

    def __init__(self, targets: int, sidecars: int, rng: Random, *, streams: bool) -> None:
        super().__init__(targets, sidecars, streams=streams)
        self._turn = [rng.randrange(targets) for _ in range(sidecars)]

    def choose(self, request: Request, usable: Sequence[int], now: float) -> int:
        sidecar = request.arrival.sidecar
        count = len(self.targets)
        chosen = min(usable, key=lambda target: (target - self._turn[sidecar]) % count)
        self._turn[sidecar] = (chosen + 1) % count
        return chosen


class Uniform(Guarded):
    """At random."""

    def __init__(self, targets: int, sidecars: int, rng: Random, *, streams: bool) -> None:
        super().__init__(targets, sidecars, streams=streams)
        self._rng = rng

    def choose(self, request: Request, usable: Sequence[int], now: float) -> int:
        return self._rng.choice(usable)


class Priority(Guarded):
    """In the order in which targets are declared, the next one when one fails."""

    def __init__(self, targets: int, sidecars: int, rng: Random, *, streams: bool) -> None:
        super().__init__(targets, sidecars, streams=streams)

    def choose(self, request: Request, usable: Sequence[int], now: float) -> int:
        return usable[0]


class LeastOutstanding(Guarded):
    """Fewest attempts in flight from this sidecar; ties at random."""

    def __init__(self, targets: int, sidecars: int, rng: Random, *, streams: bool) -> None:
        super().__init__(targets, sidecars, streams=streams)
        self._rng = rng

    def choose(self, request: Request, usable: Sequence[int], now: float) -> int:
        flying = self.flying[request.arrival.sidecar]
        fewest = min(flying[target] for target in usable)
        return self._rng.choice([target for target in usable if flying[target] == fewest])


class LiteLLM(Guarded):
    """`lowest_latency.py` of LiteLLM 1.109.1: the mean (or a percentile) of the last ten, unsampled targets first, at
    random within the buffer. It is told at a stream's end. A time-out goes into the list of totals only, which streams
    do not read once they have a TTFT; a total is seconds per completion token."""

    SIZE = 10

    def __init__(
        self,
        targets: int,
        sidecars: int,
        rng: Random,
        *,
        streams: bool,
        percentile: float | None = None,
        buffer: float = 0.0,
    ) -> None:
        super().__init__(targets, sidecars, streams=streams)
        self._rng = rng
        self._percentile = percentile
        self._buffer = buffer
        self._ttfts = [[deque[float](maxlen=self.SIZE) for _ in range(targets)] for _ in range(sidecars)]
        self._totals = [[deque[float](maxlen=self.SIZE) for _ in range(targets)] for _ in range(sidecars)]

    def choose(self, request: Request, usable: Sequence[int], now: float) -> int:
        sidecar = request.arrival.sidecar
        known = {target: self._known(sidecar, target) for target in usable}
        lowest = min(known.values())
        return self._rng.choice([target for target in usable if known[target] <= lowest * (1.0 + self._buffer)])

    def learn(self, attempt: Attempt, now: float) -> None:
        totals = self._totals[attempt.sidecar][attempt.target]
        if attempt.outcome == "ok":
            totals.append((now - attempt.sent) / attempt.request.arrival.output)
            if self.streams and attempt.first is not None:
                self._ttfts[attempt.sidecar][attempt.target].append(attempt.first - attempt.sent)
        elif attempt.outcome in ("timeout", "stalled"):
            totals.append(1000.0)

    def _known(self, sidecar: int, target: int) -> float:
        ttfts = self._ttfts[sidecar][target]
        if self.streams and ttfts:
            if self._percentile is not None:
                return sorted(ttfts)[math.ceil(len(ttfts) * self._percentile) - 1]
            return sum(ttfts) / len(ttfts)
        totals = self._totals[sidecar][target]
        return sum(totals) / len(totals) if totals else 0.0


class PeakEwma(Guarded):
    """Linkerd's: of two at random the one with the lower `estimate x (pending + 1)`. The estimate jumps up to a higher
    sample, and falls with 10 s; 30 ms before the first; failures count as they come (linkerd2-proxy, tower)."""

    DECAY, FIRST = 10.0, 0.03

    def __init__(self, targets: int, sidecars: int, rng: Random, *, streams: bool) -> None:
        super().__init__(targets, sidecars, streams=streams)
        self._rng = rng
        self._estimates = [[self.FIRST] * targets for _ in range(sidecars)]
        self._at = [[0.0] * targets for _ in range(sidecars)]

    def choose(self, request: Request, usable: Sequence[int], now: float) -> int:
        sidecar = request.arrival.sidecar
        two = self._rng.sample(usable, 2) if len(usable) > 1 else usable
        return min(two, key=lambda target: self._load(sidecar, target, now))

    def first(self, attempt: Attempt, now: float) -> None:
        self._sample(attempt, now)

    def learn(self, attempt: Attempt, now: float) -> None:
        if attempt.first is None or not self.streams:
            self._sample(attempt, now)

    def _load(self, sidecar: int, target: int, now: float) -> float:
        age = now - self._at[sidecar][target]
        return self._estimates[sidecar][target] * math.exp(-age / self.DECAY) * (self.flying[sidecar][target] + 1)

    def _sample(self, attempt: Attempt, now: float) -> None:
        sidecar, target = attempt.sidecar, attempt.target
        sample, old = now - attempt.sent, self._estimates[sidecar][target]
        kept = math.exp(-(now - self._at[sidecar][target]) / self.DECAY)
        self._estimates[sidecar][target] = sample if sample > old else old * kept + sample * (1.0 - kept)
        self._at[sidecar][target] = now


class Prequal(Guarded):
    """Hot-cold lexicographic choice among three at random, without its probes, which would cost money here: a target
    is hot above the 0.84 quantile of requests in flight; the cold one with the lowest median wins, else the least hot
    (NSDI 2024)."""

    SAMPLED, QUANTILE, REMEMBERED = 3, 0.84, 16

    def __init__(self, targets: int, sidecars: int, rng: Random, *, streams: bool) -> None:
        super().__init__(targets, sidecars, streams=streams)
        self._rng = rng
        self._samples = [[deque[float](maxlen=self.REMEMBERED) for _ in range(targets)] for _ in range(sidecars)]

    def choose(self, request: Request, usable: Sequence[int], now: float) -> int:
        sidecar = request.arrival.sidecar
        flying = self.flying[sidecar]
        sampled = self._rng.sample(usable, min(self.SAMPLED, len(usable)))
        counts = sorted(flying)
        limit = counts[min(len(counts) - 1, int(self.QUANTILE * len(counts)))]
        cold = [target for target in sampled if flying[target] <= limit]
        if cold:
            return min(cold, key=lambda target: self._median(sidecar, target))
        return min(sampled, key=lambda target: flying[target])

    def first(self, attempt: Attempt, now: float) -> None:
        self._samples[attempt.sidecar][attempt.target].append(now - attempt.sent)

    def learn(self, attempt: Attempt, now: float) -> None:
        if attempt.outcome == "ok" and not self.streams:
            self._samples[attempt.sidecar][attempt.target].append(now - attempt.sent)

    def _median(self, sidecar: int, target: int) -> float:
        samples = sorted(self._samples[sidecar][target])
        return samples[len(samples) // 2] if samples else 0.0


class Agentgateway(Guarded):
    """`score` of agentgateway: of two at random (the same one twice is possible) the one with the higher
    `health / (1 + latency x (1 + pending / 10))`; averages with weight 0.3; latency of whole successful requests."""

    ALPHA = 0.3

    def __init__(self, targets: int, sidecars: int, rng: Random, *, streams: bool) -> None:
        super().__init__(targets, sidecars, streams=streams)
        self._rng = rng
        self._health = [[1.0] * targets for _ in range(sidecars)]
        self._latency = [[0.0] * targets for _ in range(sidecars)]

    def choose(self, request: Request, usable: Sequence[int], now: float) -> int:
        sidecar = request.arrival.sidecar
        two = self._rng.choice(usable), self._rng.choice(usable)
        return max(two, key=lambda target: self._score(sidecar, target))

    def learn(self, attempt: Attempt, now: float) -> None:
        if attempt.outcome == "cancelled":
            return
        sidecar, target = attempt.sidecar, attempt.target
        self._record(self._health[sidecar], target, 1.0 if attempt.outcome == "ok" else 0.0)
        if attempt.outcome == "ok":
            self._record(self._latency[sidecar], target, now - attempt.sent)

    def _score(self, sidecar: int, target: int) -> float:
        penalty = self._latency[sidecar][target] * (1.0 + self.flying[sidecar][target] * 0.1)
        return self._health[sidecar][target] / (1.0 + penalty)

    def _record(self, values: list[float], target: int, value: float) -> None:
        old = values[target]
        values[target] = value if old == 0.0 else self.ALPHA * value + (1.0 - self.ALPHA) * old


class P95(Guarded):
    """Lowest p95 of the last 50 samples that are younger than 5 minutes; unsampled targets first."""

    SIZE, TTL = 50, 300.0

    def __init__(self, targets: int, sidecars: int, rng: Random, *, streams: bool) -> None:
        super().__init__(targets, sidecars, streams=streams)
        self._rng = rng
        self._samples: dict[tuple[int, int], deque[tuple[float, float]]] = defaultdict(
            lambda: deque[tuple[float, float]](maxlen=self.SIZE)
        )

    def choose(self, request: Request, usable: Sequence[int], now: float) -> int:
        sidecar = request.arrival.sidecar
        known = {target: self._p95(sidecar, target, now) for target in usable}
        lowest = min(known.values())
        return self._rng.choice([target for target in usable if known[target] == lowest])

    def learn(self, attempt: Attempt, now: float) -> None:
        if attempt.outcome == "ok":
            until = attempt.first if self.streams and attempt.first is not None else now
            self._samples[attempt.sidecar, attempt.target].append((now, until - attempt.sent))

    def _p95(self, sidecar: int, target: int, now: float) -> float:
        values = sorted(value for at, value in self._samples[sidecar, target] if now - at < self.TTL)
        return values[math.ceil(len(values) * 0.95) - 1] if values else 0.0


class EpsilonEwma(Guarded):
    """The lowest average (weight 0.2, failures as 10 s), and one in twenty at random."""

    EPSILON, ALPHA, PENALTY = 0.05, 0.2, 10.0

    def __init__(self, targets: int, sidecars: int, rng: Random, *, streams: bool) -> None:
        super().__init__(targets, sidecars, streams=streams)
        self._rng = rng
        self._averages = [[0.0] * targets for _ in range(sidecars)]

    def choose(self, request: Request, usable: Sequence[int], now: float) -> int:
        if self._rng.random() < self.EPSILON:
            return self._rng.choice(usable)
        averages = self._averages[request.arrival.sidecar]
        lowest = min(averages[target] for target in usable)
        return self._rng.choice([target for target in usable if averages[target] == lowest])

    def first(self, attempt: Attempt, now: float) -> None:
        self._record(attempt, now - attempt.sent)

    def learn(self, attempt: Attempt, now: float) -> None:
        if attempt.outcome == "ok":
            if not self.streams:
                self._record(attempt, now - attempt.sent)
        elif attempt.outcome not in ("429", "cancelled"):
            self._record(attempt, self.PENALTY)

    def _record(self, attempt: Attempt, value: float) -> None:
        averages = self._averages[attempt.sidecar]
        old = averages[attempt.target]
        averages[attempt.target] = value if old == 0.0 else self.ALPHA * value + (1.0 - self.ALPHA) * old

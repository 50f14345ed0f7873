"""What every rival gets besides its algorithm: failover to untried targets, cooldowns, Retry-After."""

from collections.abc import Callable, Sequence
from math import inf

from bench.routing.fleet import Attempt, Request

IN_A_ROW = 3
COOLDOWN = 5.0
TIMEOUT = 10.0
TOTAL_TIMEOUT = 60.0

Choose = Callable[[Request, Sequence[int], float], int]


class Guarded:
    """Base of the rivals: they choose among those that the guard lets through. Each sidecar knows only its own."""

    def __init__(self, targets: int, sidecars: int, *, streams: bool) -> None:
        self.targets = range(targets)
        self.streams = streams
        self._streaks = [[0] * targets for _ in range(sidecars)]
        self._out_until = [[-inf] * targets for _ in range(sidecars)]
        self.flying = [[0] * targets for _ in range(sidecars)]

    def choose(self, request: Request, usable: Sequence[int], now: float) -> int:
        """The rival's own choice."""
        raise NotImplementedError

    def learn(self, attempt: Attempt, now: float) -> None:
        """What the rival makes of an attempt's end."""

    def pick(self, request: Request, now: float) -> int:
        out, tried = self._out_until[request.arrival.sidecar], request.tried
        untried = [target for target in self.targets if target not in tried] or list(self.targets)
        usable = [target for target in untried if out[target] <= now]
        if usable:
            return self.choose(request, usable, now)
        return min(untried, key=lambda target: out[target])

    def timeout(self, attempt: Attempt, now: float) -> float:
        return TIMEOUT if self.streams else TOTAL_TIMEOUT

    def hedge_after(self, attempt: Attempt, now: float) -> float | None:
        return None

    def hedge(self, attempt: Attempt, now: float) -> int | None:
        return None

    def sent(self, attempt: Attempt, now: float) -> None:
        self.flying[attempt.sidecar][attempt.target] += 1

    def first(self, attempt: Attempt, now: float) -> None:
        return

    def ended(self, attempt: Attempt, now: float) -> None:
        sidecar, target = attempt.sidecar, attempt.target
        self.flying[sidecar][target] -= 1
        streaks, out = self._streaks[sidecar], self._out_until[sidecar]
        if attempt.outcome == "ok":
            streaks[target] = 0
        elif attempt.outcome == "429":
            out[target] = max(out[target], now + attempt.retry_after)
        elif attempt.outcome != "cancelled":
            streaks[target] += 1
            if streaks[target] >= IN_A_ROW:
                out[target] = max(out[target], now + COOLDOWN)
        self.learn(attempt, now)

    def exchange(self, now: float) -> None:
        return

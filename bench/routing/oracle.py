"""The bound: knows the true state of every target, but no draw; picks the lowest expected cost, request by request."""

from collections.abc import Sequence

from bench.routing.fleet import Attempt, Request
from bench.routing.guard import TIMEOUT, TOTAL_TIMEOUT
from bench.routing.servers import Server


class Oracle:
    """Greedy, without hedges; so others may beat it where hedging or foresight pays."""

    def __init__(self, servers: Sequence[Server], *, streams: bool) -> None:
        self._servers = servers
        self._streams = streams

    def pick(self, request: Request, now: float) -> int:
        tried = request.tried
        untried = [target for target in range(len(self._servers)) if target not in tried]
        candidates = untried or list(range(len(self._servers)))
        return min(candidates, key=lambda target: self._servers[target].expected(request.arrival, not self._streams))

    def timeout(self, attempt: Attempt, now: float) -> float:
        return TIMEOUT if self._streams else TOTAL_TIMEOUT

    def hedge_after(self, attempt: Attempt, now: float) -> float | None:
        return None

    def hedge(self, attempt: Attempt, now: float) -> int | None:
        return None

    def sent(self, attempt: Attempt, now: float) -> None:
        return

    def first(self, attempt: Attempt, now: float) -> None:
        return

    def ended(self, attempt: Attempt, now: float) -> None:
        return

    def exchange(self, now: float) -> None:
        return

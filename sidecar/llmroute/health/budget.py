"""No retry storm: attempts <= 1.2 x requests + 100 in any ten seconds."""

PER_REQUEST = 0.2
RESERVE = 50.0
"""Retries that may come at once."""
REFILL = 5.0
"""Retries a second. In any 10 s at most RESERVE + 10 x REFILL = 100 come from here, whatever happened before."""


class RetryBudget:
    """A bucket of retries: full at first, refilled by time and by requests. One for the whole process."""

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._tokens = RESERVE
        self._at = 0.0

    def request(self, now: float) -> None:
        """A request came; it brings a fifth of a retry."""
        tokens = self._tokens
        if tokens < RESERVE:
            self._tokens = min(self._refilled(now) + PER_REQUEST, RESERVE)

    def may_retry(self, now: float, exempt: bool = False) -> bool:
        """Take one retry if there is one. `exempt`: the first failover of a request whose target was just ejected."""
        if exempt:
            return True
        tokens = self._refilled(now)
        if tokens < 1.0:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1.0
        return True

    def _refilled(self, now: float) -> float:
        """Also moves the clock on."""
        elapsed = now - self._at
        if elapsed <= 0.0:
            return self._tokens
        self._at = now
        return min(self._tokens + elapsed * REFILL, RESERVE)

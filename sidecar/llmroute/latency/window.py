"""The parts of the last attempts' latency, exactly as they were: for people to look at, not for choosing."""

import math
from collections import deque
from collections.abc import Callable

from llmroute.latency import numbers
from llmroute.request import Observation

_PARTS: dict[str, Callable[[Observation], float | None]] = {
    "queue": lambda seen: seen.timings.queue,
    "connect": lambda seen: seen.timings.connect,
    "headers": lambda seen: seen.timings.headers,
    "ttft": lambda seen: seen.timings.ttft,
    "generation": lambda seen: seen.timings.generation,
    "total": lambda seen: seen.timings.total,
    "tokens_per_second": lambda seen: numbers.speed(seen.output_tokens - 1, seen.timings.generation),
}
PARTS = tuple(_PARTS)
"""Seconds, but for the last."""
ATTEMPTS = 512


class Window:
    """The last 512 attempts. `record(observation)` keeps one more, for the price of an append; what it says is worked
    out when somebody looks."""

    __slots__ = ("_seen", "record")

    def __init__(self) -> None:
        self._seen: deque[Observation] = deque(maxlen=ATTEMPTS)
        self.record = self._seen.append

    def summary(self, now: float, seconds: float = 300.0) -> dict[str, dict[str, float | int]]:
        """For each part that occurred in the last `seconds`: count, mean, p50, p95, p99 (exact, nearest rank)."""
        recent = [observation for observation in self._seen if now - observation.at <= seconds]
        result: dict[str, dict[str, float | int]] = {}
        for part, read in _PARTS.items():
            values = sorted(value for value in map(read, recent) if value is not None)
            if values:
                result[part] = {
                    "count": len(values),
                    "mean": math.fsum(values) / len(values),
                    "p50": _rank(values, 50),
                    "p95": _rank(values, 95),
                    "p99": _rank(values, 99),
                }
        return result


def _rank(ordered: list[float], percentile: int) -> float:
    return ordered[max(0, math.ceil(len(ordered) * percentile / 100) - 1)]

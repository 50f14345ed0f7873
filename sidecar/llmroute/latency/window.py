"""The parts of the last attempts' latency, exactly as they were: for people to look at, not for choosing."""

import math
from array import array
from struct import Struct

from llmroute.latency import numbers
from llmroute.request import Observation

PARTS = ("queue", "connect", "headers", "ttft", "generation", "total", "tokens_per_second")
"""Seconds, but for the last."""
ATTEMPTS = 512

_ROW = Struct("8d")
_COLUMNS = 8
_ABSENT = math.nan


class Window:
    """A ring of the last 512 attempts: one row each, the instant and then the parts; NaN where one was not reached."""

    __slots__ = ("_count", "_ring")

    def __init__(self) -> None:
        self._ring = array("d", bytes(ATTEMPTS * _ROW.size))
        self._count = 0

    def record(self, observation: Observation) -> None:
        """Overwrite the oldest row."""
        timings = observation.timings
        generation = timings.generation
        speed = _ABSENT
        if generation is not None:
            speed = numbers.speed(observation.output_tokens - 1, generation) or _ABSENT
        _ROW.pack_into(
            self._ring,
            self._count % ATTEMPTS * _ROW.size,
            observation.at,
            timings.queue,
            timings.connect,
            _ABSENT if timings.headers is None else timings.headers,
            _ABSENT if timings.ttft is None else timings.ttft,
            _ABSENT if generation is None else generation,
            _ABSENT if timings.total is None else timings.total,
            speed,
        )
        self._count += 1

    def summary(self, now: float, seconds: float = 300.0) -> dict[str, dict[str, float | int]]:
        """For each part that occurred in the last `seconds`: count, mean, p50, p95, p99 (exact, nearest rank)."""
        ring = self._ring
        rows = [row * _COLUMNS for row in range(min(self._count, ATTEMPTS)) if now - ring[row * _COLUMNS] <= seconds]
        result: dict[str, dict[str, float | int]] = {}
        for column, part in enumerate(PARTS, 1):
            values = sorted(value for row in rows if (value := ring[row + column]) == value)
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

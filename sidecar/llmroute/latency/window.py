"""The parts of the last attempts' latency, exactly as they were: for people to look at, not for choosing."""

import math
from array import array
from struct import Struct

from llmroute.latency import numbers
from llmroute.request import Observation

PARTS = ("queue", "connect", "headers", "ttft", "generation", "total", "tokens_per_second")
"""Seconds, but for the last."""
_SPEED, _GENERATION = 1 + PARTS.index("tokens_per_second"), 1 + PARTS.index("generation")
ATTEMPTS = 512

_ROW = Struct("8d")
_COLUMNS = 8
_ABSENT = math.nan


class Window:
    """A ring of the last 512 attempts, one row each: the instant, then the parts (NaN where one was not reached), with
    the output tokens in the place of their speed."""

    __slots__ = ("_count", "_ring")

    def __init__(self) -> None:
        self._ring = array("d", bytes(ATTEMPTS * _ROW.size))
        self._count = 0

    def record(self, observation: Observation) -> None:
        """Overwrite the oldest row."""
        timings = observation.timings
        headers, ttft, generation, total = timings.headers, timings.ttft, timings.generation, timings.total
        _ROW.pack_into(
            self._ring,
            self._count % ATTEMPTS * _ROW.size,
            observation.at,
            timings.queue,
            timings.connect,
            _ABSENT if headers is None else headers,
            _ABSENT if ttft is None else ttft,
            _ABSENT if generation is None else generation,
            _ABSENT if total is None else total,
            observation.output_tokens,
        )
        self._count += 1

    def summary(self, now: float, seconds: float = 300.0) -> dict[str, dict[str, float | int]]:
        """For each part that occurred in the last `seconds`: count, mean, p50, p95, p99 (exact, nearest rank)."""
        ring = self._ring
        rows = [row * _COLUMNS for row in range(min(self._count, ATTEMPTS)) if now - ring[row * _COLUMNS] <= seconds]
        result: dict[str, dict[str, float | int]] = {}
        for column, part in enumerate(PARTS, 1):
            if column == _SPEED:
                found = (numbers.speed(int(ring[row + column]) - 1, ring[row + _GENERATION]) for row in rows)
                values = sorted(speed for speed in found if speed is not None)
            else:
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

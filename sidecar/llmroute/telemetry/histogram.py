"""Histograms that take a value for the price of appending it to a list."""

from bisect import bisect_right

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""OpenTelemetry's advice for gen_ai.client.operation.duration and time_to_first_chunk."""
TTFT_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 15.0, 20.0, 30.0, 45.0, 60.0)
"""The same, finer up to a minute: slow first tokens are what people look for."""
TOKENS = tuple(float(4**power) for power in range(14))
"""OpenTelemetry's advice for gen_ai.client.token.usage: 1 to 67,108,864."""
OVERHEAD_SECONDS = (50e-6, 100e-6, 150e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3)
"""What the sidecar itself adds."""
QUEUE_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


TOGETHER = 128
"""Values that wait to be put into their buckets together: sorted first, they cost a fifth of one after the other."""


class Histogram:
    """Counts by bucket; `bounds` are inclusive upper bounds, the last bucket has none."""

    __slots__ = ("_counts", "_total", "_waiting", "bounds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0
        self._waiting: list[float] = []

    def observe(self, value: float) -> None:
        """Count one value; what is no number is not counted."""
        waiting = self._waiting
        waiting.append(value)
        if len(waiting) >= TOGETHER:
            self._settle()

    def observe_all(self, values: list[float]) -> None:
        """Count several values."""
        self._waiting += values
        if len(self._waiting) >= TOGETHER:
            self._settle()

    def _settle(self) -> None:
        values = sorted(self._waiting)
        self._waiting.clear()
        total = sum(values)
        if total != total:  # there may be one that is no number
            values = sorted([value for value in values if value == value])
            total = sum(values)
        self._total += total
        counts, below, size = self._counts, 0, len(values)
        for bucket, bound in enumerate(self.bounds):
            if below == size:
                return
            up_to = bisect_right(values, bound, below)
            counts[bucket] += up_to - below
            below = up_to
        counts[-1] += size - below

    @property
    def count(self) -> int:
        """Values so far."""
        self._settle()
        return sum(self._counts)

    @property
    def total(self) -> float:
        """Sum of the values."""
        self._settle()
        return self._total

    def cumulative(self) -> list[tuple[str, float]]:
        """`(upper bound, values up to it)` as the exposition wants it."""
        self._settle()
        rows: list[tuple[str, float]] = []
        reached = 0.0
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), self._counts, strict=True):
            reached += count
            rows.append((bound, reached))
        return rows

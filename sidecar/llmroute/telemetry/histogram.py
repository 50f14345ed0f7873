"""Histograms on plain lists: a bisect and two additions an observation."""

from bisect import bisect_left

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""OpenTelemetry's advice for gen_ai.client.operation.duration and time_to_first_chunk."""
TTFT_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 15.0, 20.0, 30.0, 45.0, 60.0)
"""The same, finer up to a minute: slow first tokens are what people look for."""
TOKENS = tuple(float(4**power) for power in range(14))
"""OpenTelemetry's advice for gen_ai.client.token.usage: 1 to 67,108,864."""
OVERHEAD_SECONDS = (50e-6, 100e-6, 150e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3)
"""What the sidecar itself adds."""
QUEUE_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Histogram:
    """Counts by bucket; `bounds` are inclusive upper bounds, the last bucket has none."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value; what is no number is not counted."""
        if value == value:
            self.counts[bisect_left(self.bounds, value)] += 1
            self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """`(upper bound, values up to it)` as the exposition wants it."""
        running = 0
        rows = []
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            rows.append((bound, float(running)))
        return rows

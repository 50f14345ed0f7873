"""What this sidecar must reach beside the others in the same run, and what it aims for beyond that."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from bench.proxy.measure import Measurement
from bench.proxy.results import Run

_MEGABYTE = 1e6


@dataclass(frozen=True)
class Bar:
    """At least or at most `bar`, and `aim` beyond it, where there are such."""

    text: str
    value: float | None
    bar: float | None
    aim: float | None = None
    at_least: bool = True

    def line(self) -> str:
        sign = ">=" if self.at_least else "<="
        goals = [f"{name} {sign} {goal:g}" for name, goal in (("bar", self.bar), ("aim", self.aim)) if goal is not None]
        value = "-" if self.value is None else f"{self.value:.2f}"
        return f"{self.text:<40}{value:>8}  {', '.join(goals):<22}  {self._verdict()}"

    def _verdict(self) -> str:
        if self.value is None:
            return "not measured"
        if self.bar is not None and not self._reaches(self.value, self.bar):
            return "MISSED"
        if self.aim is not None and not self._reaches(self.value, self.aim):
            return "aim missed"
        return "met"

    def _reaches(self, value: float, goal: float) -> bool:
        return value >= goal if self.at_least else value <= goal


def bars(run: Run) -> list[Bar]:
    """All of them, in the order of what they are about."""

    def ratio(other: str, case: str, read: Callable[[Measurement], float | None]) -> float | None:
        return run.ratio("llmroute", other, case, read)

    busy, quiet, stream = "small-json-32", "small-json-1", "small-stream-32"
    return [
        Bar("throughput / TensorZero's", ratio("tensorzero", busy, lambda m: m.requests_per_second), 1.5, 2.0),
        Bar("throughput / Envoy's", ratio("envoy", busy, lambda m: m.requests_per_second), 0.5, 0.7),
        Bar("throughput / LiteLLM's", ratio("litellm", busy, lambda m: m.requests_per_second), 100),
        Bar("p50 at 1 connection / TensorZero's", ratio("tensorzero", quiet, _p50), 1.0, at_least=False),
        Bar("p50 at 1 connection / Envoy's", ratio("envoy", quiet, _p50), None, 1.3, at_least=False),
        Bar("streamed tokens/s / TensorZero's", ratio("tensorzero", stream, lambda m: m.tokens_per_second), 1.5),
        Bar("RSS after the run, MB", _rss(run), 60, at_least=False),
        Bar("ready after exec, s", _ready(run), 0.5, at_least=False),
    ]


def _p50(measurement: Measurement) -> float | None:
    return measurement.latency_p50


def _rss(run: Run) -> float | None:
    return next((p.rss_bytes / _MEGABYTE for p in run.peers if p.name == "llmroute" and p.rss_bytes), None)


def _ready(run: Run) -> float | None:
    return next((median(p.ready_seconds) for p in run.peers if p.name == "llmroute" and p.ready_seconds), None)

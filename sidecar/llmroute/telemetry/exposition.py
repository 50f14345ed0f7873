"""The counters under their public names (a contract with dashboards): read when scraped, through prometheus_client."""

import re
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llmroute.health import State
from llmroute.telemetry.histogram import Histogram
from llmroute.telemetry.meter import OK, Meter, RouteMeter, TargetMeter

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
STATES = tuple(state.value for state in State)

Labels = tuple[str, ...]
OfRoute = Callable[[RouteMeter], Iterable[tuple[Labels, float]]]
OfTarget = Callable[[TargetMeter], Iterable[tuple[Labels, float]]]

_GEN_AI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "error_type")

_ROUTE_COUNTERS: tuple[tuple[str, str, Labels, OfRoute], ...] = (
    ("requests", "Requests of apps, by how they ended.", ("outcome", "cache"), lambda m: m.requests.items()),
    ("failovers", "Attempts made because one before failed.", ("from", "to", "reason"), lambda m: m.failovers.items()),
    ("selection_changes", "Choices of another target than the one before.", (), lambda m: [((), m.changes)]),
    (
        "cache_requests",
        "Requests that the cache was asked for.",
        ("result",),
        lambda m: [((result,), count) for result, count in m.cache_results.items()],
    ),
    (
        "tokens_saved",
        "Tokens, read and written, that no target was asked for.",
        ("by",),
        lambda m: [(("cache",), m.saved)] if m.cache_results else [],
    ),
)
_TARGET_COUNTERS: tuple[tuple[str, str, Labels, OfTarget], ...] = (
    (
        "attempts",
        "Requests to a target, by how they ended.",
        ("outcome",),
        lambda m: [((outcome,), count) for outcome, count in m.attempts.items()],
    ),
    (
        "selections",
        "Choices of a target, by why.",
        ("reason",),
        lambda m: [((reason,), count) for reason, count in m.selections.items()],
    ),
    (
        "cost_usd",
        "Dollars by the declared prices.",
        (),
        lambda m: [] if m.candidate.cost_in is None else [((), m.cost)],
    ),
)
_ROUTE_HISTOGRAMS: tuple[tuple[str, str, Labels, Callable[[RouteMeter], Iterable[tuple[Labels, Histogram]]]], ...] = (
    (
        "request_duration_seconds",
        "From the request's arrival to its last byte.",
        ("stream",),
        lambda m: [
            ((word,), histogram)
            for word, histogram in zip(("false", "true"), m.durations, strict=True)
            if histogram.count
        ],
    ),
    ("ttft_seconds", "From a stream's arrival to its first content.", (), lambda m: [((), m.ttft)]),
    ("overhead_seconds", "What the sidecar added.", (), lambda m: [((), m.overhead)]),
    ("queue_seconds", "Waiting in the sidecar for a slot at the target.", (), lambda m: [((), m.queue)]),
)


class Exposition(Collector):
    """All families, in the text format. `now` is the monotonic clock."""

    def __init__(self, meter: Meter, version: str, now: Callable[[], float]) -> None:
        self._meter = meter
        self._version = version
        self._now = now
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """What `/metrics` answers, of CONTENT_TYPE."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: so that registering does not read."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family of the contract."""
        self._meter.settle()
        yield from self._counters()
        yield from self._histograms()
        yield from self._gen_ai()
        yield from self._gauges()
        yield from self._process()

    def _routes(self) -> Iterator[tuple[str, RouteMeter]]:
        yield "", self._meter.unrouted
        yield from self._meter.routes.items()

    def _targets(self) -> Iterator[tuple[str, str, TargetMeter]]:
        for route, meter in self._meter.routes.items():
            for name, target in meter.targets.items():
                yield route, name, target

    def _counters(self) -> Iterator[Metric]:
        for name, text, labels, of_route in _ROUTE_COUNTERS:
            family = CounterMetricFamily(f"llmroute_{name}", text, labels=("route", *labels))
            for route, meter in self._routes():
                for values, count in of_route(meter):
                    family.add_metric((route, *values), count)
            yield family
        for name, text, labels, of_target in _TARGET_COUNTERS:
            family = CounterMetricFamily(f"llmroute_{name}", text, labels=("route", "target", *labels))
            for route, target, counted in self._targets():
                for values, count in of_target(counted):
                    family.add_metric((route, target, *values), count)
            yield family

    def _histograms(self) -> Iterator[Metric]:
        for name, text, labels, read in _ROUTE_HISTOGRAMS:
            family = HistogramMetricFamily(f"llmroute_{name}", text, labels=("route", *labels))
            for route, meter in self._routes():
                for values, histogram in read(meter):
                    family.add_metric((route, *values), histogram.cumulative(), histogram.total)
            yield family

    def _gen_ai(self) -> Iterator[Metric]:
        """OpenTelemetry's names for the client of a provider, which a sidecar is."""
        labels = (*_GEN_AI, "route", "target")
        duration = HistogramMetricFamily(
            "gen_ai_client_operation_duration_seconds", "Attempts, start to end.", labels=labels
        )
        first_chunk = HistogramMetricFamily(
            "gen_ai_client_operation_time_to_first_chunk_seconds", "Streams, start to first content.", labels=labels
        )
        usage = HistogramMetricFamily(
            "gen_ai_client_token_usage", "Billed tokens of an attempt.", labels=(*labels, "gen_ai_token_type")
        )
        for route, name, meter in self._targets():
            for (operation, outcome), ends in meter.ends.items():
                values = (operation, meter.provider, meter.model, "" if outcome == OK else outcome, route, name)
                for family, of_kind, histogram in (
                    (duration, (), ends.durations),
                    (first_chunk, (), ends.first_chunks),
                    (usage, ("input",), ends.tokens_in),
                    (usage, ("output",), ends.tokens_out),
                ):
                    if histogram.count:
                        family.add_metric((*values, *of_kind), histogram.cumulative(), histogram.total)
        yield from (duration, first_chunk, usage)

    def _gauges(self) -> Iterator[Metric]:
        """What is true now, asked of the targets themselves: nothing that could leak or drift."""
        now = self._now()
        in_flight = GaugeMetricFamily("llmroute_in_flight", "Attempts under way.", labels=("route", "target"))
        state = GaugeMetricFamily(
            "llmroute_target_state", "1 for the state that the target is in.", labels=("route", "target", "state")
        )
        predicted = GaugeMetricFamily(
            "llmroute_predicted_ttft_seconds", "Median time to first token expected now.", labels=("route", "target")
        )
        for route, name, meter in self._targets():
            candidate = meter.candidate
            in_flight.add_metric((route, name), candidate.load.in_flight)
            present = candidate.health.state(now).value
            for each in STATES:
                state.add_metric((route, name, each), float(each == present))
            ttft = candidate.latency.usual_ttft(now)
            if ttft is not None:
                predicted.add_metric((route, name), ttft)
        baseline = GaugeMetricFamily(
            "llmroute_baseline_seconds", "What an attempt usually takes; moves slowly.", labels=("route",)
        )
        for route, route_meter in self._meter.routes.items():
            usual = route_meter.baseline(now)
            if usual is not None:
                baseline.add_metric((route,), usual)
        yield from (in_flight, state, predicted, baseline)

    def _process(self) -> Iterator[Metric]:
        meter = self._meter
        yield GaugeMetricFamily(
            "llmroute_config_revision",
            "The revision in force, read as a hexadecimal number: equal where the configurations are, 0 without one.",
            value=_number(meter.revision),
        )
        reloads = CounterMetricFamily("llmroute_config_reloads", "Configurations read.", labels=("result",))
        for result, count in meter.reloads.items():
            reloads.add_metric((result,), count)
        yield reloads
        build = GaugeMetricFamily("llmroute_build_info", "Always 1.", labels=("version",))
        build.add_metric((self._version,), 1.0)
        yield build


def _number(revision: str) -> int:
    """12 hexadecimal digits fit into a float, so that revisions can be compared without a series for each of them."""
    return int(revision, 16) if re.fullmatch("[0-9a-f]{1,12}", revision) else 0

"""Counters of routes and targets. Kept on plain numbers while requests run, given names and labels only when scraped.

Label values come from the configuration and from our own fixed words, never from what a client sent: what is not known
is not counted by name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

from llmroute.errors import RequestError
from llmroute.request import Observation, Outcome, RequestEnded
from llmroute.routing import Candidate
from llmroute.spec import Target
from llmroute.telemetry.baseline import Baseline
from llmroute.telemetry.histogram import (
    OVERHEAD_SECONDS,
    QUEUE_SECONDS,
    SECONDS,
    TOGETHER,
    TOKENS,
    TTFT_SECONDS,
    Histogram,
)

CACHE_OFF = "off"
HUNG_UP = 499
ATTEMPTS_TOGETHER = 2 * TOGETHER
"""Attempts, of all targets, that wait to be counted."""
OK = Outcome.OK.word


class NamedProfile(Protocol):
    """A provider as OpenTelemetry calls it."""

    @property
    def otel_name(self) -> str:
        """Value of `gen_ai.provider.name`."""


class MeteredTarget(Protocol):
    """What labels and live numbers of a target are read from."""

    @property
    def name(self) -> str:
        """Its name within the route."""

    @property
    def route(self) -> str:
        """Key of its route."""

    @property
    def spec(self) -> Target:
        """What was declared."""

    @property
    def profile(self) -> NamedProfile:
        """Its provider."""

    @property
    def candidate(self) -> Candidate:
        """State, load and prediction, read when scraped."""


class MeteredRoute(Protocol):
    """What labels of a route are read from."""

    @property
    def key(self) -> str:
        """`namespace/name`."""

    @property
    def targets(self) -> Mapping[str, MeteredTarget]:
        """By name."""


class Ends:
    """Attempts of one operation at one target that ended in one way."""

    __slots__ = ("durations", "first_chunks", "tokens_in", "tokens_out")

    def __init__(self) -> None:
        self.durations = Histogram(SECONDS)
        self.first_chunks = Histogram(TTFT_SECONDS)
        self.tokens_in = Histogram(TOKENS)
        self.tokens_out = Histogram(TOKENS)

    def count(self, observations: list[Observation]) -> None:
        """So many more."""
        timings = [(observation.timings, observation.waited) for observation in observations]
        self.durations.observe_all(
            [each.connect + (waited if each.total is None else each.total) for each, waited in timings]
        )
        self.first_chunks.observe_all(
            [each.timings.ttft for each in observations if each.stream and each.timings.ttft is not None]
        )
        usages = [observation.usage for observation in observations if observation.usage is not None]
        self.tokens_in.observe_all([usage.input for usage in usages])
        self.tokens_out.observe_all([usage.output for usage in usages])


class TargetMeter:
    """Counters of one target."""

    __slots__ = ("candidate", "cost", "ends", "model", "provider", "selections")

    def __init__(self, target: MeteredTarget) -> None:
        self.provider = target.profile.otel_name
        self.model: str = target.spec.model
        self.candidate = target.candidate
        self.selections: dict[str, int] = {}
        """By reason."""
        self.cost = 0.0
        """Dollars."""
        self.ends: dict[tuple[str, str], Ends] = {}
        """By operation and outcome."""

    def is_of(self, target: MeteredTarget) -> bool:
        """Whether the labels would be the same."""
        return self.provider == target.profile.otel_name and self.model == target.spec.model

    @property
    def attempts(self) -> dict[str, int]:
        """Attempts by outcome."""
        attempts: dict[str, int] = {}
        for (_, outcome), ends in self.ends.items():
            attempts[outcome] = attempts.get(outcome, 0) + ends.durations.count
        return attempts

    def count(self, operation: str, outcome: str, ended: list[Observation]) -> None:
        """So many attempts more, at the prices of now."""
        ends = self.ends.get((operation, outcome))
        if ends is None:
            ends = self.ends[operation, outcome] = Ends()
        ends.count(ended)
        if self.candidate.cost_in is not None:
            for usage in [each.usage for each in ended if each.usage is not None]:
                self.cost += self.candidate.price(usage.input, usage.output) or 0.0


class RouteMeter:
    """Counters of one route."""

    __slots__ = (
        "_baseline",
        "_latest",
        "changes",
        "durations",
        "failovers",
        "overhead",
        "queue",
        "requests",
        "saved",
        "targets",
        "ttft",
    )

    def __init__(self) -> None:
        self.targets: dict[str, TargetMeter] = {}
        self.requests: dict[tuple[str, str], int] = {}
        """By outcome and cache result."""
        self.durations = (Histogram(SECONDS), Histogram(SECONDS))
        """Of answers in one piece, and of streams."""
        self.ttft = Histogram(TTFT_SECONDS)
        self.overhead = Histogram(OVERHEAD_SECONDS)
        self.queue = Histogram(QUEUE_SECONDS)
        self.failovers: dict[tuple[str, str, str], int] = {}
        """By from, to and the reason: the outcome that made the attempt fail."""
        self.saved = 0
        """Tokens of answers that came from the cache."""
        self.changes = 0
        """Selections of another target than the one before."""
        self._latest = ""
        self._baseline = Baseline()

    def chosen(self, name: str, reason: str) -> None:
        """A target was chosen for an attempt."""
        target = self.targets.get(name)
        if target is not None:
            selections = target.selections
            selections[reason] = selections.get(reason, 0) + 1
        if name != self._latest:
            if self._latest:
                self.changes += 1
            self._latest = name

    @property
    def cache_results(self) -> dict[str, int]:
        """Requests that the cache was asked for, by what it said."""
        results: dict[str, int] = {}
        for (_, cache), count in self.requests.items():
            if cache != CACHE_OFF:
                results[cache] = results.get(cache, 0) + count
        return results

    def baseline(self, now: float) -> float | None:
        """Seconds that an attempt usually takes; None as long as too few have gone well."""
        well = [ends.durations for each in self.targets.values() for (_, end), ends in each.ends.items() if end == OK]
        return self._baseline.look(now, sum(each.total for each in well), sum(each.count for each in well))

    def count(self, ended: list[RequestEnded]) -> None:
        """So many requests more."""
        for (status, error, cache), count in Counter([(each.status, each.error, each.cache) for each in ended]).items():
            key = (outcome_of(status, error), cache or CACHE_OFF)
            self.requests[key] = self.requests.get(key, 0) + count
        self.saved += sum([each.saved for each in ended])
        whole, streams = self.durations
        whole.observe_all([each.total for each in ended if not each.stream])
        streams.observe_all([each.total for each in ended if each.stream])
        self.ttft.observe_all([each.ttft for each in ended if each.stream and each.ttft is not None])
        self.overhead.observe_all([each.overhead for each in ended if each.overhead is not None])


class Meter:
    """All counters of the process."""

    def __init__(self) -> None:
        self.routes: dict[str, RouteMeter] = {}
        self.unrouted = RouteMeter()
        """Requests that no route could be found for: its label is empty."""
        self.reloads: dict[str, int] = {"applied": 0, "rejected": 0}
        self.revision = "none"
        """The one that serves."""
        self._attempts: list[tuple[str, Observation]] = []
        """Those that wait, by route."""
        self._uncounted: list[RequestEnded] = []

    def rejected(self) -> None:
        """A configuration was wrong; the last good one stays."""
        self.reloads["rejected"] += 1

    def applied(self, routes: Iterable[MeteredRoute], revision: str) -> None:
        """A configuration is in force, with these routes."""
        self.reloads["applied"] += 1
        self.revision = revision
        self.serves(routes)

    def serves(self, routes: Iterable[MeteredRoute]) -> None:
        """The routes and targets that exist from now on; counters of those that stay go on, the others' end."""
        self.settle()
        kept: dict[str, RouteMeter] = {}
        for route in routes:
            meter = kept[route.key] = self.routes.get(route.key) or RouteMeter()
            targets: dict[str, TargetMeter] = {}
            for name, target in route.targets.items():
                known = meter.targets.get(name)
                if known is None or not known.is_of(target):
                    known = TargetMeter(target)
                known.candidate = target.candidate
                targets[name] = known
            meter.targets = targets
            meter.failovers = {key: count for key, count in meter.failovers.items() if {*key[:2]} <= targets.keys()}
        self.routes = kept

    def chosen(self, route: str, target: str, reason: str) -> None:
        """A target was chosen for an attempt."""
        meter = self.routes.get(route)
        if meter is not None:
            meter.chosen(target, reason)

    def attempt(self, route: str, observation: Observation) -> None:
        """An attempt has ended; it waits to be counted with others: one by one they cost three times as much."""
        waiting = self._attempts
        waiting.append((route, observation))
        if len(waiting) >= ATTEMPTS_TOGETHER:
            self._count_attempts()

    def failover(self, route: str, before: str, after: str, reason: str) -> None:
        """A request went on from one target to another (or to the same once more)."""
        meter = self.routes.get(route)
        if meter is not None and before in meter.targets and after in meter.targets:
            key = (before, after, reason)
            meter.failovers[key] = meter.failovers.get(key, 0) + 1

    def request(self, ended: RequestEnded) -> None:
        """A request of the app has ended; it waits to be counted with others, which costs half."""
        uncounted = self._uncounted
        uncounted.append(ended)
        if len(uncounted) >= TOGETHER:
            self._count_requests()

    def settle(self) -> None:
        """Count what waits; to be called before `routes` and `unrouted` are read."""
        self._count_attempts()
        self._count_requests()

    def _count_attempts(self) -> None:
        attempts, self._attempts = self._attempts, []
        kinds: dict[tuple[str, str, str, str], list[Observation]] = {}
        for route, each in attempts:
            kinds.setdefault((route, each.target, each.operation.otel_name, each.outcome.word), []).append(each)
        for (route, name, operation, outcome), ended in kinds.items():
            meter = self.routes.get(route)
            if meter is not None:
                meter.queue.observe_all([each.timings.queue for each in ended])
                target = meter.targets.get(name)
                if target is not None:
                    target.count(operation, outcome, ended)

    def _count_requests(self) -> None:
        uncounted, self._uncounted = self._uncounted, []
        kinds: dict[str, list[RequestEnded]] = {}
        for each in uncounted:
            kinds.setdefault(each.route, []).append(each)
        for route, ended in kinds.items():
            meter = self.routes.get(route) if route else self.unrouted
            if meter is not None:
                meter.count(ended)


def _codes(error: type[RequestError]) -> Iterable[str]:
    if "code" in error.__dict__:
        yield error.code
    for leaf in error.__subclasses__():
        yield from _codes(leaf)


OUTCOMES = frozenset({"ok", "client_error", "cancelled", "internal_error", "other", *_codes(RequestError)})
"""All words that the outcome of a request can be."""


def outcome_of(status: int, error: str) -> str:
    """How a request ended for the app, in one of the fixed words."""
    if not error:
        if status < 400:
            return "ok"
        return "cancelled" if status == HUNG_UP else "client_error"
    return error if error in OUTCOMES else "other"

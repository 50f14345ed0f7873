"""What a run is worth: latencies beside the oracle's on the same draws, and what it cost others."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import Struct

from bench.routing.fleet import Request
from bench.routing.scenarios import Scenario

BIN = 10.0
"""Seconds of a bin in which shares of targets are compared."""
LEFT, BACK = 0.5, 0.5
"""A target is left, and returned to, when its share is below, and above, this part of what it was before."""
MOVING = 2.0
"""Seconds over which a share is taken for that."""


class Result(Struct, frozen=True):
    """Of one run. Seconds, shares of requests, and counts."""

    requests: int
    mean: float
    p50: float
    p95: float
    p99: float
    slo_miss: float
    failed: int
    hedges: float
    limited: float
    """Answers of 429 per request."""
    into_event: int
    """Attempts at the target of the event while it lasts."""
    leave_s: float | None
    return_s: float | None
    herd: float
    churn: float


def score(scenario: Scenario, requests: Sequence[Request]) -> Result:
    """Requests of the warm-up do not count."""
    counted = [request for request in requests if request.arrival.at >= scenario.warmup]
    values = sorted(request.score or 0.0 for request in counted)
    attempts = [attempt for request in counted for attempt in request.attempts]
    event = scenario.event
    into = 0
    if event is not None:
        into = sum(attempt.target == event.target and event.t0 <= attempt.sent < event.t1 for attempt in attempts)
    leave, back = _reaction(scenario, requests)
    return Result(
        requests=len(values),
        mean=sum(values) / len(values),
        p50=quantile(values, 0.5),
        p95=quantile(values, 0.95),
        p99=quantile(values, 0.99),
        slo_miss=sum(value > scenario.slo for value in values) / len(values),
        failed=sum(request.failed for request in counted),
        hedges=sum(attempt.is_hedge for attempt in attempts) / len(values),
        limited=sum(attempt.outcome == "429" for attempt in attempts) / len(values),
        into_event=into,
        leave_s=leave,
        return_s=back,
        herd=_herding(scenario, counted),
        churn=_churn(counted),
    )


def quantile(values: Sequence[float], q: float) -> float:
    """Of sorted values, interpolated."""
    position = q * (len(values) - 1)
    low = math.floor(position)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (position - low)


def _herding(scenario: Scenario, requests: Sequence[Request]) -> float:
    """Mean total variation between the shares of targets in neighbouring bins."""
    bins: dict[int, Counter[int]] = {}
    for request in requests:
        bins.setdefault(int(request.arrival.at / BIN), Counter())[request.attempts[0].target] += 1
    moved = []
    for at in sorted(bins):
        if at + 1 in bins:
            before, after = bins[at], bins[at + 1]
            all_before, all_after = before.total(), after.total()
            targets = range(len(scenario.targets))
            moved.append(sum(abs(before[t] / all_before - after[t] / all_after) for t in targets) / 2.0)
    return sum(moved) / len(moved) if moved else 0.0


def _churn(requests: Sequence[Request]) -> float:
    """How often a sidecar's next request goes to another target than its last."""
    last: dict[int, int] = {}
    changes = seen = 0
    for request in requests:
        sidecar, target = request.arrival.sidecar, request.attempts[0].target
        if sidecar in last:
            seen += 1
            changes += last[sidecar] != target
        last[sidecar] = target
    return changes / seen if seen else 0.0


def _reaction(scenario: Scenario, requests: Sequence[Request]) -> tuple[float | None, float | None]:
    """Seconds until the event's target was left, and until it was returned to after the event; None if never."""
    event = scenario.event
    if event is None:
        return None, None
    picks = [(request.arrival.at, request.attempts[0].target == event.target) for request in requests]
    before = [hit for at, hit in picks if event.t0 - 60.0 <= at < event.t0]
    usual = sum(before) / len(before) if before else 0.0
    if not usual:
        return None, None
    leave = _crossing(picks, event.t0, event.t1, lambda share: share < LEFT * usual)
    back = _crossing(picks, event.t1, scenario.duration, lambda share: share > BACK * usual)
    return leave, back


def _crossing(
    picks: Sequence[tuple[float, bool]], begin: float, end: float, crossed: Callable[[float], bool]
) -> float | None:
    at = begin
    while at < end:
        window = [hit for instant, hit in picks if at <= instant < at + MOVING]
        if window and crossed(sum(window) / len(window)):
            return at - begin
        at += 0.5
    return None

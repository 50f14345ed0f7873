"""Which candidates may answer at all. Each filter is a name and one question; the names explain a choice.

Three kinds. Static ones depend only on what was declared and on the kind of request, so their result is remembered.
Those of the request are asked when it can matter. Limits (predicted latency, cost, quality) may be relaxed. What
changes from moment to moment (health, keys, load) stands in `choose`.
"""

from collections.abc import Callable
from typing import NamedTuple

from llmroute.request import Operation
from llmroute.routing.ask import Ask
from llmroute.routing.candidate import Candidate
from llmroute.routing.policy import NO_LIMITS, Policy, Terms


class Filter(NamedTuple):
    """`keeps` answers whether the candidate stays."""

    name: str
    keeps: Callable[[Candidate, Ask, Policy], bool]


def _tenant(candidate: Candidate, ask: Ask, policy: Policy) -> bool:
    tenants = candidate.target.tenants
    return tenants is None or ask.wishes.tenant in tenants


def _region(candidate: Candidate, ask: Ask, policy: Policy) -> bool:
    return policy.regions is None or candidate.target.region in policy.regions


def _labels(candidate: Candidate, ask: Ask, policy: Policy) -> bool:
    labels = candidate.target.labels or {}
    return all(labels.get(name) == value for name, value in policy.require)


def missing_capability(candidate: Candidate, ask: Ask) -> str | None:
    """The first capability that the request needs and the target has not declared; None if nothing is missing."""
    declared = candidate.target.capabilities
    if declared is None:
        return None
    wanted = sorted(ask.needs)
    if ask.operation is Operation.EMBEDDINGS:
        wanted.append("embeddings")
    if ask.stream:
        wanted.append("streaming")
    return next((need for need in wanted if need not in declared), None)


def _capability(candidate: Candidate, ask: Ask, policy: Policy) -> bool:
    return missing_capability(candidate, ask) is None


STATIC = (
    Filter("tenant", _tenant),
    Filter("region", _region),
    Filter("labels", _labels),
    Filter("capability", _capability),
)


def _asked(candidate: Candidate, ask: Ask, policy: Policy) -> bool:
    return ask.wishes.target is None or ask.wishes.target in (candidate.name, candidate.declared_as)


def _dialect(candidate: Candidate, ask: Ask, policy: Policy) -> bool:
    return candidate.name not in ask.inexpressible


def _larger_window(candidate: Candidate, ask: Ask, policy: Policy) -> bool:
    window = candidate.target.context_window
    return ask.window_above is None or (window is not None and window > ask.window_above)


OF_THE_REQUEST = (
    Filter("asked", _asked),
    Filter("dialect", _dialect),
    Filter("context", _larger_window),
)


def fits(candidate: Candidate, ask: Ask) -> bool:
    """Whether prompt and answer are expected to fit into the declared window."""
    window = candidate.target.context_window
    return window is None or ask.prompt_tokens + (ask.max_output_tokens or 0) <= window


def broken_limit(candidate: Candidate, ask: Ask, terms: Terms, now: float) -> str | None:
    """Name of the first limit that the candidate breaks; a target that never answered is held to no latency."""
    limits = terms.limits or NO_LIMITS
    if limits.min_quality is not None and candidate.target.quality_tier < limits.min_quality:
        return "min-quality"
    if limits.max_cost is not None:
        price = candidate.price(ask.prompt_tokens, ask.output_tokens)
        if price is not None and price > limits.max_cost:
            return "max-cost"
    track = candidate.latency.track(ask.operation, ask.stream)
    if (limits.max_ttft is None and limits.max_latency is None) or not track.level.proven:
        return None
    estimate = track.estimate(ask.output_tokens, terms.z, now)
    if limits.max_ttft is not None and ask.stream and estimate.ttft > limits.max_ttft:
        return "max-ttft"
    if limits.max_latency is not None and estimate.total > limits.max_latency:
        return "max-latency"
    return None


def keeps_limits(candidate: Candidate, ask: Ask, terms: Terms, now: float) -> bool:
    """Whether the candidate breaks none."""
    return broken_limit(candidate, ask, terms, now) is None

"""A route's objective, constraints and fallbacks, compiled once from its spec."""

from typing import NamedTuple

import msgspec

from llmroute.errors import BadRequest
from llmroute.latency import Metric, z_of
from llmroute.request import Wishes
from llmroute.spec import LLMRouteSpec, Objective, Target


class Mix(NamedTuple):
    """Weights of latency, cost and quality, which sum to 1, and the word for the best by them."""

    latency: float
    cost: float
    quality: float
    word: str = "balanced"


PRIORITIES: dict[str, Mix] = {
    "speed": Mix(1.0, 0.0, 0.0, "fastest"),
    "balanced": Mix(0.4, 0.3, 0.3),
    "cost": Mix(0.05, 0.95, 0.0, "cheapest"),  # the little weight of latency decides between equals
    "quality": Mix(0.05, 0.0, 0.95, "best"),
}
METRICS = frozenset({"auto", "ttft", "total", "throughput"})


class Limits(NamedTuple):
    """What may be relaxed when no target keeps it. Seconds, tier, dollars; None where there is no limit."""

    max_ttft: float | None = None
    max_latency: float | None = None
    min_quality: int | None = None
    max_cost: float | None = None


NO_LIMITS = Limits()


class Terms(msgspec.Struct, frozen=True):
    """What "best" means for one request: the route's own terms, or those changed by the request's wishes."""

    mix: Mix
    metric: str
    z: float
    percentile: int
    limits: Limits | None
    relax: bool

    def metric_of(self, stream: bool) -> Metric:
        """What this request's targets are compared by."""
        metric = self.metric
        if metric == "auto":
            return "ttft" if stream else "total"
        return metric  # type: ignore[return-value]  # checked against METRICS when the terms were made


class Policy:
    """One route's way of choosing; immutable."""

    __slots__ = ("fallbacks", "regions", "require", "restricts_load", "restricts_window", "tenants", "terms")

    def __init__(self, spec: LLMRouteSpec) -> None:
        constraints = spec.constraints
        limits = Limits(
            max_ttft=constraints.max_ttft,
            max_latency=constraints.max_latency,
            min_quality=constraints.min_quality_tier,
            max_cost=None if constraints.max_cost_per_request is None else float(constraints.max_cost_per_request),
        )
        self.terms = Terms(
            mix=_mix(spec.objective, spec.targets),
            metric=spec.objective.latency,
            z=z_of(spec.objective.percentile),
            percentile=spec.objective.percentile,
            limits=None if limits == NO_LIMITS else limits,
            relax=constraints.on_constraint == "relax",
        )
        self.fallbacks = spec.fallback_targets
        self.regions = None if constraints.regions is None else frozenset(constraints.regions)
        self.require = tuple((constraints.require or {}).items())
        self.tenants = frozenset(tenant for target in spec.targets for tenant in target.tenants or ())
        """Those that any target is reserved for; all other tenants are the same to this route."""
        self.restricts_load = any(target.max_concurrency is not None for target in spec.targets)
        self.restricts_window = any(target.context_window is not None for target in spec.targets)

    def terms_for(self, wishes: Wishes) -> Terms:
        """The route's terms, changed by the request's headers. Raises BadRequest for a word that we do not know."""
        terms = self.terms
        if not _concerns_terms(wishes):
            return terms
        mix, metric = terms.mix, terms.metric
        if wishes.priority is not None:
            mix = PRIORITIES.get(wishes.priority, mix)
            if wishes.priority not in PRIORITIES:
                raise BadRequest(f"priority must be one of {', '.join(PRIORITIES)}", param="x-llmroute-priority")
        if wishes.objective is not None:
            metric = wishes.objective
            if metric not in METRICS:
                raise BadRequest(f"objective must be one of {', '.join(sorted(METRICS))}", param="x-llmroute-objective")
        declared = terms.limits or NO_LIMITS
        limits = Limits(
            max_ttft=_least(declared.max_ttft, wishes.max_ttft),
            max_latency=_least(declared.max_latency, wishes.max_latency),
            min_quality=max(declared.min_quality or 1, wishes.min_quality or 1),
            max_cost=declared.max_cost,
        )
        return Terms(
            mix=mix,
            metric=metric,
            z=terms.z,
            percentile=terms.percentile,
            limits=None if limits == Limits(min_quality=1) else limits,
            relax=terms.relax,
        )


def _concerns_terms(wishes: Wishes) -> bool:
    return (
        wishes.priority is not None
        or wishes.objective is not None
        or wishes.max_ttft is not None
        or wishes.max_latency is not None
        or wishes.min_quality is not None
    )


def _mix(objective: Objective, targets: tuple[Target, ...]) -> Mix:
    weights = objective.weights
    if weights is not None:
        total = weights.latency + weights.cost + weights.quality
        if total > 0.0:
            shares = (weights.latency / total, weights.cost / total, weights.quality / total)
            words = {name: word for name, word in zip(shares, ("fastest", "cheapest", "best"), strict=True)}
            return Mix(*shares, word=words.get(1.0, "balanced"))
    if objective.priority is not None:
        return PRIORITIES[objective.priority]
    tiers = {target.quality_tier for target in targets}
    declared = len(tiers) > 1 or any(target.cost is not None for target in targets)
    return PRIORITIES["balanced" if declared else "speed"]


def _least(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)

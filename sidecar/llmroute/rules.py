"""Rules about a declared LLMRoute that no type can say: each once: in CEL for the API server, in Python for the rest.

Belongs here: what must hold within one LLMRoute. A rule among several routes, or of the world outside, does not.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from llmroute.declared import Declared
from llmroute.spec import Duration, LLMRouteSpec, Objective, Target, Weights
from llmroute.workloads import Autoscaling, LabelExpression

Path = tuple[str | int, ...]
"""Fields as they are written (`fallbackTargets`), and indexes."""


class Rule(Struct, frozen=True):
    """What must hold of every value of type `on`.

    `cel` sees the value as `self`, in a schema where absent and null are not the same: a field that may be null is
    asked for with `has(self.x) && self.x != null`, which `given` spells. `broken` is its twin: where, seen from the
    value, the rule is broken; nothing if it holds. `field` is where the API server's error points.
    """

    on: type
    message: str
    cel: str
    broken: Callable[[Any], Iterable[Path]]
    field: str | None = None


def given(name: str) -> str:
    """CEL: the nullable field is there."""
    return f"(has(self.{name}) && dyn(self.{name}) != null)"


NEEDS_URL = ("azure-openai", "openai-compatible")
WITH_VALUES = ("In", "NotIn")


def _without_url(target: Target) -> Iterator[Path]:
    if target.url is None and target.service is None and target.provider in NEEDS_URL:
        yield ("url",)


def _two_places(target: Target) -> Iterator[Path]:
    if target.url is not None and target.service is not None:
        yield ("service",)


def _endpoints_twice(target: Target) -> Iterator[Path]:
    if target.service is not None and target.endpoints != "virtual":
        yield ("endpoints",)


def _values_or_none(expression: LabelExpression) -> Iterator[Path]:
    if (expression.operator in WITH_VALUES) != bool(expression.values):
        yield ("values",)


def _least_above_most(autoscaling: Autoscaling) -> Iterator[Path]:
    if autoscaling.min_replicas > autoscaling.max_replicas:
        yield ("minReplicas",)


def _unknown_fallbacks(spec: LLMRouteSpec) -> Iterator[Path]:
    names = {target.name for target in spec.targets}
    for index, name in enumerate(spec.fallback_targets):
        if name not in names:
            yield "fallbackTargets", index


def _repeated_fallbacks(spec: LLMRouteSpec) -> Iterator[Path]:
    seen = Counter[str]()
    for index, name in enumerate(spec.fallback_targets):
        if seen[name]:
            yield "fallbackTargets", index
        seen[name] += 1


def _only_fallbacks(spec: LLMRouteSpec) -> Iterator[Path]:
    if all(target.name in spec.fallback_targets for target in spec.targets):
        yield ("fallbackTargets",)


def _unknown_passthrough(spec: LLMRouteSpec) -> Iterator[Path]:
    if spec.passthrough is not None and all(target.name != spec.passthrough for target in spec.targets):
        yield ("passthrough",)


def _two_objectives(objective: Objective) -> Iterator[Path]:
    if objective.priority is not None and objective.weights is not None:
        yield ("weights",)


def _no_weight(weights: Weights) -> Iterator[Path]:
    if weights.latency + weights.cost + weights.quality == 0:
        yield ()


def _no_time(duration: Duration) -> Iterator[Path]:
    if duration <= 0:
        yield ()


RULES: tuple[Rule, ...] = (
    Rule(
        Target,
        "url or service is required for azure-openai and openai-compatible",
        f"!(self.provider in {list(NEEDS_URL)}) || {given('url')} || {given('service')}",
        _without_url,
        "url",
    ),
    Rule(
        Target,
        "give either a url or a service, not both",
        f"!({given('url')} && {given('service')})",
        _two_places,
        "service",
    ),
    Rule(
        Target,
        "with a service, endpoints is a field of it: service.endpoints",
        f"!{given('service')} || !has(self.endpoints) || self.endpoints == 'virtual'",
        _endpoints_twice,
        "endpoints",
    ),
    Rule(
        LabelExpression,
        "In and NotIn need values, Exists and DoesNotExist take none",
        f"(self.operator in {list(WITH_VALUES)}) == (has(self.values) && size(self.values) > 0)",
        _values_or_none,
        "values",
    ),
    Rule(
        Autoscaling,
        "minReplicas must not be above maxReplicas",
        "!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
        _least_above_most,
        "minReplicas",
    ),
    Rule(
        LLMRouteSpec,
        "fallbackTargets must name existing targets",
        "!has(self.fallbackTargets) || self.fallbackTargets.all(f, self.targets.exists(t, t.name == f))",
        _unknown_fallbacks,
        "fallbackTargets",
    ),
    Rule(
        LLMRouteSpec,
        "fallbackTargets must name each target only once",
        "!has(self.fallbackTargets) || self.fallbackTargets.all(f, self.fallbackTargets.exists_one(other, other == f))",
        _repeated_fallbacks,
        "fallbackTargets",
    ),
    Rule(
        LLMRouteSpec,
        "at least one target must not be a fallback",
        "!has(self.fallbackTargets) || self.targets.exists(t, !(t.name in self.fallbackTargets))",
        _only_fallbacks,
        "fallbackTargets",
    ),
    Rule(
        LLMRouteSpec,
        "passthrough must name an existing target",
        f"!{given('passthrough')} || self.targets.exists(t, t.name == self.passthrough)",
        _unknown_passthrough,
        "passthrough",
    ),
    Rule(
        Objective,
        "give either a priority or weights, not both",
        f"!(has(self.priority) && {given('weights')})",
        _two_objectives,
        "weights",
    ),
    Rule(
        Weights,
        "at least one weight must be above 0",
        " || ".join(f"(has(self.{name}) && self.{name} > 0.0)" for name in ("latency", "cost", "quality")),
        _no_weight,
    ),
    Rule(Duration, "a duration must be longer than nothing", "duration(self) > duration('0s')", _no_time),
)


@cache
def _of(kind: type) -> tuple[tuple[Rule, ...], tuple[tuple[str, str], ...]]:
    """The rules of a type, and its fields, each with its written name. Asking msgspec takes 100 µs."""
    fields = msgspec.structs.fields(kind) if issubclass(kind, Declared) else ()
    rules = tuple(rule for rule in RULES if issubclass(kind, rule.on))
    return rules, tuple((field.name, field.encode_name) for field in fields)


def broken_rules(value: object, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """All places below `value` where a rule is broken, each with the rule's message."""
    rules, fields = _of(type(value))  # type: ignore[arg-type]  # mypy doubts that types can be hashed
    for rule in rules:
        for place in rule.broken(value):
            yield (*path, *place), rule.message
    if fields:
        for name, written in fields:
            yield from broken_rules(getattr(value, name), (*path, written))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from broken_rules(item, (*path, index))

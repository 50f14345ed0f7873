"""Each rule says the same in CEL, which the API server runs, and in Python, which everybody else runs."""

from collections.abc import Iterator
from typing import Any

import celpy
import msgspec
import pytest
from celpy.adapter import json_to_cel
from celpy.celtypes import BoolType
from celpy.evaluation import base_functions
from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute.rules import RULES, Rule, broken_rules
from llmroute.shapes import shape_of
from llmroute.spec import LLMRouteSpec, decode_written


def unequal(one: Any, other: Any) -> Any:
    """`!=` with null, which cel-python has for some types only."""
    if one is None or other is None:
        return BoolType((one is None) != (other is None))
    return base_functions["_!=_"](one, other)


ENVIRONMENT = celpy.Environment()
PROGRAMS = {rule.cel: ENVIRONMENT.program(ENVIRONMENT.compile(rule.cel), {"_!=_": unequal}) for rule in RULES}


def holds_in_cel(rule: Rule, value: object) -> bool:
    return bool(PROGRAMS[rule.cel].evaluate({"self": json_to_cel(value)}))  # type: ignore[arg-type]


def placed(value: Any, decoded: object, kind: msgspec.inspect.Type) -> Iterator[tuple[type, Any, object]]:
    """Every value that is there and may have rules: its type, as JSON, decoded. CEL runs for no other."""
    inner = shape_of(kind).type
    if value is None:
        return
    if isinstance(inner, msgspec.inspect.CustomType):
        yield inner.cls, value, decoded
    elif isinstance(inner, msgspec.inspect.VarTupleType):
        for item, item_decoded in zip(value, decoded, strict=True):  # type: ignore[call-overload]
            yield from placed(item, item_decoded, inner.item_type)
    elif isinstance(inner, msgspec.inspect.StructType):
        yield inner.cls, value, decoded
        for field in inner.fields:
            if field.encode_name in value:
                yield from placed(value[field.encode_name], getattr(decoded, field.name), field.type)


def disagreements(spec: dict[str, Any]) -> list[tuple[str, object]]:
    decoded = msgspec.convert(spec, LLMRouteSpec, dec_hook=decode_written)
    return [
        (rule.message, value)
        for kind, value, twin in placed(spec, decoded, msgspec.inspect.type_info(LLMRouteSpec))
        for rule in RULES
        if rule.on is kind and holds_in_cel(rule, value) == any(True for _ in rule.broken(twin))
    ]


def broken(spec: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    assert disagreements(spec) == []
    return list(broken_rules(msgspec.convert(spec, LLMRouteSpec, dec_hook=decode_written)))


A = {"name": "a", "provider": "openai", "model": "m"}
B = {"name": "b", "provider": "anthropic", "model": "m"}
SERVICE = {"name": "vllm", "port": 8000}
SCALED = {"targetRef": {"name": "shop"}, "maxReplicas": 3}
URL = "url or service is required for azure-openai and openai-compatible"
BOTH = "give either a url or a service, not both"
ELSEWHERE = "with a service, endpoints is a field of it: service.endpoints"
VALUES = "In and NotIn need values, Exists and DoesNotExist take none"
REPLICAS = "minReplicas must not be above maxReplicas"
NO_TIME = "a duration must be longer than nothing"
EXISTING = "fallbackTargets must name existing targets"
ONCE = "fallbackTargets must name each target only once"
NORMAL = "at least one target must not be a fallback"


def selecting(expression: dict[str, Any]) -> dict[str, Any]:
    return {"workloads": {"matchExpressions": [expression]}}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, []),
        ({"targets": [A | {"provider": "azure-openai"}]}, [(("targets", 0, "url"), URL)]),
        ({"targets": [A, B | {"provider": "openai-compatible", "url": None}]}, [(("targets", 1, "url"), URL)]),
        ({"targets": [A | {"provider": "azure-openai", "url": "https://h"}]}, []),
        ({"targets": [A | {"provider": "openai-compatible", "service": SERVICE}]}, []),
        ({"targets": [A | {"service": SERVICE | {"endpoints": "each"}}]}, []),
        ({"targets": [A | {"service": SERVICE, "url": None, "endpoints": "virtual"}]}, []),
        ({"targets": [A | {"url": "https://h", "service": SERVICE}]}, [(("targets", 0, "service"), BOTH)]),
        ({"targets": [A | {"service": SERVICE, "endpoints": "each"}]}, [(("targets", 0, "endpoints"), ELSEWHERE)]),
        ({"targets": [A | {"url": "https://h", "service": None, "endpoints": "each"}]}, []),
        (selecting({"key": "tier", "operator": "In", "values": ["gold"]}), []),
        (selecting({"key": "tier", "operator": "DoesNotExist", "values": []}), []),
        (selecting({"key": "tier", "operator": "NotIn"}), [(("workloads", "matchExpressions", 0, "values"), VALUES)]),
        (
            selecting({"key": "tier", "operator": "Exists", "values": ["gold"]}),
            [(("workloads", "matchExpressions", 0, "values"), VALUES)],
        ),
        ({"autoscaling": SCALED}, []),
        ({"autoscaling": SCALED | {"minReplicas": 3}}, []),
        ({"autoscaling": SCALED | {"minReplicas": 4}}, [(("autoscaling", "minReplicas"), REPLICAS)]),
        ({"fallbackTargets": []}, []),
        ({"fallbackTargets": ["b"]}, []),
        ({"fallbackTargets": ["b", "c"]}, [(("fallbackTargets", 1), EXISTING)]),
        ({"fallbackTargets": ["b", "b"]}, [(("fallbackTargets", 1), ONCE)]),
        ({"fallbackTargets": ["b", "a"]}, [(("fallbackTargets",), NORMAL)]),
        ({"passthrough": "b"}, []),
        ({"passthrough": None}, []),
        ({"passthrough": "c"}, [(("passthrough",), "passthrough must name an existing target")]),
        ({"objective": {"priority": "cost"}}, []),
        ({"objective": {"weights": {"cost": 0.5}}}, []),
        ({"objective": {"priority": "cost", "weights": None}}, []),
        (
            {"objective": {"priority": "cost", "weights": {"cost": 1.0}}},
            [(("objective", "weights"), "give either a priority or weights, not both")],
        ),
        ({"objective": {"weights": {}}}, [(("objective", "weights"), "at least one weight must be above 0")]),
        (
            {"objective": {"weights": {"latency": 0.0, "cost": 0.0, "quality": 0.0}}},
            [(("objective", "weights"), "at least one weight must be above 0")],
        ),
        ({"cache": {"ttl": "0s"}}, [(("cache", "ttl"), NO_TIME)]),
        ({"targets": [A | {"prior": {"ttft": "0h0m0.000s"}}]}, [(("targets", 0, "prior", "ttft"), NO_TIME)]),
        ({"constraints": {"maxTTFT": "0ms", "maxLatency": None}}, [(("constraints", "maxTTFT"), NO_TIME)]),
        ({"failover": {"timeouts": {"connect": "0.001ms"}}}, []),
    ],
)
def test_what_breaks_a_rule_and_where(more: dict[str, Any], expected: list[object]) -> None:
    assert broken({"targets": [A, B]} | more) == expected


def test_every_rule_is_broken_by_some_case_above() -> None:
    cases = test_what_breaks_a_rule_and_where.pytestmark[0].args[1]
    assert {message for _, expected in cases for _, message in expected} == {rule.message for rule in RULES}


NAMES = st.sampled_from("abcd")
DURATIONS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["h", "m", "s", "ms", ".0s", ".001ms"])), min_size=1, max_size=3
).map(lambda parts: "".join(f"{number}{unit}" for number, unit in parts))
WEIGHTS = st.sampled_from([0.0, 0.25, 1.0])


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


TARGETS = st.fixed_dictionaries(
    {
        "name": NAMES,
        "provider": st.sampled_from(["openai", "azure-openai", "openai-compatible"]),
        "model": st.just("m"),
    },
    optional={
        "url": st.sampled_from([None, "https://h/v1"]),
        "service": st.sampled_from([None, SERVICE, SERVICE | {"endpoints": "each"}]),
        "endpoints": st.sampled_from(["virtual", "each"]),
        "prior": optional(ttft=st.none() | DURATIONS),
    },
)
EXPRESSIONS = st.fixed_dictionaries(
    {"key": NAMES, "operator": st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"])},
    optional={"values": st.lists(NAMES, max_size=2)},
)
SPECS = st.fixed_dictionaries(
    {"targets": st.lists(TARGETS, min_size=1, max_size=4)},
    optional={
        "fallbackTargets": st.lists(NAMES, max_size=4),
        "passthrough": st.none() | NAMES,
        "objective": optional(
            priority=st.sampled_from(["speed", "cost"]),
            weights=st.none() | optional(latency=WEIGHTS, cost=WEIGHTS, quality=WEIGHTS),
        ),
        "constraints": optional(maxTTFT=DURATIONS, maxLatency=st.none() | DURATIONS),
        "failover": optional(timeouts=optional(connect=DURATIONS, total=DURATIONS)),
        "cache": st.none() | optional(ttl=DURATIONS),
        "workloads": optional(
            matchLabels=st.none() | st.just({"app": "shop"}), matchExpressions=st.lists(EXPRESSIONS, max_size=3)
        ),
        "autoscaling": st.none()
        | st.fixed_dictionaries(
            {"targetRef": st.just({"name": "shop"}), "maxReplicas": st.integers(1, 3)},
            optional={
                "minReplicas": st.integers(1, 3),
                "ttft": st.none() | st.fixed_dictionaries({"threshold": DURATIONS}),
            },
        ),
    },
)


@settings(deadline=None)
@given(SPECS)
def test_cel_and_its_twin_agree(spec: dict[str, Any]) -> None:
    assert disagreements(spec) == []

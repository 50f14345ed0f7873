"""The reader of files, the types and the API server's schema say the same."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.schema import validator

from llmroute.errors import ConfigErrors
from llmroute.load import load_texts
from llmroute.rules import broken_rules
from llmroute.spec import LLMRoute, decode_written

WHOLE: dict[str, Any] = {
    "apiVersion": "llmroute.dev/v1alpha1",
    "kind": "LLMRoute",
    "metadata": {"name": "chat", "namespace": "shop", "uid": "u", "generation": 1},
    "spec": {
        "models": ["chat", "gpt-4o"],
        "targets": [
            {
                "name": "a", "provider": "azure-openai", "model": "m", "url": "https://h:1/v1", "region": "eu",
                "credential": {"secretRef": {"name": "k", "key": "K"}}, "capabilities": ["tools"], "qualityTier": 2,
                "contextWindow": 5, "cost": {"inputPerMillion": "1.5", "outputPerMillion": "2"}, "maxConcurrency": 3,
                "maxOutputTokens": 7, "reasoning": True, "warmConnections": 0, "tenants": ["gold"],
                "prior": {"ttft": "1s", "tokensPerSecond": 8.5}, "labels": {"x": "y"},
            },
            {"name": "b", "provider": "openai", "model": "m"},
            {
                "name": "c", "provider": "openai-compatible", "model": "m", "service":
                {"name": "vllm", "port": 8000, "scheme": "http", "path": "/v1", "endpoints": "each"},
            },
            {"name": "d", "provider": "openai", "model": "m", "service": {"name": "v", "port": "http"}},
            {"name": "e", "provider": "openai", "model": "m", "url": "http://h", "endpoints": "each"},
        ],
        "workloads": {
            "matchLabels": {"app": "shop"},
            "matchExpressions": [{"key": "a/b", "operator": "In", "values": ["x", ""]}],
        },
        "objective": {"weights": {"latency": 0.5, "cost": 0, "quality": 1}, "latency": "ttft", "percentile": 95},
        "constraints": {
            "maxTTFT": "2s", "maxLatency": "30s", "minQualityTier": 1, "maxCostPerRequest": "0.05", "regions": ["eu"],
            "require": {"x": "y"}, "onConstraint": "reject",
        },
        "fallbackTargets": ["b"],
        "passthrough": "a",
        "failover": {"maxAttempts": 2, "timeouts": {"connect": "1s", "firstToken": "1s", "total": "1s"}},
        "cache": {"ttl": "1m", "maxBytes": "1Mi", "isolateBy": ["tenant"]},
        "autoscaling": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}, "minReplicas": 2,
            "maxReplicas": 20, "inFlightPerPod": 8, "ttft": {"threshold": "1500ms"},
        },
    },
}  # fmt: skip


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(child, (*path, key))


VALIDATOR = validator()
PLACES = [
    path
    for path in places(WHOLE["spec"], ("spec",))
    if (len(path) > 2 or path[-1] in ("passthrough", "fallbackTargets"))
    and path[-1] not in ("labels", "require", "matchLabels")
]
"""Below the objects that `repeats` looks into. A schema cannot say what the names in a map are; the types can."""
TEXTS = [
    "",
    "a",
    "b",
    "z",
    "A b",
    "1",
    "1.5",
    "2s",
    "0s",
    "1Mi",
    "https://h",
    "tools",
    "speed",
    "openai",
    "x" * 300,
    "x" * 15,
    "x" * 16,
    "80",
    "/v2",
    "apps/v2",
    "In",
    "each",
    "a\n",
]
VALUES: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.sampled_from([-1, 0, 1, 2, 50, 100, 65535, 65536, 10**6, 10**12, 0.5, 1.5, 1e-9])
    | st.sampled_from(TEXTS) | st.just([]) | st.just({}) | st.lists(st.sampled_from(TEXTS), max_size=3)
    | st.dictionaries(st.sampled_from(TEXTS), st.sampled_from(TEXTS), max_size=2)
)  # fmt: skip


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    whole = copy.deepcopy(WHOLE)
    parent: Any = whole
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = value
    return whole


def repeats(document: dict[str, Any]) -> bool:
    """Whether a value or a name is there twice in a list: the API server's list types, which JSON Schema lacks."""
    spec = document["spec"]
    lists = [spec["models"], spec["constraints"]["regions"], spec["cache"] and spec["cache"]["isolateBy"]]
    for target in spec["targets"]:
        lists += [target.get("capabilities"), target.get("tenants")]
    lists.append([target["name"] for target in spec["targets"]])
    return any(found and len(set(found)) < len(found) for found in lists)


def taken_by_the_api_server(document: dict[str, Any]) -> bool:
    if "\\n" in json.dumps(document) or not VALIDATOR.is_valid(document) or repeats(document):
        return False
    route = msgspec.convert(document, LLMRoute, dec_hook=decode_written)
    return not any(broken_rules(route.spec))


def taken_by_the_reader(document: dict[str, Any]) -> bool:
    try:
        (route,) = load_texts({"r.yaml": json.dumps(document)}).routes
    except ConfigErrors as refused:
        assert all(error.where.startswith("r.yaml:1") for error in refused.errors)
        return False
    assert route == msgspec.convert(document, LLMRoute, dec_hook=decode_written)
    return True


def test_the_whole_is_taken() -> None:
    assert taken_by_the_reader(WHOLE)
    assert taken_by_the_api_server(WHOLE)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(PLACES), VALUES)
def test_one_changed_value(path: tuple[str | int, ...], value: object) -> None:
    document = changed(path, value)
    assert taken_by_the_reader(document) == taken_by_the_api_server(document)

"""Which pods a selector means: as Kubernetes' own selectors do."""

from typing import Any

import msgspec
import pytest

from llmroute.load import load_texts
from llmroute.spec import decode_written
from llmroute.workloads import LabelSelector

LABELS = {"app": "shop", "tier": "gold", "empty": ""}


def selects(selector: dict[str, Any]) -> bool:
    return msgspec.convert(selector, LabelSelector, dec_hook=decode_written).selects(LABELS)


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"matchLabels": {}},
        {"matchLabels": None, "matchExpressions": []},
        {"matchLabels": {"app": "shop", "tier": "gold"}},
        {"matchLabels": {"empty": ""}},
        expression("tier", "In", "silver", "gold"),
        expression("tier", "NotIn", "silver"),
        expression("missing", "NotIn", "silver"),
        expression("empty", "Exists"),
        expression("missing", "DoesNotExist"),
        {"matchLabels": {"app": "shop"}} | expression("tier", "Exists"),
    ],
)
def test_it_means_this_pod(selector: dict[str, Any]) -> None:
    assert selects(selector)


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"app": "shop", "tier": "silver"}},
        {"matchLabels": {"missing": ""}},
        expression("tier", "In", "silver"),
        expression("missing", "In", "silver"),
        expression("tier", "NotIn", "silver", "gold"),
        expression("missing", "Exists"),
        expression("empty", "DoesNotExist"),
        {"matchLabels": {"app": "shop"}} | expression("tier", "In", "silver"),
    ],
)
def test_it_does_not_mean_this_pod(selector: dict[str, Any]) -> None:
    assert not selects(selector)


def test_files_may_carry_one() -> None:
    text = """\
apiVersion: llmroute.dev/v1alpha1
kind: LLMRoute
metadata: {name: chat}
spec:
  workloads: {matchLabels: {example.com/app: shop}}
  targets: [{name: a, provider: openai, model: m}]
"""
    (route,) = load_texts({"r.yaml": text}).routes
    assert route.spec.workloads.selects({"example.com/app": "shop"})
    assert not route.spec.workloads.selects({})

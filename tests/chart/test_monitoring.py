"""Alerts and dashboard ask for metrics that exist, by labels that they have."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.chart.charts import CHART, EVERYTHING, Helm, the

from llmroute.telemetry.exposition import Exposition
from llmroute.telemetry.meter import OUTCOMES, Meter
from llmroute_operator import injector, metrics

ALERTS = [
    rule for group in yaml.safe_load((CHART / "files/rules.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((CHART / "files/dashboard.json").read_text())
NAME = re.compile(r"\b(?:llmroute|gen_ai)_[a-z0-9_]+")


def exported() -> set[str]:
    """Names of all samples that sidecar, operator and injector can give."""
    found: set[str] = set()
    registries = (metrics.Metrics()._registry, injector.Metrics().registry)
    for family in (
        *Exposition(Meter(), "1", lambda: 0.0).collect(),
        *(family for registry in registries for family in registry.collect()),
    ):
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        found |= {family.name + suffix for suffix in suffixes}
    return found


def queries(node: Any) -> Iterator[str]:
    """Every query of the dashboard."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "definition") and isinstance(value, str):
                yield value
            yield from queries(value)
    elif isinstance(node, list):
        for one in node:
            yield from queries(one)


def asked(query: str) -> set[str]:
    """The metrics of a query, without the labels that begin like one."""
    return {name for name in NAME.findall(query) if name not in ("gen_ai_token_type",)}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_asks_for_metrics_that_exist(alert: dict[str, Any]) -> None:
    assert asked(alert["expr"]) and asked(alert["expr"]) <= exported()
    assert {"summary", "description"} == alert["annotations"].keys()
    for words in re.findall(r'outcome=~"([^"]+)"', alert["expr"]):
        if "llmroute_requests_total" in alert["expr"]:
            assert set(words.split("|")) <= OUTCOMES


def test_every_alert_is_explained_for_who_is_woken_by_it() -> None:
    page = (CHART.parents[1] / "docs/operating.md").read_text()

    assert [alert["alert"] for alert in ALERTS if f"`{alert['alert']}`" not in page] == []


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    found = list(queries(DASHBOARD))

    assert len(found) > 20
    for query in found:
        assert asked(query) <= exported(), query


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_the_chart_carries_both_unchanged(helm: Helm) -> None:
    manifests = helm.manifests(EVERYTHING)

    rules = the(manifests, "PrometheusRule", "llmroute")["spec"]["groups"]
    assert [rule for group in rules for rule in group["rules"]] == ALERTS
    assert json.loads(the(manifests, "ConfigMap", "llmroute-dashboard")["data"]["llmroute.json"]) == DASHBOARD


def test_sidecars_are_scraped_by_their_port_with_the_workload_that_they_belong_to(helm: Helm) -> None:
    monitor = the(helm.manifests(EVERYTHING), "PodMonitor", "llmroute-sidecars")["spec"]

    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] == "llmroute-admin"
    assert endpoint["relabelings"] == [
        {"sourceLabels": ["__meta_kubernetes_pod_annotation_llmroute_dev_workload"], "targetLabel": "workload"}
    ]

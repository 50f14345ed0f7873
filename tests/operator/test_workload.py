"""The workload that metrics name a pod by."""

from typing import Any

import pytest

from llmroute_operator.workload import workload_of


def owned(kind: str, name: str, labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "name": "pod",
        "labels": labels,
        "ownerReferences": [{"kind": kind, "name": name, "controller": True}],
        **more,
    }


@pytest.mark.parametrize(
    ("metadata", "workload"),
    [
        (owned("ReplicaSet", "shop-5d9c7b", {"pod-template-hash": "5d9c7b"}), "Deployment/shop"),
        (owned("ReplicaSet", "shop-5d9c7b", {"rollouts-pod-template-hash": "5d9c7b"}), "Rollout/shop"),
        (owned("ReplicaSet", "shop"), "ReplicaSet/shop"),
        (owned("ReplicaSet", "shop-5d9c7b", {"pod-template-hash": "other"}), "ReplicaSet/shop-5d9c7b"),
        (owned("StatefulSet", "db"), "StatefulSet/db"),
        (owned("DaemonSet", "agent"), "DaemonSet/agent"),
        (owned("Job", "import"), "Job/import"),
        (owned("Job", "import-20261121"), "Job/import-20261121"),
        (owned("Job", "report-29654321"), "CronJob/report"),
        (owned("Job", "report-29654321-retry"), "Job/report-29654321-retry"),
        (owned("Workflow", "train"), "Workflow/train"),
        ({"name": "debug"}, "Pod/debug"),
        ({"generateName": "batch-"}, "Pod/batch"),
        ({"ownerReferences": [], "name": "x"}, "Pod/x"),
        ({"ownerReferences": [{"kind": "A", "name": "a"}, {"kind": "B", "name": "b", "controller": True}]}, "B/b"),
        ({"ownerReferences": [{"kind": "A", "name": "a"}]}, "A/a"),
        ({}, ""),
    ],
)
def test_workload_of(metadata: dict[str, Any], workload: str) -> None:
    assert workload_of(metadata) == workload

"""The workload that a pod belongs to, as far as the pod itself tells. Pure.

A pod names only its direct owner. The step to the owner's owner is taken where the owner's name gives it away, because
a metric's label should outlive a rollout (ReplicaSets) and a schedule (Jobs of a CronJob).
"""

import re
from collections.abc import Mapping
from typing import Any

_HASH_LABELS = {"pod-template-hash": "Deployment", "rollouts-pod-template-hash": "Rollout"}
"""Label whose value ends the name of a ReplicaSet → kind of who made the ReplicaSet."""

_SCHEDULED_JOB = re.compile(r"(.+)-([0-9]{8})")
_MINUTES = range(28_000_000, 60_000_000)
"""A CronJob names its Jobs `<name>-<minutes since 1970>`: here 2023 to 2084. No date like 20261121 is among them."""


def workload_of(metadata: Mapping[str, Any]) -> str:
    """`Kind/name` by a pod's metadata: "Deployment/shop", "CronJob/report", "Pod/debug"; "" for one without a name."""
    owner = _controller(metadata.get("ownerReferences") or [])
    if owner is None:
        name = metadata.get("name") or str(metadata.get("generateName") or "").rstrip("-")
        return f"Pod/{name}" if name else ""
    kind, name = str(owner["kind"]), str(owner["name"])
    if kind == "ReplicaSet":
        return _of_replica_set(name, metadata.get("labels") or {})
    if kind == "Job" and (scheduled := _SCHEDULED_JOB.fullmatch(name)) and int(scheduled[2]) in _MINUTES:
        return f"CronJob/{scheduled[1]}"
    return f"{kind}/{name}"


def _controller(owners: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return next((owner for owner in owners if owner.get("controller")), owners[0] if owners else None)


def _of_replica_set(name: str, labels: Mapping[str, str]) -> str:
    for label, kind in _HASH_LABELS.items():
        owner = name.removesuffix(f"-{labels.get(label)}")
        if owner != name and owner:
            return f"{kind}/{owner}"
    return f"ReplicaSet/{name}"

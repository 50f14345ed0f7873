"""`spec.autoscaling` as KEDA's ScaledObjects: what should be there, what should go, and what to say of it. Pure."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from llmroute.spec import LLMRoute
from llmroute.workloads import Autoscaling
from llmroute_operator import names
from llmroute_operator.demand import Where, any_of, query
from llmroute_operator.measures import printable
from llmroute_operator.verdicts import Aspect, Serves, Verdict

Object = Mapping[str, Any]

KEDA = "keda.sh/v1alpha1"
SCALED_OBJECT = "ScaledObject"
POLL = 15
"""Seconds between two queries: as often as an HPA looks."""
FAILURES = 3
"""Queries that may fail in a row before the fallback."""
LONGEST_NAME = 63
"""Of a ScaledObject: KEDA makes a label of it."""

DISABLED = Aspect(False, "Disabled", "Autoscaling is switched off in the operator's settings (autoscaling.enabled).")


class Rules(Struct, frozen=True):
    """How to scale, whatever the route: from the operator's settings."""

    prometheus: str
    """Address of the server that has the sidecars' metrics; empty: there is none."""
    enabled: bool = True
    up_after: int = 30
    """Seconds that more must have been wanted for."""
    down_after: int = 300
    """Seconds that less must have been wanted for."""


class Scalers(Struct, frozen=True):
    """The autoscalers of a namespace, everybody's. `scaled_objects` is None where KEDA is not installed."""

    hpas: Sequence[Object] = ()
    scaled_objects: Sequence[Object] | None = None


class Plan(Struct, frozen=True):
    """What to do about a namespace's ScaledObjects. `aspects`: by the uid of each route with `spec.autoscaling`."""

    write: Sequence[dict[str, Any]]
    delete: Sequence[str]
    """Names of ours that no route wants or may have any more. Those of deleted routes go by themselves (owners)."""
    aspects: Mapping[str, Aspect]


def plan(routes: Sequence[Object], verdicts: Mapping[str, Verdict], scalers: Scalers, rules: Rules) -> Plan:
    """For all routes of a namespace. Of two that want to scale one workload, the older does."""
    write: list[dict[str, Any]] = []
    kept: set[str] = set()
    aspects: dict[str, Aspect] = {}
    taken: dict[tuple[str, str], str] = {}
    ours = {one["metadata"]["name"]: one for one in scalers.scaled_objects or () if _is_ours(one)}
    for body in sorted(routes, key=lambda one: (one["metadata"].get("creationTimestamp") or "", _name(one))):
        uid = body["metadata"]["uid"]
        verdict = verdicts.get(uid)
        if verdict is None or not (body.get("spec") or {}).get("autoscaling"):
            continue
        if not rules.enabled:
            aspects[uid] = DISABLED
            continue
        scaled_object = scaled_object_name(_name(body))
        if (
            verdict.declared is None
            or verdict.serves is not Serves.DECLARED
            or verdict.declared.spec.autoscaling is None
        ):
            kept.add(scaled_object)
            aspects[uid] = Aspect(False, "NotAccepted", "What was declared before stays. See the condition Accepted.")
            continue
        autoscaling = verdict.declared.spec.autoscaling
        wanted = _scaled_object(verdict.declared, autoscaling, rules)
        workload = (autoscaling.target_ref.kind, autoscaling.target_ref.name)
        wrong = _impossible(scalers, rules) or _rival(workload, scaled_object, taken.get(workload), scalers)
        if wrong is not None:
            aspects[uid] = wrong
            continue
        taken[workload] = _name(body)
        kept.add(scaled_object)
        found = ours.get(scaled_object)
        if found is None or not _includes(found, wanted):
            write.append(wanted)
        aspects[uid] = _state(found, workload)
    return Plan(write, sorted(ours.keys() - kept), aspects)


def _name(body: Object) -> str:
    return str(body["metadata"]["name"])


def scaled_object_name(route: str) -> str:
    """`llmroute-<route>`, with the end of a long name replaced by a hash of it."""
    name = f"llmroute-{route}"
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9].rstrip('-.')}-{hashlib.sha256(route.encode()).hexdigest()[:8]}"


def _is_ours(scaled_object: Object) -> bool:
    metadata = scaled_object["metadata"]
    labelled = (metadata.get("labels") or {}).get(names.MANAGED_BY) == names.MANAGED_BY_VALUE
    return labelled and any(owner.get("kind") == names.KIND for owner in metadata.get("ownerReferences") or ())


def _impossible(scalers: Scalers, rules: Rules) -> Aspect | None:
    if scalers.scaled_objects is None:
        return Aspect(
            False,
            "NoKEDA",
            "KEDA is not installed: there is no kind ScaledObject. Install KEDA, or write a HorizontalPodAutoscaler of "
            "your own (examples/kubernetes/plain-hpa.yaml).",
        )
    if not rules.prometheus:
        return Aspect(
            False,
            "NoPrometheus",
            "The operator knows no Prometheus: set the chart's value autoscaling.prometheusAddress to the server "
            "that scrapes the sidecars.",
        )
    return None


def _rival(workload: tuple[str, str], scaled_object: str, elder: str | None, scalers: Scalers) -> Aspect | None:
    """Two autoscalers of one workload undo each other's work, so there must be no other."""
    told = "/".join(workload)
    if elder is not None:
        return Aspect(
            False, "ConflictingRoute", f"The LLMRoute {elder!r}, which was there first, scales {told} already."
        )
    for other in scalers.scaled_objects or ():
        name = other["metadata"]["name"]
        if name == scaled_object and not _is_ours(other):
            return Aspect(
                False, "ConflictingScaledObject", f"There is a ScaledObject {name!r} that is not ours; rename it."
            )
        if not _is_ours(other) and _scales(other, workload):
            return Aspect(
                False, "ConflictingScaledObject", f"The ScaledObject {name!r} scales {told} already; delete one."
            )
    for hpa in scalers.hpas:
        if _scales(hpa, workload) and not _made_by_keda(hpa):
            name = hpa["metadata"]["name"]
            return Aspect(
                False,
                "ConflictingHPA",
                f"The HorizontalPodAutoscaler {name!r} scales {told} already: delete it, or take autoscaling out of "
                "the spec.",
            )
    return None


def _scales(scaler: Object, workload: tuple[str, str]) -> bool:
    reference = (scaler.get("spec") or {}).get("scaleTargetRef") or {}
    return (reference.get("kind") or "Deployment", reference.get("name")) == workload


def _made_by_keda(hpa: Object) -> bool:
    owners = hpa["metadata"].get("ownerReferences") or ()
    return any(owner.get("kind") == SCALED_OBJECT for owner in owners)


def _scaled_object(route: LLMRoute, autoscaling: Autoscaling, rules: Rules) -> dict[str, Any]:
    metadata, reference = route.metadata, autoscaling.target_ref
    threshold = float(autoscaling.ttft.threshold) if autoscaling.ttft is not None else None
    return {
        "apiVersion": KEDA,
        "kind": SCALED_OBJECT,
        "metadata": {
            "name": scaled_object_name(metadata.name),
            "namespace": metadata.namespace,
            "labels": {names.MANAGED_BY: names.MANAGED_BY_VALUE},
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": names.KIND,
                    "name": metadata.name,
                    "uid": metadata.uid,
                    "controller": True,
                }
            ],
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": reference.api_version, "kind": reference.kind, "name": reference.name},
            "pollingInterval": POLL,
            "minReplicaCount": autoscaling.min_replicas,
            "maxReplicaCount": autoscaling.max_replicas,
            "fallback": {
                "failureThreshold": FAILURES,
                "replicas": autoscaling.min_replicas,
                "behavior": "currentReplicasIfHigher",
            },
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behaviour(rules)}},
            "triggers": [
                {
                    "type": "prometheus",
                    "metricType": "AverageValue",
                    "metadata": {
                        "serverAddress": rules.prometheus,
                        "query": query(where(route, autoscaling), threshold),
                        "threshold": str(autoscaling.in_flight_per_pod),
                        "ignoreNullValues": "false",
                    },
                }
            ],
        },
    }


def _behaviour(rules: Rules) -> dict[str, Any]:
    """Up: at most twice as many, or four more, a minute. Down: at most half as many a minute."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": rules.up_after,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 60},
                {"type": "Pods", "value": 4, "periodSeconds": 60},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": rules.down_after,
            "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
        },
    }


def where(route: LLMRoute, autoscaling: Autoscaling) -> Where:
    """Which requests count: those of the workload's own sidecars; for a workload that a target's Service is named
    after, a model server in the cluster, those that anybody's sidecars send to it."""
    reference, namespace = autoscaling.target_ref, route.metadata.namespace
    served = [one for one in route.spec.targets if one.service is not None and one.service.name == reference.name]
    if not served:
        return Where(namespace=namespace, workload=f"{reference.kind}/{reference.name}")
    each = [one.name for one in served if one.service is not None and one.service.endpoints == "each"]
    return Where(
        namespace=namespace, route=route.key, targets=any_of([one.name for one in served if one.name not in each], each)
    )


def _includes(found: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there; defaults that the server or KEDA added do not count."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            name in found and _includes(found[name], wanted[name]) for name in wanted
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(_includes(one, other) for one, other in zip(found, wanted, strict=True))
        )
    return bool(found == wanted)


def _state(found: Object | None, workload: tuple[str, str]) -> Aspect:
    """What KEDA makes of it."""
    told = "/".join(workload)
    conditions = {each.get("type"): each for each in _conditions(found)}
    ready = conditions.get("Ready", {})
    if ready.get("status") == "False":
        return Aspect(False, "KEDANotReady", printable(f"KEDA cannot scale {told}: {ready.get('message') or ''}", 500))
    if conditions.get("Fallback", {}).get("status") == "True":
        return Aspect(
            False,
            "NoMetrics",
            f"KEDA gets no value for {told} and keeps its replicas. Does Prometheus scrape the sidecars (PodMonitor), "
            "and do the series have the labels namespace and workload?",
        )
    if ready.get("status") != "True":
        return Aspect(None, "Pending", f"KEDA has not yet said that it scales {told}.")
    return Aspect(True, "Scaling", f"KEDA scales {told} by the requests in flight.")


def _conditions(found: Object | None) -> Iterator[Object]:
    yield from ((found or {}).get("status") or {}).get("conditions") or ()

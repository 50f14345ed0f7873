"""Which pods get a sidecar, and the JSON patch that gives it. Pure: a pod of an AdmissionReview in, operations out.

Idempotent, also when the API server asks again because a later webhook changed the pod: only what lacks is added. What
is the user's is never removed or replaced; a pod that has something by one of our names is left alone, with a warning.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from llmroute_operator import names
from llmroute_operator.container import VOLUMES, container, volumes
from llmroute_operator.environment import Operation, environment
from llmroute_operator.injection_settings import InjectionSettings
from llmroute_operator.tuning import Tuning, port_of, tune
from llmroute_operator.workload import workload_of

EXCLUDED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
CAPTURING = frozenset(
    {
        *("istio-init", "istio-validation", "istio-proxy"),
        *("linkerd-init", "linkerd-network-validator", "linkerd-proxy"),
        *("kuma-init", "kuma-validation", "kuma-sidecar"),
        *("consul-connect-inject-init", "consul-dataplane"),
    }
)
"""Containers of meshes that capture a pod's connections."""
NOT_APPS = CAPTURING | {"daprd"}
_MIRROR = "kubernetes.io/config.mirror"

Pod = Mapping[str, Any]


class Injected(msgspec.Struct, frozen=True):
    """What becomes of a pod. `warnings` are for whoever creates it, without secrets."""

    outcome: Literal["injected", "completed", "unchanged", "refused"]
    """completed: it had its sidecar, and a container that came later lacked the environment."""
    patch: list[Operation] = []
    warnings: list[str] = []


def inject(pod: Pod, namespace: str, settings: InjectionSettings) -> Injected:
    """The patch for a pod that a webhook selected. `namespace` is the review's: a pod need not name its own."""
    metadata, spec = pod.get("metadata") or {}, pod["spec"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if labels.get(names.INJECT) == "false" or namespace in EXCLUDED_NAMESPACES | {settings.own_namespace}:
        return Injected("unchanged")
    if is_injected(pod):
        at = next(index for index, one in enumerate(spec["initContainers"]) if one.get("name") == names.CONTAINER)
        patch, warnings = _environments(spec, at + 1, port_of(annotations))
        return Injected("completed", patch, warnings) if patch else Injected("unchanged")
    if reason := refusal(pod):
        return Injected("refused", warnings=[f"no sidecar: {reason}"])
    tuning, warnings = tune(annotations, settings.defaults)
    at = _behind_meshes(spec.get("initContainers") or [])
    patch, more = _environments(spec, at, tuning.port)
    shared = frozenset(_shared(spec.get("resources") or {}))
    if shared:
        more.append(
            f"the pod's own resources declare {' and '.join(sorted(shared))}: the sidecar takes its part of them"
        )
    patch += _sidecar(spec, at, tuning, container(tuning, settings, meshed=_is_meshed(spec), shared=shared))
    patch += _marks(pod, workload_of(metadata))
    return Injected("injected", patch, warnings + more)


def is_injected(pod: Pod) -> bool:
    """Whether the pod has our sidecar (and not a container of the user's by its name)."""
    labels = (pod.get("metadata") or {}).get("labels") or {}
    return labels.get(names.SIDECAR) == "true" and any(
        one.get("name") == names.CONTAINER and one.get("restartPolicy") == "Always"
        for one in pod["spec"].get("initContainers") or []
    )


def asks(labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> bool:
    """Whether the labels of a pod and of its namespace ask for a sidecar: the webhooks' selectors."""
    if namespace_labels.get(names.INJECTION) == names.INJECTION_ENABLED:
        return labels.get(names.INJECT) != "false"
    return labels.get(names.INJECT) == "true"


def refusal(pod: Pod) -> str | None:
    """Why a pod without sidecar cannot have one, in words for its owner; None where it can."""
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    if metadata.get("namespace") in EXCLUDED_NAMESPACES:
        return "its namespace is the cluster's own"
    if _MIRROR in annotations:
        return "a static pod is changed in its manifest on the node only"
    if spec.get("hostNetwork"):
        return "with hostNetwork its ports would be the node's"
    if _is_windows(spec):
        return "the sidecar runs on Linux only"
    return _taken(spec, {names.ADMIN_PORT, port_of(annotations)})


def _taken(spec: Mapping[str, Any], ours: set[int]) -> str | None:
    """What of ours the user's containers and volumes have already, in words."""
    for one in _containers(spec):
        if one.get("name") == names.CONTAINER:
            return f"it has a container named {names.CONTAINER} that is not ours"
        for port in one.get("ports") or []:
            if port.get("containerPort") in ours and port.get("protocol", "TCP") == "TCP":
                return (
                    f"its container {one.get('name')} listens on {port['containerPort']}, which the sidecar needs"
                    + ("" if port["containerPort"] == names.ADMIN_PORT else f": annotate {names.PORT} with another")
                )
    for volume in spec.get("volumes") or []:
        name = str(volume.get("name"))
        if name in VOLUMES or name.startswith(names.SECRET_VOLUME_PREFIX):
            return f"it has a volume named {name} that is not ours"
    return None


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from spec.get("initContainers") or []
    yield from spec.get("containers") or []


def _is_windows(spec: Mapping[str, Any]) -> bool:
    selector = spec.get("nodeSelector") or {}
    return "windows" in ((spec.get("os") or {}).get("name"), selector.get("kubernetes.io/os"))


def _is_meshed(spec: Mapping[str, Any]) -> bool:
    return any(one.get("name") in CAPTURING for one in _containers(spec))


def _behind_meshes(init_containers: list[Mapping[str, Any]]) -> int:
    """Where the sidecar goes: before the user's init containers, which may call models too; but behind what a mesh put
    there: its rules must stand before we connect, and its native proxy must run before us and, since kubelet ends
    sidecars in reverse order, end after us."""
    return max((index + 1 for index, one in enumerate(init_containers) if one.get("name") in CAPTURING), default=0)


def _shared(resources: Mapping[str, Any]) -> Iterator[str]:
    """Resources that the pod declares as a whole. Ours on top would exceed them, and the API server refuse the pod."""
    for kind in ("cpu", "memory"):
        if kind in (resources.get("requests") or {}) or kind in (resources.get("limits") or {}):
            yield kind


def _environments(spec: Mapping[str, Any], at: int, port: int) -> tuple[list[Operation], list[str]]:
    """Of the app's containers, and of the init containers that run once the sidecar does (from index `at`). Other
    native sidecars are infrastructure like ours."""
    patch: list[Operation] = []
    warnings: list[str] = []
    for field, first in (("initContainers", at), ("containers", 0)):
        for index, one in enumerate(spec.get(field) or []):
            if index < first or one.get("restartPolicy") == "Always" or one.get("name") in NOT_APPS:
                continue
            operations, more = environment(one, f"/spec/{field}/{index}", port)
            patch += operations
            warnings += more
    return patch, warnings


def _sidecar(spec: Mapping[str, Any], at: int, tuning: Tuning, sidecar: dict[str, Any]) -> list[Operation]:
    patch = _into_list("/spec/volumes", spec.get("volumes"), volumes(tuning))
    if spec.get("initContainers"):
        return [*patch, {"op": "add", "path": f"/spec/initContainers/{at}", "value": sidecar}]
    return [*patch, {"op": "add", "path": "/spec/initContainers", "value": [sidecar]}]


def _into_list(path: str, present: list[Any] | None, values: list[dict[str, Any]]) -> list[Operation]:
    if not present:
        return [{"op": "add", "path": path, "value": values}]
    return [{"op": "add", "path": f"{path}/-", "value": value} for value in values]


def _marks(pod: Pod, workload: str) -> list[Operation]:
    """The label that Services and metrics select on, and the annotation that metrics name the pod by."""
    metadata = pod.get("metadata") or {}
    patch: list[Operation] = [] if pod.get("metadata") else [{"op": "add", "path": "/metadata", "value": {}}]
    for field, name, value in (("labels", names.SIDECAR, "true"), ("annotations", names.WORKLOAD, workload)):
        present = metadata.get(field)
        if not value or (present or {}).get(name) == value:
            continue
        if present:
            patch.append({"op": "add", "path": f"/metadata/{field}/{name.replace('/', '~1')}", "value": value})
        else:
            patch.append({"op": "add", "path": f"/metadata/{field}", "value": {name: value}})
    return patch

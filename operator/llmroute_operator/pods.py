"""What the control plane remembers of a pod: a small part, since a cluster has thousands."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from llmroute_operator.inject import asks, refusal
from llmroute_operator.names import ADMIN_PORT, ADMIN_PORT_NAME, REGION, REVISION, SIDECAR


class Pod(Struct, frozen=True, gc=False):
    """A pod as far as it matters here."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    node: str
    """Empty until it is scheduled."""
    ip: str
    """Empty until it has one."""
    port: int
    """Where its sidecar's admin port is."""
    phase: str
    ready: bool
    terminating: bool
    refused: bool
    """The injector would not give it a sidecar, whatever its labels ask."""
    revision: str
    """The nudge that it got last, or empty."""
    region: str
    """The region that it was told, or empty."""

    @property
    def has_sidecar(self) -> bool:
        """The injector gave it one."""
        return self.labels.get(SIDECAR) == "true"

    @property
    def serves(self) -> bool:
        """Its sidecar counts: the pod runs, is ready, and is not about to end."""
        return self.has_sidecar and self.phase == "Running" and self.ready and not self.terminating

    def misses_sidecar(self, namespace_labels: Mapping[str, str]) -> bool:
        """It asked for a sidecar, by its own label or its namespace's, could have one, and was created without: when no
        injector answered, or before the label was there. Only creating it anew gives it one."""
        lives = self.phase not in ("Succeeded", "Failed") and not self.terminating
        return lives and asks(self.labels, namespace_labels) and not (self.has_sidecar or self.refused)


def pod_of(body: Mapping[str, Any]) -> Pod:
    """What to remember of a pod as the API server gives it."""
    metadata, spec, status = body.get("metadata") or {}, body.get("spec") or {}, body.get("status") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    conditions = status.get("conditions") or ()
    return Pod(
        namespace=metadata.get("namespace") or "",
        name=metadata.get("name") or "",
        uid=metadata.get("uid") or "",
        labels=labels,
        node=spec.get("nodeName") or "",
        ip=status.get("podIP") or "",
        port=_admin_port(spec),
        phase=status.get("phase") or "",
        ready=any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions),
        terminating=metadata.get("deletionTimestamp") is not None,
        refused=labels.get(SIDECAR) != "true" and refusal(body) is not None,
        revision=annotations.get(REVISION) or "",
        region=annotations.get(REGION) or "",
    )


def _admin_port(spec: Mapping[str, Any]) -> int:
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for port in container.get("ports") or ():
            if port.get("name") == ADMIN_PORT_NAME:
                return int(port["containerPort"])
    return ADMIN_PORT

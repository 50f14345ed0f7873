"""What a namespace looks like now: read from the API server, as little as decisions need.

What changes with every event is read anew each time (`read`); what only a minute changes is read once a minute
(`surroundings`). Secrets of users are never read; of Secrets, only the fleet key that is our own.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from llmroute_operator import names
from llmroute_operator.cluster import Cluster, Object
from llmroute_operator.errors import Forbidden, NotFound
from llmroute_operator.pods import Pod, pod_of


class Snapshot(Struct, frozen=True):
    """The objects of one namespace."""

    namespace: str
    routes: Sequence[Object]
    config: Object | None
    """The ConfigMap that sidecars read."""
    services: Mapping[str, Object]
    """By name."""
    pods: Sequence[Pod]
    """Those with a sidecar."""
    at: float
    """When it was read, on the monotonic clock."""

    @property
    def concerns_us(self) -> bool:
        """Whether there is or ever was anything of ours here."""
        return bool(self.routes or self.pods or self.config)

    def __repr__(self) -> str:
        return f"<Snapshot {self.namespace}: {len(self.routes)} routes, {len(self.pods)} pods>"


class Surroundings(Struct, frozen=True):
    """What is read once a minute."""

    labels: Mapping[str, str]
    """The namespace's own."""
    terminating: bool
    """The namespace is being deleted: nothing can be created in it."""
    without_sidecar: Sequence[Pod]
    """Pods that asked for a sidecar and have none."""
    at: float


async def read(cluster: Cluster, namespace: str, now: float) -> Snapshot:
    """Read a namespace's objects."""
    routes, config, services, pods = await asyncio.gather(
        cluster.objects("llmroutes", namespace),
        cluster.read("configmaps", namespace, names.CONFIG),
        cluster.objects("services", namespace),
        cluster.objects("pods", namespace, labelSelector=f"{names.SIDECAR}=true"),
    )
    alive = [one for one in routes if not one["metadata"].get("deletionTimestamp")]
    for one in (*alive, *services, *((config,) if config else ())):
        one["metadata"].pop("managedFields", None)  # As large as the rest, and nothing to us.
    by_name = {one["metadata"]["name"]: one for one in services}
    return Snapshot(namespace, alive, config, by_name, [pod_of(one) for one in pods], now)


async def surroundings(cluster: Cluster, namespace: str, now: float) -> Surroundings:
    """Read what is around a namespace's routes."""
    found = await _namespace(cluster, namespace)
    labels = found.get("labels") or {}
    # A namespace's label asks for all of its pods; without it, only pods with a label of their own are asked for.
    every = labels.get(names.INJECTION) == names.INJECTION_ENABLED
    selector = f"{names.SIDECAR}!=true" if every else f"{names.SIDECAR}!=true,{names.INJECT}=true"
    others = await cluster.objects("pods", namespace, labelSelector=selector)
    missing = [pod for pod in map(pod_of, others) if pod.misses_sidecar(labels)]
    return Surroundings(labels, bool(found.get("deletionTimestamp")), missing, now)


async def _namespace(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """Metadata of a namespace; empty if we may not read it."""
    try:
        found = await cluster.read("namespaces", None, namespace)
    except Forbidden:
        return {}
    metadata: dict[str, Any] = (found or {"metadata": {"deletionTimestamp": "gone"}})["metadata"]
    return metadata


class Regions:
    """Regions of nodes; a node's never changes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[str, str] = {}
        self._reading = asyncio.Lock()
        """Namespaces that are looked at together have their nodes in common."""

    async def of(self, pods: Sequence[Pod]) -> Mapping[str, str]:
        """Node → region, or "" where it has none or nodes may not be read."""
        nodes = {pod.node for pod in pods if pod.node}
        async with self._reading:
            for node in sorted(nodes - self._known.keys()):
                self._known[node] = await self._read(node)
        return self._known

    async def _read(self, node: str) -> str:
        try:
            found = await self._cluster.read("nodes", None, node)
        except (Forbidden, NotFound):
            return ""
        return str(((found or {}).get("metadata", {}).get("labels") or {}).get(names.NODE_REGION) or "")

"""What the watches have told so far: which events mean work, and what a list shows that no watch told. Pure.

Kept small: of each object a digest of what matters. Events that repeat it are echoes of our own writes, or of changes
that are nothing to us.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import msgspec

from llmroute_operator import names

Object = Mapping[str, Any]
Key = tuple[str, str, str]
"""Kind, namespace, name."""

DELETED = "DELETED"


def _route(body: Object) -> Hashable:
    metadata = body["metadata"]
    return metadata.get("uid"), metadata.get("generation")


def _config(body: Object) -> Hashable:
    labels = body["metadata"].get("labels") or {}
    return (
        labels.get(names.MANAGED_BY),
        tuple((body.get("data") or {}).items()),
        tuple((body.get("binaryData") or {}).items()),
    )


def _pod(body: Object) -> Hashable:
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    return (
        metadata.get("uid"),
        tuple(sorted((metadata.get("labels") or {}).items())),
        metadata.get("deletionTimestamp") is not None,
        spec.get("nodeName"),
        status.get("phase"),
        status.get("podIP"),
        any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or ()),
    )


def _service(body: Object) -> Hashable:
    labels = body["metadata"].get("labels") or {}
    return tuple(sorted(labels.items())), str(body.get("spec"))


def _namespace(body: Object) -> Hashable:
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    return metadata.get("deletionTimestamp") is not None, labels.get(names.INJECTION)


DIGESTS: Mapping[str, Callable[[Object], Hashable]] = {
    "llmroutes": _route,
    "configmaps": _config,
    "pods": _pod,
    "services": _service,
    "namespaces": _namespace,
}
"""Kind → what of an object matters."""


class Seen:
    """The digests."""

    def __init__(self) -> None:
        self._digests: dict[Key, int] = {}
        self._missed: dict[Key, float] = {}

    def event(self, kind: str, type_: str | None, body: Object) -> str | None:
        """An event of a watch. The namespace to look at, if it says something new."""
        metadata = body["metadata"]
        namespace = metadata["name"] if kind == "namespaces" else metadata["namespace"]
        key = (kind, namespace, metadata["name"])
        digest = hash(DIGESTS[kind](body))
        self._missed.pop(key, None)
        if type_ == DELETED:
            self._digests.pop(key, None)
            return str(namespace)
        if self._digests.get(key) == digest:
            return None
        self._digests[key] = digest
        return str(namespace)

    def wrote(self, kind: str, body: Object) -> None:
        """We wrote this ourselves: the event that tells of it says nothing new."""
        metadata = body["metadata"]
        self._digests[(kind, metadata["namespace"], metadata["name"])] = hash(DIGESTS[kind](body))

    def listed(self, routes: Iterable[Object], now: float) -> set[str]:
        """A list of all routes (metadata is enough). Namespaces where it shows what no watch has told: the event is on
        its way, or the watch is dead; `deaf` tells for how long."""
        there = {("llmroutes", one["metadata"]["namespace"], one["metadata"]["name"]): one for one in routes}
        gone = {key for key in self._digests if key[0] == "llmroutes"} - there.keys()
        for key in gone:  # A watch that had to begin anew never tells of what was deleted meanwhile.
            del self._digests[key]
        astray = {key for key, body in there.items() if self._digests.get(key) != hash(_route(body))}
        self._missed = {key: self._missed.get(key, now) for key in astray}
        return {key[1] for key in astray | gone}

    def deaf(self, now: float) -> float:
        """Seconds since the oldest change that a list showed and that no watch has told of."""
        return max((now - since for since in self._missed.values()), default=0.0)


class Listing(msgspec.Struct, frozen=True):
    """What to watch, and of it what."""

    kind: str
    group: str
    version: str
    labels: str = ""
    fields: str = ""


def watched(*, clusterwide: bool) -> tuple[Listing, ...]:
    """All watches. ConfigMaps by name, so that the right to read them can be limited to that name."""
    every = (
        Listing("llmroutes", names.GROUP, names.VERSION),
        Listing("configmaps", "", "v1", fields=f"metadata.name={names.CONFIG}"),
        Listing("pods", "", "v1", labels=f"{names.SIDECAR}=true"),
        Listing("services", "", "v1", labels=f"{names.MANAGED_BY}={names.MANAGED_BY_VALUE}"),
    )
    return (*every, Listing("namespaces", "", "v1")) if clusterwide else every

"""What the operator makes in users' namespaces besides the configuration. Pure; randomness is an argument."""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from llmroute_operator import names
from llmroute_operator.status import Event

Object = Mapping[str, Any]

LABELS = {names.MANAGED_BY: names.MANAGED_BY_VALUE}
KEY_BYTES = 32


def sidecars_service(namespace: str) -> dict[str, Any]:
    """The headless Service whose DNS name gives the addresses of all sidecars, ready or not."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": names.SIDECARS_SERVICE, "namespace": namespace, "labels": LABELS},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.SIDECAR: "true"},
            "ports": [{"name": names.ADMIN_PORT_NAME, "port": names.ADMIN_PORT, "targetPort": names.ADMIN_PORT}],
        },
    }


def service_repaired(found: Object) -> dict[str, Any] | None:
    """The Service as it should be, if it is not; its address and what the server added stay."""
    wanted = sidecars_service(found["metadata"]["namespace"])
    spec, metadata = found["spec"], found["metadata"]
    ports = [{key: port.get(key) for key in ("name", "port", "targetPort")} for port in spec.get("ports") or ()]
    right = (
        ports == wanted["spec"]["ports"]
        and spec.get("selector") == wanted["spec"]["selector"]
        and spec.get("publishNotReadyAddresses") is True
        and (metadata.get("labels") or {}).get(names.MANAGED_BY) == names.MANAGED_BY_VALUE
    )
    if right:
        return None
    labels = {**(metadata.get("labels") or {}), **LABELS}
    return {**found, "metadata": {**metadata, "labels": labels}, "spec": {**spec, **wanted["spec"]}}


def fleet_secret(namespace: str, random: bytes, found: Object | None) -> dict[str, Any]:
    """The Secret that holds a namespace's fleet key. `random`: KEY_BYTES of them."""
    key = base64.urlsafe_b64encode(random).rstrip(b"=")
    metadata: Object = found["metadata"] if found else {"name": names.FLEET_SECRET, "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": (found or {}).get("type", "Opaque"),
        "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **LABELS}},
        "data": {names.FLEET_KEY: base64.b64encode(key).decode()},
    }


def fleet_key(found: Object | None) -> str:
    """The key in a fleet Secret; empty if there is none that is fit for a header."""
    packed = ((found or {}).get("data") or {}).get(names.FLEET_KEY) or ""
    key = base64.b64decode(packed).decode("ascii", "replace").strip()
    return key if len(key) >= 16 and key.isascii() and key.isprintable() and " " not in key else ""


def event(route: Object, told: Event, suffix: str, now: datetime) -> dict[str, Any]:
    """An event about a route, as `kubectl describe` shows it. `suffix` makes its name its own."""
    metadata = route["metadata"]
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name'][:200]}.{suffix}",
            "namespace": metadata["namespace"],
            "labels": LABELS,
        },
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            **{key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")},
        },
        "type": told.type,
        "reason": told.reason,
        "message": told.message[:1024],
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
        "source": {"component": names.FIELD_MANAGER},
    }

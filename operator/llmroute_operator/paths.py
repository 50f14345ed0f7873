"""Where each kind of object lives in the API server's tree of paths. Pure."""

from collections.abc import Mapping
from urllib.parse import quote

from llmroute_operator import names

GROUPS: Mapping[str, str] = {
    "configmaps": "/api/v1",
    "events": "/api/v1",
    "namespaces": "/api/v1",
    "nodes": "/api/v1",
    "pods": "/api/v1",
    "secrets": "/api/v1",
    "services": "/api/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
    "leases": "/apis/coordination.k8s.io/v1",
    "llmroutes": f"/apis/{names.API_VERSION}",
    "mutatingwebhookconfigurations": "/apis/admissionregistration.k8s.io/v1",
    "scaledobjects": "/apis/keda.sh/v1alpha1",
}
"""Plural name → group and version."""


def collection(kind: str, namespace: str | None) -> str:
    """All objects of a kind in a namespace; None: in the whole cluster, or the kind has no namespaces."""
    inside = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{GROUPS[kind]}{inside}/{kind}"


def member(kind: str, namespace: str | None, name: str, subresource: str = "") -> str:
    """One object, or a subresource of it (`status`)."""
    return f"{collection(kind, namespace)}/{quote(name, safe='')}" + (f"/{subresource}" if subresource else "")


def resource_of(path: str) -> str:
    """The plural name in a path, for metrics; "other" for what is not in GROUPS."""
    return next((part for part in reversed(path.split("/")) if part in GROUPS), "other")

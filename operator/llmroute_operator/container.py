"""The injected container and its volumes, as Kubernetes writes them. Pure."""

from collections.abc import Mapping
from typing import Any

from llmroute_operator import names
from llmroute_operator.injection_settings import InjectionSettings
from llmroute_operator.tuning import Tuning

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
NO_TOKEN_VOLUME = "llmroute-no-token"
VOLUMES = frozenset({names.CONFIG_VOLUME, names.STATE_VOLUME, names.FLEET_VOLUME, NO_TOKEN_VOLUME})
"""Our volumes, besides those that begin with names.SECRET_VOLUME_PREFIX."""

_ASK = f"""\
import socket, sys
try:
    with socket.create_connection(("127.0.0.1", {names.ADMIN_PORT}), 2) as peer:
        peer.sendall(f"GET {{sys.argv[1]}} HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n".encode())
        said = peer.recv(100).decode("latin-1").partition("\\r")[0]
except OSError as error:
    said = str(error)
sys.exit(0 if said.startswith("HTTP/1.1 200 ") else said or "no answer")
"""
"""A probe's program: asks the admin port for the path that is its argument."""


def container(
    tuning: Tuning, settings: InjectionSettings, *, meshed: bool, shared: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The native sidecar. `meshed`: another proxy captures what comes into the pod. `shared`: resources that the pod
    declares as a whole, so that its containers take their part of them."""
    address, admin = f"127.0.0.1:{tuning.port}", f":{names.ADMIN_PORT}"
    return {
        "name": names.CONTAINER,
        "image": tuning.image,
        "imagePullPolicy": settings.pull_policy,
        "restartPolicy": "Always",
        "command": ["llmroute"],
        "args": ["serve", "--pod", names.MOUNT, "--listen", address, "--admin", admin, "--log-level", tuning.log_level],
        "env": [
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in (
                ("POD_NAME", "metadata.name"),
                ("POD_NAMESPACE", "metadata.namespace"),
                ("POD_IP", "status.podIP"),
            )
        ],
        "ports": [{"name": names.ADMIN_PORT_NAME, "containerPort": names.ADMIN_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/readyz", meshed, period=1, failures=60),
        "readinessProbe": _probe("/readyz", meshed, period=5, failures=3),
        # Slow to judge: a restart breaks every stream that runs through here.
        "livenessProbe": _probe("/livez", meshed, period=10, failures=6),
        "resources": _resources(tuning, shared),
        "securityContext": _security(settings.user),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(tuning),
    }


def volumes(tuning: Tuning) -> list[dict[str, Any]]:
    """All that the sidecar mounts. What may be absent is optional: a pod may start before its routes and keys exist."""
    memory = {"medium": "Memory", "sizeLimit": "16Mi"}
    config = {"name": names.CONFIG, "optional": True, "items": [{"key": names.CONFIG_KEY, "path": names.CONFIG_KEY}]}
    pod = [{"path": part, "fieldRef": {"fieldPath": f"metadata.{part}"}} for part in ("labels", "annotations")]
    fleet = {
        "secretName": names.FLEET_SECRET,
        "optional": True,
        "items": [{"key": names.FLEET_KEY, "path": names.FLEET_KEY}],
    }
    return [
        {
            "name": names.CONFIG_VOLUME,
            "projected": {"sources": [{"configMap": config}, {"downwardAPI": {"items": pod}}]},
        },
        {"name": names.STATE_VOLUME, "emptyDir": memory},
        {"name": names.FLEET_VOLUME, "secret": fleet},
        {"name": NO_TOKEN_VOLUME, "emptyDir": memory},
        *(
            {"name": f"{names.SECRET_VOLUME_PREFIX}{number}", "secret": {"secretName": secret, "optional": True}}
            for number, secret in enumerate(tuning.secrets)
        ),
    ]


def _mounts(tuning: Tuning) -> list[dict[str, Any]]:
    read_only = {
        names.CONFIG_VOLUME: f"{names.MOUNT}/config",
        names.FLEET_VOLUME: f"{names.MOUNT}/fleet",
        # The API server gives the ServiceAccount's token to each container, after us too, that mounts nothing here.
        NO_TOKEN_VOLUME: TOKEN_PATH,
    } | {
        f"{names.SECRET_VOLUME_PREFIX}{number}": f"{names.MOUNT}/secrets/{secret}"
        for number, secret in enumerate(tuning.secrets)
    }
    return [
        {"name": names.STATE_VOLUME, "mountPath": f"{names.MOUNT}/state"},
        *({"name": volume, "mountPath": path, "readOnly": True} for volume, path in read_only.items()),
    ]


def _probe(path: str, meshed: bool, *, period: int, failures: int) -> dict[str, Any]:
    """By HTTP from kubelet; where a mesh captures inbound connections, from inside: its proxy starts after us and would
    never let the startup probe through, and later may ask kubelet for a client certificate."""
    ask: Mapping[str, Any] = (
        {"exec": {"command": ["python", "-I", "-S", "-c", _ASK, path]}}
        if meshed
        else {"httpGet": {"path": path, "port": names.ADMIN_PORT}}
    )
    return {**ask, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures}


def _resources(tuning: Tuning, shared: frozenset[str]) -> dict[str, dict[str, str]]:
    """Always set: without a request in every container the user's own autoscaler by CPU stands still."""
    own = {kind: resource for kind, resource in (("cpu", tuning.cpu), ("memory", tuning.memory)) if kind not in shared}
    return {
        "requests": {kind: resource.request for kind, resource in own.items()},
        "limits": {kind: resource.limit for kind, resource in own.items()},
    }


def _security(user: int | None) -> dict[str, Any]:
    """Pod Security's `restricted`, whatever the pod's own security context says."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        **({} if user is None else {"runAsUser": user, "runAsGroup": user}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }

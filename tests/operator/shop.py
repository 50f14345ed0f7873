"""A namespace `shop` as the operator's pure parts see it: routes, Services and pods as the API server writes them, and
reports as sidecars write them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from llmroute_operator.pods import Pod, pod_of
from llmroute_operator.reports import Contact, Report, decode
from llmroute_operator.status import Scene, StatusChange, statuses
from llmroute_operator.verdicts import Aspect, Verdict, verdicts

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
REVISION = "0123456789ab"


def target(name: str = "east", **members: Any) -> dict[str, Any]:
    return {"name": name, "provider": "openai", "model": "gpt-4o", **members}


def route(name: str = "chat", *, generation: int = 1, age: float = 60, **spec: Any) -> dict[str, Any]:
    """An LLMRoute that was made `age` minutes before noon; its uid is made of its name."""
    made = (NOON - timedelta(minutes=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "llmroute.dev/v1alpha1",
        "kind": "LLMRoute",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-of-{name}",
            "generation": generation,
            "creationTimestamp": made,
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {"targets": [target()], **spec},
    }


def service(name: str = "vllm", *, headless: bool = False, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 8000, "targetPort": 8000}]
    address = "None" if headless else "10.96.0.7"
    return {"metadata": {"name": name}, "spec": {"clusterIP": address, "ports": ports, **spec}}


def pod(name: str = "shop-1", **changes: Any) -> Pod:
    """An app's pod with a sidecar, running and ready."""
    whole = pod_of(
        {
            "metadata": {
                "name": name,
                "namespace": "shop",
                "uid": f"uid-of-{name}",
                "labels": {"app": "shop", "llmroute.dev/sidecar": "true"},
            },
            "spec": {"nodeName": "node-1"},
            "status": {"phase": "Running", "podIP": "10.1.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
        }
    )
    return msgspec.structs.replace(whole, **changes)


def without_sidecar(name: str = "shop-9", **labels: str) -> Pod:
    return pod(name, labels={"app": "shop", **labels})


def latency(p95: float, *, count: int = 100) -> dict[str, Any]:
    return {"ttft": {"count": count, "mean": p95 / 2, "p50": p95 / 2, "p95": p95, "p99": p95 * 1.5}}


def seen(name: str = "east", state: str = "healthy", **members: Any) -> dict[str, Any]:
    """A target in a report."""
    return {"name": name, "state": state, "reason": "", "credential": "available", "attempts": 10, **members}


def runs(name: str = "chat", generation: int = 1, targets: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """A route in a report."""
    reported = [seen()] if targets is None else list(targets)
    return {"name": name, "uid": f"uid-of-{name}", "generation": generation, "targets": reported}


def report(*routes: Mapping[str, Any], revision: str = REVISION, **members: Any) -> Report:
    """As it comes from the wire."""
    return decode(msgspec.json.encode({"revision": revision, "routes": routes or [runs()], **members}))


def heard(*routes: Mapping[str, Any], age: float = 1.0, **members: Any) -> Contact:
    return Contact(report(*routes, **members), None, age)


class Shop:
    """The namespace over time: writes what the operator decides, as the API server would keep it."""

    def __init__(self, *routes: dict[str, Any]) -> None:
        self.routes = list(routes) or [route()]
        self.services: dict[str, Any] = {}
        self.pods: list[Pod] = []
        self.contacts: dict[str, Contact] = {}
        self.labels: dict[str, str] = {}
        self.before: dict[str, Any] = {}
        self.autoscaling: dict[str, Aspect] = {}
        self.blocked: dict[str, Aspect] = {}
        self.now = NOON

    def judged(self) -> dict[str, Verdict]:
        found = verdicts(self.routes, self.before, self.services)
        return {uid: msgspec.structs.replace(verdict, blocked=self.blocked.get(uid)) for uid, verdict in found.items()}

    def look(self, seconds: float = 1.0) -> list[StatusChange]:
        """A while later, the operator looks again; what it decides is written."""
        self.now += timedelta(seconds=seconds)
        scene = Scene(self.pods, self.contacts, self.labels, self.autoscaling)
        changes = statuses(self.now, self.routes, self.judged(), scene)
        for change in changes:
            (body,) = [one for one in self.routes if one["metadata"]["name"] == change.name]
            body["status"] = merged(body.get("status") or {}, msgspec.json.decode(msgspec.json.encode(change.status)))
        return changes

    def edit(self, name: str = "chat", **spec: Any) -> None:
        """A user changes the spec."""
        (body,) = [one for one in self.routes if one["metadata"]["name"] == name]
        body["spec"] = {**body["spec"], **spec}
        body["metadata"]["generation"] += 1

    def status(self, name: str = "chat") -> dict[str, Any]:
        (body,) = [one for one in self.routes if one["metadata"]["name"] == name]
        written: dict[str, Any] = body["status"]
        return written

    def condition(self, kind: str, name: str = "chat") -> str:
        """`False Pending`."""
        (found,) = [each for each in self.status(name)["conditions"] if each["type"] == kind]
        return f"{found['status']} {found['reason']}"

    def message(self, kind: str, name: str = "chat") -> str:
        (found,) = [each for each in self.status(name)["conditions"] if each["type"] == kind]
        return str(found["message"])

    def since(self, kind: str, name: str = "chat") -> str:
        (found,) = [each for each in self.status(name)["conditions"] if each["type"] == kind]
        return str(found["lastTransitionTime"])


def served(*names: str) -> Shop:
    """A shop with pods whose sidecars all run the route."""
    shop = Shop()
    shop.pods = [pod(name) for name in names or ("shop-1",)]
    shop.contacts = {one.name: heard() for one in shop.pods}
    shop.look()
    return shop


def merged(old: Any, patch: Any) -> Any:
    """A merge patch (RFC 7386), which is how a status is written."""
    if not isinstance(patch, dict) or not isinstance(old, dict):
        return patch
    result = {name: value for name, value in old.items() if not (name in patch and patch[name] is None)}
    for name, value in patch.items():
        if value is not None:
            result[name] = merged(result.get(name), value)
    return result


def events(changes: Sequence[StatusChange]) -> list[str]:
    return [f"{event.type} {event.reason}" for change in changes for event in change.events]

"""Pods as users write them, what an injector makes of them, and the patch applied by a library that is not ours."""

import copy
from typing import Any

import jsonpatch

from llmroute_operator.inject import Injected, inject
from llmroute_operator.injection_settings import InjectionSettings
from llmroute_operator.tuning import Tuning

SETTINGS = InjectionSettings(defaults=Tuning(image="llmroute/sidecar:1"), own_namespace="llmroute")


def pod(
    *containers: dict[str, Any],
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    metadata: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A pod of these containers (one plain app without any)."""
    marks = {key: value for key, value in (("labels", labels), ("annotations", annotations)) if value is not None}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "shop", "namespace": "team", **marks, **(metadata or {})},
        "spec": {"containers": list(containers) or [app()], **spec},
    }


def app(name: str = "app", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "shop:1", **fields}


def review(given: dict[str, Any], namespace: str = "team") -> Injected:
    """What the injector says of a pod."""
    return inject(given, namespace, SETTINGS)


def patched(given: dict[str, Any], injected: Injected | None = None) -> dict[str, Any]:
    """The pod after its patch. The pod that was given stays as it was."""
    before = copy.deepcopy(given)
    after: dict[str, Any] = jsonpatch.apply_patch(given, (injected or review(given)).patch)
    assert given == before
    return after


def sidecar(of: dict[str, Any]) -> dict[str, Any]:
    """The injected container."""
    (found,) = [one for one in of["spec"]["initContainers"] if one["name"] == "llmroute-sidecar"]
    assert isinstance(found, dict)
    return found


def environment(of: dict[str, Any], name: str = "app") -> dict[str, Any]:
    """Name → value of a container's environment; what comes from elsewhere as its source."""
    spec = of["spec"]
    (found,) = [one for one in [*spec.get("initContainers", []), *spec["containers"]] if one["name"] == name]
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in found.get("env", [])}


OURS = {
    "OPENAI_BASE_URL": "http://127.0.0.1:4000/v1",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:4000",
    "LLMROUTE_URL": "http://127.0.0.1:4000",
}
KEYS = {"OPENAI_API_KEY": "provided-by-llmroute", "ANTHROPIC_API_KEY": "provided-by-llmroute"}

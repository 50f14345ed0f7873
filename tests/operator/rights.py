"""The rights that the operator has, as the chart gives them: what is not here, it must not need."""

from typing import Any

from llmroute_operator import names
from llmroute_operator.cluster import Call, Cluster

GROUP = "rbac.authorization.k8s.io"


def rule(group: str, resource: str, verbs: str, *resource_names: str) -> dict[str, Any]:
    limited = {"resourceNames": list(resource_names)} if resource_names else {}
    return {"apiGroups": [group], "resources": [resource], "verbs": verbs.split(), **limited}


SERVED = [
    rule(names.GROUP, "llmroutes", "list watch"),
    rule(names.GROUP, "llmroutes/status", "patch"),
    rule("", "configmaps", "create"),
    rule("", "configmaps", "get list watch update", names.CONFIG),
    rule("", "pods", "list watch"),
    rule("", "pods", "patch"),
    rule("", "services", "list watch create"),
    rule("", "services", "update", names.SIDECARS_SERVICE),
    rule("", "secrets", "create"),
    rule("", "secrets", "get update", names.FLEET_SECRET),
    rule("", "events", "create"),
    rule("", "namespaces", "get"),
    rule("autoscaling", "horizontalpodautoscalers", "list"),
    rule("keda.sh", "scaledobjects", "list create patch delete"),
]
"""In each served namespace."""
WHOLE_CLUSTER = [rule("", "namespaces", "get list watch"), rule("", "nodes", "get")]
OWN = [
    rule("coordination.k8s.io", "leases", "create"),
    rule("coordination.k8s.io", "leases", "get update", names.LEASE),
]
"""In the operator's own namespace."""


async def grant(
    cluster: Cluster, user: str, rules: list[dict[str, Any]], namespace: str | None = None, name: str = "operator"
) -> None:
    """Give a user rights, in one namespace or in all."""
    kind = "Role" if namespace else "ClusterRole"
    where = f"/apis/{GROUP}/v1" + (f"/namespaces/{namespace}" if namespace else "")
    metadata = {"name": f"{user}-{name}"}
    reference = {"apiGroup": GROUP, "kind": kind, "name": metadata["name"]}
    subjects = [{"apiGroup": GROUP, "kind": "User", "name": user}]
    role = {"metadata": metadata, "rules": rules}
    binding = {"metadata": metadata, "roleRef": reference, "subjects": subjects}
    await cluster.call(Call(verb="POST", path=f"{where}/{kind.lower()}s", body=role))
    await cluster.call(Call(verb="POST", path=f"{where}/{kind.lower()}bindings", body=binding))

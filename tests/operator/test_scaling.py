"""ScaledObjects of a namespace of a real API server, which knows the kind as KEDA's installation makes it known."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.operator.apiserver import ApiServer
from tests.operator.rights import SERVED, grant
from tests.operator.shop import route

from llmroute_operator.autoscaling import Rules
from llmroute_operator.cluster import Call, Cluster
from llmroute_operator.errors import NotFound
from llmroute_operator.scaling import Scaled, scale
from llmroute_operator.verdicts import verdicts

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
KEDA = {
    "metadata": {"name": "scaledobjects.keda.sh"},
    "spec": {
        "group": "keda.sh",
        "scope": "Namespaced",
        "names": {"kind": "ScaledObject", "plural": "scaledobjects"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
"""What matters of it here: that the kind is there."""
ON = Rules(prometheus="http://prometheus.monitoring.svc:9090", up_after=3, down_after=4)
OFF = Rules(prometheus=ON.prometheus, enabled=False)


async def listed(cluster: Cluster, namespace: str) -> list[str] | None:
    try:
        return [one["metadata"]["name"] for one in await cluster.objects("scaledobjects", namespace)]
    except NotFound:
        return None


@pytest.fixture
async def keda(cluster: Cluster, namespace: str) -> AsyncIterator[None]:
    """The kind is there for the length of a test."""
    await cluster.call(Call(verb="POST", path=CRDS, body=KEDA))
    async with asyncio.timeout(30):
        while await listed(cluster, namespace) is None:  # noqa: ASYNC110 -- nothing tells when
            await asyncio.sleep(0.05)
    yield
    await cluster.call(Call(verb="DELETE", path=f"{CRDS}/scaledobjects.keda.sh"))
    async with asyncio.timeout(30):
        while await listed(cluster, namespace) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def scaling(namespace: str) -> dict[str, Any]:
    """A route that wants its Deployment to scale."""
    wanted = route(autoscaling={"targetRef": {"name": "shop"}, "maxReplicas": 9})
    wanted["metadata"]["namespace"] = namespace
    return wanted


async def scaled(cluster: Cluster, namespace: str, rules: Rules) -> Scaled:
    routes = [scaling(namespace)]
    return await scale(cluster, namespace, routes, verdicts(routes, {}, {}), rules)


@pytest.mark.usefixtures("keda")
async def test_switching_off_takes_back_what_was_there_and_nobody_elses(cluster: Cluster, namespace: str) -> None:
    theirs = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "theirs"}}
    await cluster.create("scaledobjects", namespace, {**theirs, "spec": {"scaleTargetRef": {"name": "bank"}}})
    assert (await scaled(cluster, namespace, ON)).ours
    assert await listed(cluster, namespace) == ["llmroute-chat", "theirs"]

    off = await scaled(cluster, namespace, OFF)
    assert await listed(cluster, namespace) == ["theirs"]
    assert [aspect.reason for aspect in off.aspects.values()] == ["Disabled"]
    assert not (await scaled(cluster, namespace, OFF)).ours


@pytest.mark.usefixtures("keda")
async def test_switched_off_without_rights_there_is_nothing_to_take_back(
    api_server: ApiServer, cluster: Cluster, namespace: str
) -> None:
    rules = [one for one in SERVED if one["resources"] != ["scaledobjects"]]
    await grant(cluster, f"nobody-{namespace}", rules, namespace)
    async with Cluster(str(api_server.kubeconfig(f"nobody-{namespace}"))) as limited:
        off = await scaled(limited, namespace, OFF)
    assert [aspect.reason for aspect in off.aspects.values()] == ["Disabled"]


@pytest.mark.usefixtures("keda")
@pytest.mark.parametrize(("ready", "settling"), [("Unknown", True), ("False", True), ("True", False)])
async def test_keda_is_asked_again_soon_until_it_is_content(
    cluster: Cluster, namespace: str, ready: str, settling: bool
) -> None:
    assert (await scaled(cluster, namespace, ON)).settling
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    await cluster.patch("scaledobjects", namespace, "llmroute-chat", {"status": status})
    assert (await scaled(cluster, namespace, ON)).settling == settling


@pytest.mark.usefixtures("keda")
async def test_waits_are_the_settings(cluster: Cluster, namespace: str) -> None:
    await scaled(cluster, namespace, ON)
    (kept,) = await cluster.objects("scaledobjects", namespace)
    behaviour = kept["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert [behaviour[way]["stabilizationWindowSeconds"] for way in ("scaleUp", "scaleDown")] == [3, 4]

    changed = Rules(prometheus=ON.prometheus, up_after=5, down_after=6)
    await scaled(cluster, namespace, changed)
    (kept,) = await cluster.objects("scaledobjects", namespace)
    behaviour = kept["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert [behaviour[way]["stabilizationWindowSeconds"] for way in ("scaleUp", "scaleDown")] == [5, 6]

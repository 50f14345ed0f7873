"""One look at a namespace of a real API server. Pods are only declared here: no kubelet runs them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.operator.apiserver import ApiServer
from tests.operator.faulty import road

from llmroute_operator import names
from llmroute_operator.cluster import Cluster, Object
from llmroute_operator.errors import ClusterError
from llmroute_operator.metrics import Metrics
from llmroute_operator.nudge import Nudge
from llmroute_operator.reconcile import Reconciler
from llmroute_operator.render import entries_of
from llmroute_operator.seen import Seen
from llmroute_operator.settings import Settings
from llmroute_operator.sidecars import Sidecars

TARGET = {"name": "a", "provider": "openai", "model": "gpt-4o"}


def reconciler(cluster: Cluster, **settings: Any) -> Reconciler:
    return Reconciler(cluster, Settings(**settings), Metrics(), Seen(), Sidecars(lambda _: None))


@pytest.fixture
def operator(cluster: Cluster) -> Reconciler:
    return reconciler(cluster)


class Shop:
    """A namespace and what users do in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.name = namespace

    async def route(self, name: str = "chat", **spec: Any) -> Object:
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}}
        return await self.cluster.create("llmroutes", self.name, {**body, "spec": {"targets": [TARGET], **spec}})

    async def pod(self, name: str = "app", **labels: str) -> Object:
        body = {"metadata": {"name": name, "labels": {names.SIDECAR: "true", **labels}}}
        spec = {"containers": [{"name": "app", "image": "app"}], "nodeName": "node-of-the-east"}
        await self.cluster.create("pods", self.name, {**body, "spec": spec})
        status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
        return await self.cluster.patch("pods", self.name, name, {"status": status}, subresource="status")

    async def config(self) -> dict[str, Any] | None:
        found = await self.cluster.read("configmaps", self.name, names.CONFIG)
        return json.loads(found["data"][names.CONFIG_KEY]) if found else None

    async def served(self) -> list[str]:
        file = await self.config()
        return [route["metadata"]["name"] for route in file["routes"]] if file else []

    async def condition(self, kind: str, name: str = "chat") -> tuple[str, str]:
        found = await self.cluster.read("llmroutes", self.name, name)
        assert found is not None
        (condition,) = [one for one in found["status"]["conditions"] if one["type"] == kind]
        return condition["status"], condition["reason"]

    async def events(self) -> list[str]:
        return [one["reason"] for one in await self.cluster.objects("events", self.name)]


@pytest.fixture
async def shop(cluster: Cluster, namespace: str) -> AsyncIterator[Shop]:
    yield Shop(cluster, namespace)


async def test_a_route_becomes_a_configuration_a_key_a_service_and_a_status(shop: Shop, operator: Reconciler) -> None:
    await shop.route(models=["gpt-4o"])
    assert await operator.look(shop.name, fresh=True) is not None
    assert await shop.served() == ["chat"]
    assert await shop.condition("Accepted") == ("True", "Accepted")
    assert await shop.condition("Programmed") == ("False", "NoSidecars")
    assert await shop.events() == ["Accepted"]
    secret = await shop.cluster.read("secrets", shop.name, names.FLEET_SECRET)
    service = await shop.cluster.read("services", shop.name, names.SIDECARS_SERVICE)
    assert secret is not None and service is not None
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    for one in (secret, service):
        assert one["metadata"]["labels"][names.MANAGED_BY] == "llmroute"


async def test_a_second_look_writes_nothing(api_server: ApiServer, shop: Shop, tmp_path: Path) -> None:
    await shop.route()
    async with road(api_server, tmp_path) as way, Cluster(str(way.kubeconfig)) as far:
        operator = reconciler(far)
        await operator.look(shop.name, fresh=True)
        way.seen.clear()
        await operator.look(shop.name, fresh=True)
        assert all(seen.startswith("GET ") for seen in way.seen) and len(way.seen) <= 6
        way.seen.clear()
        await operator.look(shop.name, fresh=False)
        assert way.seen == [], "nothing changed: nothing is read"
        await reconciler(far).look(shop.name, fresh=True)
        assert all(seen.startswith("GET ") for seen in way.seen), "nor does a new leader write what is right"


async def test_a_namespace_without_anything_of_ours_is_left_alone(shop: Shop, operator: Reconciler) -> None:
    assert await operator.look(shop.name, fresh=True) is None
    assert await shop.config() is None
    assert await shop.cluster.read("secrets", shop.name, names.FLEET_SECRET) is None


async def test_the_last_route_gone_is_an_empty_list(shop: Shop, operator: Reconciler) -> None:
    await shop.route("one")
    await shop.route("two", models=["two"])
    await operator.look(shop.name, fresh=True)
    assert await shop.served() == ["one", "two"]
    await shop.cluster.delete("llmroutes", shop.name, "one")
    await operator.look(shop.name, fresh=True)
    assert await shop.served() == ["two"]
    await shop.cluster.delete("llmroutes", shop.name, "two")
    await operator.look(shop.name, fresh=True)
    file = await shop.config()
    assert file is not None and file["routes"] == []


async def test_sidecars_that_wait_for_a_first_route_get_an_empty_list_and_a_key(
    shop: Shop, operator: Reconciler
) -> None:
    await shop.pod()
    await operator.look(shop.name, fresh=True)
    file = await shop.config()
    assert file is not None and file["routes"] == []
    assert await shop.cluster.read("secrets", shop.name, names.FLEET_SECRET) is not None


@pytest.mark.parametrize("spoil", ["delete", "edit", "label", "extra"])
async def test_a_lost_or_edited_configuration_is_repaired(shop: Shop, operator: Reconciler, spoil: str) -> None:
    await shop.route()
    await operator.look(shop.name, fresh=True)
    right = await shop.cluster.read("configmaps", shop.name, names.CONFIG)
    assert right is not None
    body: dict[str, Object] = {
        "edit": {"data": {names.CONFIG_KEY: "{}"}},
        "label": {"metadata": {"labels": {names.MANAGED_BY: "somebody"}}},
        "extra": {"data": {"other": "x"}},
    }
    if spoil == "delete":
        await shop.cluster.delete("configmaps", shop.name, names.CONFIG)
    else:
        await shop.cluster.patch("configmaps", shop.name, names.CONFIG, body[spoil])
    await operator.look(shop.name, fresh=True)
    repaired = await shop.cluster.read("configmaps", shop.name, names.CONFIG)
    assert repaired is not None
    assert (repaired["data"], repaired["metadata"]["labels"]) == (right["data"], right["metadata"]["labels"])


async def test_a_fleet_key_is_never_changed_but_a_useless_one_is(shop: Shop, operator: Reconciler) -> None:
    await shop.route()
    await operator.look(shop.name, fresh=True)
    first = await shop.cluster.read("secrets", shop.name, names.FLEET_SECRET)
    await reconciler(shop.cluster).look(shop.name, fresh=True)
    second = await shop.cluster.read("secrets", shop.name, names.FLEET_SECRET)
    assert first is not None and second is not None and first["data"] == second["data"]
    await shop.cluster.patch("secrets", shop.name, names.FLEET_SECRET, {"data": {"key": ""}})
    await reconciler(shop.cluster).look(shop.name, fresh=True)
    third = await shop.cluster.read("secrets", shop.name, names.FLEET_SECRET)
    assert third is not None and third["data"]["key"] not in ("", first["data"]["key"])


async def test_a_service_that_somebody_edited_is_repaired(shop: Shop, operator: Reconciler) -> None:
    await shop.route()
    await operator.look(shop.name, fresh=True)
    await shop.cluster.patch("services", shop.name, names.SIDECARS_SERVICE, {"spec": {"selector": {"app": "x"}}})
    await reconciler(shop.cluster).look(shop.name, fresh=True)
    found = await shop.cluster.read("services", shop.name, names.SIDECARS_SERVICE)
    assert found is not None and found["spec"]["selector"] == {names.SIDECAR: "true"}


async def test_what_it_made_itself_is_not_made_again_by_the_look_of_a_minute_later(
    shop: Shop, operator: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmroute_operator.reconcile.AROUND", 0.0)
    await shop.route()
    await operator.look(shop.name, fresh=True)
    await operator.look(shop.name, fresh=False)


async def test_a_route_that_became_invalid_goes_on_as_it_was_even_if_the_config_map_is_lost(
    shop: Shop, operator: Reconciler
) -> None:
    """Two routes want one model: the older has it, and the younger serves what it served before."""
    await shop.route("chat", models=["gpt-4o"])
    await shop.route("other", models=["mini"])
    await operator.look(shop.name, fresh=True)
    before = await shop.config()
    await asyncio.sleep(1.1)
    await shop.cluster.patch("llmroutes", shop.name, "other", {"spec": {"models": ["gpt-4o"]}})
    await operator.look(shop.name, fresh=True)
    assert await shop.config() == before
    assert await shop.condition("Accepted", "other") == ("False", "ModelConflict")
    await shop.cluster.delete("configmaps", shop.name, names.CONFIG)
    await operator.look(shop.name, fresh=True)
    assert await shop.config() == before


async def test_a_service_as_target_is_a_url_and_its_absence_is_told(shop: Shop, operator: Reconciler) -> None:
    target = {"name": "v", "provider": "openai-compatible", "model": "m", "service": {"name": "vllm", "port": "http"}}
    await shop.route(targets=[TARGET, target])
    assert await operator.look(shop.name, fresh=True) == 10.0, "it is looked for again soon"
    assert await shop.condition("ResolvedRefs") == ("False", "ServiceNotFound")
    assert await shop.served() == ["chat"], "the other target serves"
    ports = [{"name": "http", "port": 8000}]
    await shop.cluster.create("services", shop.name, {"metadata": {"name": "vllm"}, "spec": {"ports": ports}})
    await operator.look(shop.name, fresh=True)
    file = await shop.config()
    assert file is not None
    assert file["routes"][0]["spec"]["targets"][1]["url"] == f"http://vllm.{shop.name}.svc.cluster.local:8000/v1"
    assert await shop.condition("ResolvedRefs") == ("True", "ResolvedRefs")


async def test_a_service_that_comes_later_is_found_although_no_watch_tells_of_it(
    shop: Shop, operator: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmroute_operator.reconcile.UNRESOLVED", 0.0)
    target = {"name": "v", "provider": "openai-compatible", "model": "m", "service": {"name": "vllm", "port": "http"}}
    await shop.route(targets=[TARGET, target])
    await operator.look(shop.name, fresh=True)
    assert await shop.condition("ResolvedRefs") == ("False", "ServiceNotFound")
    ports = [{"name": "http", "port": 8000}]
    await shop.cluster.create("services", shop.name, {"metadata": {"name": "vllm"}, "spec": {"ports": ports}})
    await operator.look(shop.name, fresh=False)
    assert await shop.condition("ResolvedRefs") == ("True", "ResolvedRefs")


async def test_a_route_without_room_is_told_and_the_others_are_served(
    shop: Shop, operator: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmroute_operator.render.PLAIN", 100)
    monkeypatch.setattr("llmroute_operator.render.LARGEST", 1200)
    await shop.route("small")
    await asyncio.sleep(1.1)
    await shop.route(
        "large", targets=[{**TARGET, "name": f"t-{number}", "model": f"m-{number**9}"} for number in range(99)]
    )
    await operator.look(shop.name, fresh=True)
    assert await shop.condition("Programmed", "large") == ("False", "ConfigTooLarge")
    assert await shop.condition("Accepted", "large") == ("True", "Accepted")
    assert await shop.condition("Programmed", "small") == ("False", "NoSidecars")
    found = await shop.cluster.read("configmaps", shop.name, names.CONFIG)
    assert [one["metadata"]["name"] for one in entries_of(found).values()] == ["small"]


async def test_pods_are_nudged_with_revision_and_region(shop: Shop, operator: Reconciler) -> None:
    node = {"metadata": {"name": "node-of-the-east", "labels": {names.NODE_REGION: "east"}}}
    if await shop.cluster.read("nodes", None, "node-of-the-east") is None:
        await shop.cluster.create("nodes", None, node)
    await shop.pod()
    await shop.route()
    await operator.look(shop.name, fresh=True)
    file = await shop.config()
    assert file is not None
    nudge = operator.nudges.next(asyncio.get_running_loop().time())
    assert nudge == Nudge(shop.name, "app", {names.REVISION: file["revision"], names.REGION: "east"})


async def test_without_the_right_to_nudge_pods_are_left_alone(shop: Shop) -> None:
    operator = reconciler(shop.cluster, nudge=False)
    await shop.pod()
    await shop.route()
    await operator.look(shop.name, fresh=True)
    assert operator.nudges.next(asyncio.get_running_loop().time()) is None
    assert await shop.served() == ["chat"]


async def test_a_step_that_fails_is_told_and_stops_no_other(api_server: ApiServer, shop: Shop, tmp_path: Path) -> None:
    await shop.route()
    async with road(api_server, tmp_path) as way, Cluster(str(way.kubeconfig)) as far:
        # The four reads of a look go well, and that of the namespace; not the one of pods that lack a sidecar.
        way.accidents = [0, 0, 0, 0, 0, 403]
        with pytest.raises(ClusterError):
            await reconciler(far).look(shop.name, fresh=True)
        assert await shop.served() == ["chat"]
        assert await shop.condition("Accepted") == ("True", "Accepted")


async def test_a_conflict_is_solved_by_the_next_look(api_server: ApiServer, shop: Shop, tmp_path: Path) -> None:
    await shop.route()
    async with road(api_server, tmp_path) as way, Cluster(str(way.kubeconfig)) as far:
        operator = reconciler(far)
        await operator.look(shop.name, fresh=True)
        await shop.cluster.patch("configmaps", shop.name, names.CONFIG, {"data": {"other": "x"}})
        way.accidents = [0, 0, 0, 0, 409]
        with pytest.raises(ClusterError):
            await operator.look(shop.name, fresh=True)
        assert await shop.condition("Programmed") == ("False", "ConfigNotWritten")
        await operator.look(shop.name, fresh=True)
        file = await shop.config()
        assert file is not None and file["routes"]
        assert await shop.condition("Programmed") == ("False", "NoSidecars")


async def test_a_route_that_is_made_anew_does_not_get_the_old_ones_status(shop: Shop, operator: Reconciler) -> None:
    await shop.route()
    await operator.look(shop.name, fresh=True)
    await shop.cluster.delete("llmroutes", shop.name, "chat")
    await shop.route(models=["other"])
    found = await shop.cluster.read("llmroutes", shop.name, "chat")
    assert found is not None and "status" not in found
    await operator.look(shop.name, fresh=True)
    assert await shop.condition("Accepted") == ("True", "Accepted")


async def test_a_namespace_that_is_going_away_gets_nothing(shop: Shop, operator: Reconciler) -> None:
    await shop.route()
    await shop.cluster.delete("namespaces", None, shop.name)
    assert await operator.look(shop.name, fresh=True) is None
    assert shop.name not in operator


async def test_two_namespaces_do_not_touch_each_other(shop: Shop, operator: Reconciler) -> None:
    await shop.cluster.create("namespaces", None, {"metadata": {"name": f"{shop.name}-2"}})
    other = Shop(shop.cluster, f"{shop.name}-2")
    await shop.route("ours")
    await other.route("theirs")
    await operator.look(shop.name, fresh=True)
    assert await shop.served() == ["ours"] and await other.config() is None
    await operator.look(other.name, fresh=True)
    assert await other.served() == ["theirs"]

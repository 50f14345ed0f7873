"""The whole operator as a process, with the rights of the chart and no more, against a real API server."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.operator.apiserver import ApiServer, crd, running
from tests.operator.conftest import served
from tests.operator.rights import OWN, SERVED, WHOLE_CLUSTER, grant
from tests.operator.running import Process, replica
from tests.operator.test_reconcile import Shop

from llmroute_operator import names
from llmroute_operator.cluster import Call, Cluster


async def until(true: Callable[[], Awaitable[bool]] | Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            answer = true()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.1)


@pytest.fixture
async def shop(cluster: Cluster, namespace: str) -> Shop:
    return Shop(cluster, namespace)


async def test_a_route_is_served_within_moments_and_so_is_its_change(account: Path, own: str, shop: Shop) -> None:
    with replica(account, "one", own_namespace=own) as operator:
        await until(lambda: operator.leads and operator.get("/readyz") == (200, "ok"))
        assert operator.get("/livez") == (200, "ok")
        await shop.route(models=["gpt-4o"])
        await until(lambda: has(shop, ["chat"]))
        await until(lambda: says(shop, "Accepted", ("True", "Accepted")))
        before = await shop.config()
        await shop.cluster.patch("llmroutes", shop.name, "chat", {"spec": {"models": ["gpt-5"]}})
        await until(lambda: differs(shop, before))
        assert [line for line in operator.log() if line["level"] in ("warning", "error")] == []
        assert operator.metric('reconciles_total{result="error"}') == 0.0
        assert operator.stop() == 0
    assert await holder(shop.cluster, own) == ""


async def has(shop: Shop, routes: list[str]) -> bool:
    return await shop.served() == routes


async def says(shop: Shop, kind: str, expected: tuple[str, str]) -> bool:
    found = await shop.cluster.read("llmroutes", shop.name, "chat")
    return bool(found and found.get("status")) and await shop.condition(kind) == expected


async def differs(shop: Shop, before: object) -> bool:
    return await shop.config() != before


async def holder(cluster: Cluster, own: str) -> str:
    found = await cluster.read("leases", own, names.LEASE)
    return str(found["spec"]["holderIdentity"]) if found else ""


async def test_what_was_spoilt_while_it_watched_is_repaired(account: Path, own: str, shop: Shop) -> None:
    await shop.route()
    with replica(account, "one", own_namespace=own):
        await until(lambda: has(shop, ["chat"]))
        await shop.cluster.delete("configmaps", shop.name, names.CONFIG)
        await until(lambda: has(shop, ["chat"]))
        await shop.cluster.patch("configmaps", shop.name, names.CONFIG, {"data": {names.CONFIG_KEY: '{"routes":[]}'}})
        await until(lambda: has(shop, ["chat"]))
        await shop.cluster.delete("llmroutes", shop.name, "chat")
        await until(lambda: has(shop, []))


async def test_a_pod_is_nudged_with_the_revision_that_it_should_run(account: Path, own: str, shop: Shop) -> None:
    await shop.pod()
    with replica(account, "one", own_namespace=own) as operator:
        await until(lambda: operator.leads)
        await shop.route()
        await until(lambda: nudged(shop))
        before = await annotation(shop)
        await until(lambda: changed(shop, before))
        assert operator.metric('nudges_total{result="ok"}') >= 2.0, "nobody confirms, so it is nudged again"


async def annotation(shop: Shop) -> str:
    found = await shop.cluster.read("pods", shop.name, "app")
    assert found is not None
    return str((found["metadata"].get("annotations") or {}).get(names.REVISION, ""))


async def nudged(shop: Shop) -> bool:
    file = await shop.config()
    return file is not None and file["routes"] != [] and (await annotation(shop)).startswith(file["revision"])


async def changed(shop: Shop, before: str) -> bool:
    return await annotation(shop) != before


async def test_of_two_replicas_one_works_and_the_other_follows_when_it_stops(
    account: Path, own: str, shop: Shop
) -> None:
    with replica(account, "one", own_namespace=own) as one:
        await until(lambda: one.leads)
        with replica(account, "two", own_namespace=own) as two:
            await until(lambda: two.get("/readyz")[0] == 200)
            await shop.route()
            await until(lambda: has(shop, ["chat"]))
            assert not two.leads and two.metric('reconciles_total{result="ok"}') == 0.0
            assert one.stop() == 0
            await until(lambda: two.leads, 6.0)
            await shop.route("more", models=["more"])
            await until(lambda: has(shop, ["chat", "more"]))


async def test_a_leader_killed_in_the_middle_of_a_change_is_followed_within_twenty_seconds(
    account: Path, own: str, shop: Shop
) -> None:
    with replica(account, "one", own_namespace=own) as one, replica(account, "two", own_namespace=own) as two:
        await until(lambda: one.leads or two.leads)
        leader, follower = (one, two) if one.leads else (two, one)
        await shop.route()
        leader.kill()
        await shop.cluster.patch("llmroutes", shop.name, "chat", {"spec": {"models": ["changed"]}})
        began = asyncio.get_running_loop().time()
        await until(lambda: follower.leads, 40.0)
        print(f"followed after {asyncio.get_running_loop().time() - began:.1f} s")
        await until(lambda: serves(shop, ["changed"]))


async def serves(shop: Shop, models: list[str]) -> bool:
    file = await shop.config()
    return bool(file and file["routes"]) and file is not None and file["routes"][0]["spec"].get("models") == models


async def test_in_a_list_of_namespaces_roles_are_enough_and_the_others_are_not_touched(
    api_server: ApiServer, cluster: Cluster, own: str, shop: Shop
) -> None:
    await cluster.create("namespaces", None, {"metadata": {"name": f"{shop.name}-not"}})
    other = Shop(cluster, f"{shop.name}-not")
    user = f"limited-{own}"
    await grant(cluster, user, OWN, own, "own")
    await grant(cluster, user, SERVED, shop.name)
    await other.route()
    with replica(api_server.kubeconfig(user), "one", own_namespace=own, namespaces=shop.name) as operator:
        await until(lambda: operator.leads)
        await shop.route()
        await until(lambda: has(shop, ["chat"]))
        await until(lambda: says(shop, "Accepted", ("True", "Accepted")))
        assert await other.config() is None
        assert [line for line in operator.log() if line["level"] in ("warning", "error")] == []


async def test_a_missing_right_is_named_and_no_reason_to_crash(
    api_server: ApiServer, cluster: Cluster, own: str, shop: Shop
) -> None:
    user = f"poor-{own}"
    await grant(cluster, user, OWN, own, "own")
    await shop.route()
    with replica(api_server.kubeconfig(user), "one", own_namespace=own) as operator:
        await until(lambda: operator.get("/readyz")[0] == 503)
        assert "RBAC" in operator.get("/readyz")[1] and operator.get("/livez")[0] == 200
        assert any("llmroutes" in line["message"] for line in operator.log() if line["level"] == "error")
        await grant(cluster, user, [*SERVED, *WHOLE_CLUSTER])
        await until(lambda: has(shop, ["chat"]), 30.0)
        assert operator.get("/readyz")[0] == 200


async def test_a_listed_namespace_that_is_not_there_keeps_nobody_from_the_others(
    api_server: ApiServer, cluster: Cluster, own: str, shop: Shop
) -> None:
    """A namespace that goes takes its Role along: nobody can tell any more whether it is there."""
    user, late = f"listed-{own}", f"late-{own}"
    await grant(cluster, user, OWN, own, "own")
    await grant(cluster, user, SERVED, shop.name)
    await shop.route()
    kubeconfig = api_server.kubeconfig(user)
    with replica(kubeconfig, "one", own_namespace=own, namespaces=f"{late},{shop.name}") as operator:
        await until(lambda: has(shop, ["chat"]), 30.0)
        assert operator.get("/readyz")[0] == 503 and late in operator.get("/readyz")[1]
        await cluster.create("namespaces", None, {"metadata": {"name": late}})
        await grant(cluster, user, SERVED, late)
        assert operator.wait(30.0) == 1, "a new process begins, with all of them"
        assert any("can be served" in line["message"] for line in operator.log() if line["level"] == "error")
    latecomer = Shop(cluster, late)
    await latecomer.route()
    with replica(kubeconfig, "one", own_namespace=own, namespaces=f"{late},{shop.name}") as again:
        await until(lambda: has(latecomer, ["chat"]), 30.0)
        await until(lambda: again.get("/readyz")[0] == 200)


async def test_settings_that_make_no_sense_are_told_at_once(account: Path, own: str) -> None:
    with replica(account, "one", own_namespace=own, nudge="perhaps") as operator:
        assert operator.wait(10.0) == 1
    assert b"LLMROUTE_NUDGE: expected true or false" in (account.parent / "one.log").read_bytes()


async def test_without_the_resource_it_waits_and_without_the_api_server_it_ends_and_comes_back(
    tmp_path: Path,
) -> None:
    """An API server of its own, which is stopped and started."""
    with running(tmp_path) as server:
        async with Cluster(str(server.admin)) as cluster:
            await cluster.create("namespaces", None, {"metadata": {"name": "own"}})
            await cluster.create("namespaces", None, {"metadata": {"name": "shop"}})
            with replica(server.admin, "one", own_namespace="own") as operator:
                await until(lambda: "CustomResourceDefinition" in operator.get("/readyz")[1])
                path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
                await cluster.call(Call(verb="POST", path=path, body=crd()))
                await served(cluster)
                shop = Shop(cluster, "shop")
                await shop.route()
                await until(lambda: has(shop, ["chat"]), 30.0)
                server.stop_api()
                assert operator.wait(30.0) == 1, "a Lease that cannot be renewed is lost"
            with replica(server.admin, "one", own_namespace="own") as again:
                await until(lambda: reports(again, "the Lease cannot be reached"))
                server.start_api()
                await shop.cluster.delete("configmaps", "shop", names.CONFIG)
                await until(lambda: has(shop, ["chat"]), 40.0)


def reports(operator: Process, words: str) -> bool:
    return any(words in line["message"] for line in operator.log())

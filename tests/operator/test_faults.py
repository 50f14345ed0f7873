"""The operator as a process where something is wrong: it says what, does the rest, and goes on when that is mended."""

from pathlib import Path

import pytest
from tests.operator.apiserver import ApiServer, crd, running
from tests.operator.conftest import served
from tests.operator.faulty import road
from tests.operator.rights import OWN, SERVED, WHOLE_CLUSTER, grant
from tests.operator.running import Process, replica
from tests.operator.test_operator import has, says, serves, until
from tests.operator.test_reconcile import Shop

from llmroute_operator import names
from llmroute_operator.cluster import Call, Cluster

WATCHED = [one for one in SERVED if {"list", "watch"} <= set(one["verbs"])]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
async def shop(cluster: Cluster, namespace: str) -> Shop:
    return Shop(cluster, namespace)


def lacking(operator: Process) -> set[str]:
    """Steps that failed for want of a right, as the log says."""
    messages = [line["message"] for line in operator.log() if "see the chart's RBAC" in line["message"]]
    return {message.partition(" failed")[0] for message in messages}


def defects(operator: Process) -> list[str]:
    """What the log has of our own mistakes."""
    return [str(line) for line in operator.log() if "defect" in line["message"] or line["level"] == "critical"]


async def test_who_may_only_read_writes_nothing_says_so_and_goes_on_when_he_may(
    api_server: ApiServer, cluster: Cluster, own: str, shop: Shop
) -> None:
    user = f"reader-{own}"
    await grant(cluster, user, OWN, own, "own")
    await grant(cluster, user, [*({**one, "verbs": ["get", "list", "watch"]} for one in WATCHED), *WHOLE_CLUSTER])
    await shop.route()
    with replica(api_server.kubeconfig(user), "one", own_namespace=own) as operator:
        await until(lambda: {"configuration", "service", "fleet key", "status"} <= lacking(operator))
        assert operator.get("/livez") == (200, "ok") and operator.get("/readyz") == (200, "ok")
        assert operator.metric('errors_total{step="configuration"}') >= 1.0
        assert len(operator.log()) < 100, "what is not allowed is not tried all the time"
        await grant(cluster, user, SERVED, name="writer")
        await until(lambda: has(shop, ["chat"]), 240.0)
        await until(lambda: says(shop, "Accepted", ("True", "Accepted")), 60.0)
        assert defects(operator) == []


async def test_in_bad_weather_it_arrives_all_the_same(
    api_server: ApiServer, own: str, shop: Shop, tmp_path: Path
) -> None:
    """Of all requests, watches and the Lease's too, many are throttled, conflict, break or are cut."""
    async with road(api_server, tmp_path) as way:
        way.weather = {13: 500, 11: "cut", 7: 409, 5: 429}
        with replica(way.kubeconfig, "one", own_namespace=own) as operator:
            await shop.route()
            await shop.pod()
            await until(lambda: has(shop, ["chat"]), 240.0)
            for number in range(5):
                await shop.cluster.patch("llmroutes", shop.name, "chat", {"spec": {"models": [f"m-{number}"]}})
                await until(
                    lambda number=number: serves(shop, [f"m-{number}"]), 240.0
                )  # a missed watch: the sweep, each minute
            await shop.cluster.delete("configmaps", shop.name, names.CONFIG)
            await until(lambda: has(shop, ["chat"]), 240.0)
            assert operator.leads and operator.get("/livez") == (200, "ok")
            assert defects(operator) == []


async def test_a_resource_that_is_taken_away_and_comes_back(tmp_path: Path) -> None:
    """Somebody deletes the CustomResourceDefinition, and with it all routes; then all is installed again."""
    with running(tmp_path) as server:
        async with Cluster(str(server.admin)) as cluster:
            for name in ("own", "shop"):
                await cluster.create("namespaces", None, {"metadata": {"name": name}})
            await cluster.call(Call(verb="POST", path=DEFINITIONS, body=crd()))
            await served(cluster)
            shop = Shop(cluster, "shop")
            await shop.route()
            with replica(server.admin, "one", own_namespace="own") as operator:
                await until(lambda: has(shop, ["chat"]), 30.0)
                await cluster.call(Call(verb="DELETE", path=f"{DEFINITIONS}/llmroutes.{names.GROUP}"))
                await until(lambda: any("404" in line["message"] for line in operator.log()), 60.0)
                await cluster.call(Call(verb="POST", path=DEFINITIONS, body=crd()))
                await served(cluster)
                await shop.route("again")
                await until(lambda: has(shop, ["again"]), 90.0)
                assert operator.get("/livez") == (200, "ok")

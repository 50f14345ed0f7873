"""The API server as the operator sees it: a real one, at the end of a road on which accidents happen."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.operator.apiserver import ApiServer
from tests.operator.faulty import Road, road

from llmroute_operator.cluster import Call, Cluster, wait_before
from llmroute_operator.errors import Conflict, NotFound, Refused, Unavailable
from llmroute_operator.paths import member


@pytest.fixture
async def way(api_server: ApiServer, tmp_path: Path) -> AsyncIterator[Road]:
    async with road(api_server, tmp_path) as found:
        yield found


@pytest.fixture
async def far(way: Road) -> AsyncIterator[Cluster]:
    """A client behind the road."""
    async with Cluster(str(way.kubeconfig), rng=random.Random(1)) as opened:
        yield opened


async def test_a_throttled_or_broken_call_is_made_again(way: Road, far: Cluster, namespace: str) -> None:
    way.accidents = [429, 503, "cut"]
    made = await far.create("configmaps", namespace, {"metadata": {"name": "one"}})
    assert made["metadata"]["name"] == "one" and len(way.seen) == 4


async def test_a_call_that_never_works_says_so_in_the_end(way: Road, far: Cluster, namespace: str) -> None:
    way.accidents = [500] * 20
    with pytest.raises(Unavailable, match="500 an accident") as error:
        await far.call(Call(verb="GET", path=member("configmaps", namespace, "one"), tries=2))
    assert error.value.status == 500 and len(way.seen) == 2


async def test_a_call_that_hangs_ends(way: Road, far: Cluster, namespace: str) -> None:
    way.accidents = ["hang"]
    path = member("configmaps", namespace, "one")
    with pytest.raises(NotFound):
        await asyncio.wait_for(far.call(Call(verb="GET", path=path, seconds=0.2)), 5.0)
    assert len(way.seen) == 2


async def test_a_creation_whose_answer_was_lost_is_a_conflict_that_reading_solves(
    way: Road, far: Cluster, namespace: str
) -> None:
    way.accidents = ["late"]
    with pytest.raises(Conflict):
        await far.create("configmaps", namespace, {"metadata": {"name": "one"}})
    assert await far.read("configmaps", namespace, "one") is not None


async def test_an_object_that_is_not_there_is_none(cluster: Cluster, namespace: str) -> None:
    assert await cluster.read("configmaps", namespace, "nothing") is None
    await cluster.delete("configmaps", namespace, "nothing")


async def test_a_stale_write_is_a_conflict(cluster: Cluster, namespace: str) -> None:
    made = await cluster.create("configmaps", namespace, {"metadata": {"name": "one"}, "data": {"a": "1"}})
    await cluster.replace("configmaps", namespace, {**made, "data": {"a": "2"}})
    with pytest.raises(Conflict):
        await cluster.replace("configmaps", namespace, {**made, "data": {"a": "3"}})


async def test_an_object_that_makes_no_sense_is_refused_and_not_tried_again(
    way: Road, far: Cluster, namespace: str
) -> None:
    with pytest.raises(Refused, match="Invalid value"):
        await far.create("configmaps", namespace, {"metadata": {"name": "NOT A NAME"}})
    assert len(way.seen) == 1


async def test_a_kind_that_is_not_installed_is_not_found(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(NotFound):
        await cluster.objects("scaledobjects", namespace)


async def test_a_long_list_comes_page_by_page(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmroute_operator.cluster.PAGE", 3)
    for number in range(8):
        await cluster.create("configmaps", namespace, {"metadata": {"name": f"one-{number}"}})
    found = await cluster.objects("configmaps", namespace)
    assert [one["metadata"]["name"] for one in found] == [f"one-{number}" for number in range(8)]


async def test_metadata_is_all_that_is_asked_for(cluster: Cluster, namespace: str) -> None:
    await cluster.create("configmaps", namespace, {"metadata": {"name": "one"}, "data": {"a": "1"}})
    (found,) = await cluster.metadata("configmaps", namespace)
    assert found["metadata"]["name"] == "one" and "data" not in found


async def test_a_secret_that_is_sent_or_refused_is_in_no_message(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(Refused) as error:
        await cluster.create("secrets", namespace, {"metadata": {"name": "S"}, "stringData": {"key": "sk-canary"}})
    assert "sk-canary" not in str(error.value)
    assert "sk-canary" not in repr(Call(verb="POST", path="/x", body={"a": "sk-canary"}))


def test_waits_grow_are_jittered_and_obey_the_server() -> None:
    rng = random.Random(1)
    waits = [wait_before(attempt, None, rng) for attempt in (1, 2, 3, 4)]
    assert all(0.5 * 0.2 * 2**n <= wait <= 1.5 * 0.2 * 2**n for n, wait in enumerate(waits))
    assert wait_before(1, "3", rng) >= 3.0
    assert wait_before(1, "86400", rng) <= 10.0
    assert wait_before(1, "Wed, 21 Oct 2015 07:28:00 GMT", rng) < 1.0

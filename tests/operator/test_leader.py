"""One works: the Lease, on a real API server, with terms short enough to wait for."""

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.operator.apiserver import ApiServer
from tests.operator.faulty import road

from llmroute_operator import names
from llmroute_operator.cluster import Cluster
from llmroute_operator.leader import Leader, LeaseLost, Sight, Terms, claim

QUICK = Terms(duration=2.0, renew_within=1.2, retry=0.2, call=1.0)


def lease(holder: str, renewed: str = "2026-01-01T00:00:00.000000Z", version: str = "1") -> dict[str, Any]:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed}
    return {"metadata": {"name": names.LEASE, "resourceVersion": version}, "spec": spec}


def test_a_lease_that_changes_is_held_whatever_its_clock_says() -> None:
    sight = Sight()
    assert not sight.stale(lease("a", "1999-01-01T00:00:00.000000Z"), 0.0), "its clock may be behind"
    assert not sight.stale(lease("a", "1999-01-01T00:00:00.000000Z"), 14.9)
    assert not sight.stale(lease("a", "1999-01-01T00:00:02.000000Z", "2"), 20.0)
    assert not sight.stale(lease("a", "1999-01-01T00:00:02.000000Z", "2"), 34.9)
    assert sight.stale(lease("a", "1999-01-01T00:00:02.000000Z", "2"), 35.0)


def test_a_lease_that_stands_still_is_free_though_its_clock_is_ahead() -> None:
    sight = Sight()
    assert not sight.stale(lease("a", "2999-01-01T00:00:00.000000Z"), 0.0)
    assert sight.stale(lease("a", "2999-01-01T00:00:00.000000Z"), 15.0)


def test_a_lease_that_nobody_holds_is_free_at_once() -> None:
    assert Sight().stale(lease(""), 0.0)


def test_transitions_are_counted_and_a_renewal_is_none() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    taken = claim(lease("a"), "b", 15, now)
    renewed = claim(taken, "b", 15, now.replace(second=2))
    assert (taken["spec"]["leaseTransitions"], renewed["spec"]["leaseTransitions"]) == (1, 1)
    assert renewed["spec"]["acquireTime"] == taken["spec"]["acquireTime"] != renewed["spec"]["renewTime"]


async def holder(cluster: Cluster, namespace: str) -> str:
    found = await cluster.read("leases", namespace, names.LEASE)
    assert found is not None
    return str(found["spec"]["holderIdentity"])


async def test_of_many_that_begin_together_one_leads(cluster: Cluster, namespace: str) -> None:
    many = [Leader(cluster, namespace, f"operator-{number}", QUICK) for number in range(5)]
    waiting = [asyncio.create_task(one.acquire()) for one in many]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.5)
    assert len(done) == 1 and sum(one.leading for one in many) == 1
    for task in waiting:
        task.cancel()


async def test_a_leader_that_stops_hands_over_at_once(cluster: Cluster, namespace: str) -> None:
    first, second = Leader(cluster, namespace, "first"), Leader(cluster, namespace, "second", QUICK)
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(0.3)
    assert not second.leading
    await first.release()
    await asyncio.wait_for(waiting, 3.0)
    assert await holder(cluster, namespace) == "second"


async def test_a_leader_that_dies_is_followed_when_its_time_is_over(cluster: Cluster, namespace: str) -> None:
    await Leader(cluster, namespace, "first", QUICK).acquire()
    second = Leader(cluster, namespace, "second", QUICK)
    began = asyncio.get_running_loop().time()
    await asyncio.wait_for(second.acquire(), 10.0)
    assert asyncio.get_running_loop().time() - began >= QUICK.duration - 0.1


async def test_a_leader_renews_so_that_nobody_follows(cluster: Cluster, namespace: str) -> None:
    first, second = Leader(cluster, namespace, "first", QUICK), Leader(cluster, namespace, "second", QUICK)
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(second.acquire(), QUICK.duration * 1.5)
    assert not holding.done() and first.leading
    holding.cancel()


async def test_a_restarted_container_takes_its_own_lease_back_without_waiting(cluster: Cluster, namespace: str) -> None:
    await Leader(cluster, namespace, "same-pod").acquire()
    await asyncio.wait_for(Leader(cluster, namespace, "same-pod").acquire(), 1.5)


async def test_a_leader_that_was_replaced_ends(cluster: Cluster, namespace: str) -> None:
    leader = Leader(cluster, namespace, "first", QUICK)
    await leader.acquire()
    found = await cluster.read("leases", namespace, names.LEASE)
    assert found is not None
    await cluster.replace("leases", namespace, {**found, "spec": {**found["spec"], "holderIdentity": "thief"}})
    with pytest.raises(LeaseLost, match="thief"):
        await asyncio.wait_for(leader.hold(), 5.0)
    await leader.release()
    assert await holder(cluster, namespace) == "thief", "what is not ours is not given away"


async def test_a_change_of_a_label_is_no_loss(cluster: Cluster, namespace: str) -> None:
    leader = Leader(cluster, namespace, "first", QUICK)
    await leader.acquire()
    await cluster.patch("leases", namespace, names.LEASE, {"metadata": {"labels": {"somebody": "was-here"}}})
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(leader.hold(), 0.8)
    assert leader.leading and await holder(cluster, namespace) == "first"


async def test_a_leader_that_cannot_renew_ends_before_others_may_begin(
    api_server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    async with road(api_server, tmp_path) as way, Cluster(str(way.kubeconfig)) as far:
        leader = Leader(far, namespace, "first", QUICK)
        await leader.acquire()
        began = asyncio.get_running_loop().time()
        way.blocked = True
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(leader.hold(), 5.0)
        assert asyncio.get_running_loop().time() - began < QUICK.duration


async def test_an_answer_that_is_lost_is_no_loss_of_the_lease(
    api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with road(api_server, tmp_path) as way, Cluster(str(way.kubeconfig)) as far:
        leader = Leader(far, namespace, "first", QUICK)
        await leader.acquire()
        way.accidents = ["late", 429, 500]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(leader.hold(), QUICK.duration)
        assert leader.leading and await holder(cluster, namespace) == "first"

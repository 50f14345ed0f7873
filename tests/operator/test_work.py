"""The leader's loops, with looks that are told how to go."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest
from tests.operator.test_nudge import pod

from llmroute_operator import names
from llmroute_operator.cluster import Cluster
from llmroute_operator.errors import Unavailable
from llmroute_operator.marks import Marks
from llmroute_operator.metrics import Metrics
from llmroute_operator.nudge import Schedule, Wanted
from llmroute_operator.reconcile import Reconciler
from llmroute_operator.seen import Seen
from llmroute_operator.settings import Settings
from llmroute_operator.work import TOGETHER, Nudger, Turns, sweep


class Looks:
    """Stands where the reconciler stands; `troubles` of a namespace happen first."""

    def __init__(self, **troubles: Sequence[Exception | float]) -> None:
        self.troubles = {name: list(each) for name, each in troubles.items()}
        self.looked: list[tuple[str, bool]] = []
        self.at_once = 0
        self.most = 0

    async def look(self, namespace: str, *, fresh: bool) -> float | None:
        self.looked.append((namespace, fresh))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            trouble = self.troubles[namespace].pop(0) if self.troubles.get(namespace) else 0.0
            if isinstance(trouble, Exception):
                raise trouble
            await asyncio.sleep(trouble)
        finally:
            self.at_once -= 1
        return None


@asynccontextmanager
async def working(looks: Looks) -> AsyncIterator[tuple[Turns, Metrics]]:
    metrics = Metrics()
    turns = Turns(Marks(random.Random(1)), cast(Reconciler, looks), metrics)
    task = asyncio.create_task(turns.run())
    try:
        yield turns, metrics
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10.0):
        while not true():  # noqa: ASYNC110 -- what is waited for tells nobody
            await asyncio.sleep(0.01)


async def until_looked(looks: Looks, times: int) -> None:
    await until(lambda: len(looks.looked) >= times)


async def test_a_marked_namespace_is_looked_at_freshly_and_a_mere_look_is_not_fresh() -> None:
    looks = Looks()
    async with working(looks) as (turns, _):
        turns.mark("shop")
        await until_looked(looks, 1)
        turns.look("bank")
        await until_looked(looks, 2)
    assert looks.looked == [("shop", True), ("bank", False)]


@pytest.mark.parametrize("trouble", [Unavailable("gone"), KeyError("a defect of ours")])
async def test_a_failure_is_repeated_and_stops_nobody(trouble: Exception) -> None:
    looks = Looks(shop=[trouble])
    async with working(looks) as (turns, metrics):
        turns.mark("shop")
        turns.mark("bank")
        await until_looked(looks, 3)
        assert ("bank", True) in looks.looked and looks.looked[-1] == ("shop", True)
        assert b'reconciles_total{result="error"} 1.0' in metrics.exposition()


async def test_a_look_that_hangs_is_cut_off_and_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmroute_operator.work.LONGEST_TURN", 0.1)
    looks = Looks(shop=[3600.0])
    async with working(looks) as (turns, _):
        turns.mark("shop")
        await until_looked(looks, 2)


async def test_only_so_many_namespaces_are_looked_at_together() -> None:
    looks = Looks(**{f"n{number}": [0.1] for number in range(40)})
    async with working(looks) as (turns, _):
        for number in range(40):
            turns.mark(f"n{number}")
        await until_looked(looks, 40)
    assert looks.most == TOGETHER


async def test_nudges_reach_the_pod_and_a_pod_that_is_gone_is_no_trouble(cluster: Cluster, namespace: str) -> None:
    spec = {"containers": [{"name": "app", "image": "app"}]}
    await cluster.create("pods", namespace, {"metadata": {"name": "app"}, "spec": spec})
    schedule, metrics = Schedule(), Metrics()
    now = asyncio.get_running_loop().time()
    for name in ("gone", "app"):
        schedule.want(pod(name, namespace=namespace), Wanted("abc", "east", written=True), confirmed=False, now=now)
    task = asyncio.create_task(Nudger(cluster, schedule, metrics).run())
    await until(lambda: metrics.exposition().count(b"llmroute_operator_nudges_total{") == 2)
    task.cancel()
    found = await cluster.read("pods", namespace, "app")
    assert found is not None
    assert found["metadata"]["annotations"] == {"llmroute.dev/revision": "abc", "llmroute.dev/region": "east"}
    assert b'nudges_total{result="gone"} 1.0' in metrics.exposition()


async def test_what_no_watch_told_is_found_by_the_sweep_marked_and_counted(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmroute_operator.work.SWEEP", 0.05)
    target = {"name": "a", "provider": "openai", "model": "gpt-4o"}
    route = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "chat"}}
    await cluster.create("llmroutes", namespace, {**route, "spec": {"targets": [target]}})
    marked: list[str] = []
    metrics, settings = Metrics(), Settings(namespaces=(namespace,))
    task = asyncio.create_task(sweep(cluster, settings, Seen(), metrics, marked.append))
    await until(lambda: bool(marked))
    task.cancel()
    assert marked[0] == namespace
    assert f"llmroute_operator_watch_missed_total {len(marked)}.0" in metrics.exposition().decode()

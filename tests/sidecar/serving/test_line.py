"""Targets with `maxConcurrency` that are all full: requests wait in one line, and go where a slot comes free first."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.app import Answer
from tests.sidecar.serving.scripted import Call, completion, scripted
from tests.world import World, elsewhere, world

from llmroute import attempts
from llmroute.request import Decision
from llmroute.routing import choose

ONE = {"maxConcurrency": 1}


class Targets:
    """Two targets with one slot each, which answer when they are told to."""

    def __init__(self) -> None:
        self.calls: dict[str, asyncio.Queue[Call]] = {"east": asyncio.Queue(), "west": asyncio.Queue()}
        self.held: dict[str, asyncio.Event] = {}
        self.refusing: set[str] = set()

    async def answers(self, name: str) -> None:
        """The one request at the target is answered."""
        self.held[name].set()

    async def refuses(self, name: str) -> None:
        """The one request at the target is refused, as all to come would be: the key is wrong."""
        self.refusing.add(name)
        self.held[name].set()

    def script(self, name: str) -> Callable[[Call], Awaitable[None]]:
        """What the target does."""

        async def hold(call: Call) -> None:
            self.held[name] = held = asyncio.Event()
            self.calls[name].put_nowait(call)
            await held.wait()
            if name in self.refusing:
                await call.answer(b'{"error": {"code": "invalid_api_key"}}', "401 Unauthorized")
            else:
                await call.answer(completion())

        return hold


@asynccontextmanager
async def two_full() -> AsyncIterator[tuple[World, Targets, list[asyncio.Task[Answer]]]]:
    """A world where east and west are busy with one request each."""
    targets = Targets()
    async with (
        scripted(targets.script("east")) as east,
        scripted(targets.script("west")) as west,
        world(elsewhere("east", east.url, **ONE), elsewhere("west", west.url, **ONE)) as here,
    ):
        busy = []
        for name in ("east", "west"):
            busy.append(asyncio.create_task(here.chat(headers={"x-llmroute-target": name})))
            await asyncio.wait_for(targets.calls[name].get(), 5.0)
        yield here, targets, busy
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def test_who_waits_goes_where_a_slot_comes_free_first() -> None:
    async with two_full() as (here, targets, _):
        waiting = asyncio.create_task(here.chat())
        await here.queued("east", 1)
        await targets.answers("west")
        await asyncio.wait_for(targets.calls["west"].get(), 5.0)
        await targets.answers("west")
        assert (await waiting).attempts == "west:ok"
        metrics = await here.metrics()
        assert metrics.sum("llmroute_queue_seconds_sum", route=here.route.key) > 0.0


async def test_who_wants_one_target_waits_for_that_and_holds_up_nobody() -> None:
    async with two_full() as (here, targets, _):
        pinned = asyncio.create_task(here.chat(headers={"x-llmroute-target": "east"}))
        await here.queued("east", 1)
        other = asyncio.create_task(here.chat())
        await here.queued("east", 2)
        await targets.answers("west")
        await asyncio.wait_for(targets.calls["west"].get(), 5.0)
        await targets.answers("west")
        assert (await other).target == "west"
        assert not pinned.done()
        await targets.answers("east")
        await asyncio.wait_for(targets.calls["east"].get(), 5.0)
        await targets.answers("east")
        assert (await pinned).target == "east"


async def test_first_come_first_served() -> None:
    async with two_full() as (here, targets, _):
        waiting = []
        for number in range(3):
            waiting.append(asyncio.create_task(here.chat(f"number {number}")))
            await here.queued("east", number + 1)
        for number, name in enumerate(("west", "east", "west")):
            await targets.answers(name)
            call = await asyncio.wait_for(targets.calls[name].get(), 5.0)
            assert f"number {number}".encode() in call.body
        for name in ("east", "west"):
            await targets.answers(name)
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 3


async def test_who_comes_later_does_not_overtake() -> None:
    async with two_full() as (here, targets, _):
        first = asyncio.create_task(here.chat("first"))
        await here.queued("east", 1)
        await targets.answers("west")
        second = asyncio.create_task(here.chat("second"))
        call = await asyncio.wait_for(targets.calls["west"].get(), 5.0)
        assert b"first" in call.body
        await targets.answers("west")
        await first
        await asyncio.wait_for(targets.calls["west"].get(), 5.0)
        await targets.answers("west")
        assert (await second).target == "west"


async def test_who_leaves_the_line_is_forgotten() -> None:
    async with two_full() as (here, targets, _):
        async with here.app() as leaver:
            leaver.ask("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "x"}]})
            await here.queued("east", 1)
            leaver.hang_up()
            await here.queued("east", 0)
        next_one = asyncio.create_task(here.chat())
        await here.queued("east", 1)
        await targets.answers("east")
        await asyncio.wait_for(targets.calls["east"].get(), 5.0)
        await targets.answers("east")
        assert (await next_one).target == "east"


async def test_a_slot_that_nobody_may_use_is_not_handed_round(monkeypatch: pytest.MonkeyPatch) -> None:
    choices = 0

    def counted(*args: Any) -> Decision:
        nonlocal choices
        choices += 1
        return choose(*args)

    async with two_full() as (here, targets, _):
        waiting = []
        for number in range(3):
            waiting.append(asyncio.create_task(here.chat()))
            await here.queued("east", number + 1)
        monkeypatch.setattr(attempts, "choose", counted)
        await targets.refuses("east")
        async with asyncio.timeout(5.0):
            while here.target("east").slots.in_flight:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert choices <= len(waiting) + 1  # each of them, and the one that was refused
        for _ in waiting:
            await targets.answers("west")
            await asyncio.wait_for(targets.calls["west"].get(), 5.0)
        await targets.answers("west")
        assert [answer.target for answer in await asyncio.gather(*waiting)] == ["west"] * 3

"""Identical requests at the same time share one answer, and nobody is held up by anybody."""

import asyncio
import socket
from typing import Any

import pytest
from tests.app import CHAT, Answer, request
from tests.sidecar.serving.scripted import DONE, Call, chunk, completion, finish, scripted
from tests.world import World, chat, elsewhere, provider, world

from llmroute.simulator.spec import (
    BlackHole,
    Duration,
    Fault,
    Speed,
    Status,
    Ttft,
)

SLOWLY = Ttft(median=Duration(0.2))


async def started(here: World, count: int, **members: Any) -> list[asyncio.Task[Answer]]:
    """Identical requests under way, the first of which has reached the target."""
    tasks = [asyncio.create_task(here.chat(**members))]
    await here.arrived("east")
    tasks += [asyncio.create_task(here.chat(**members)) for _ in range(count - 1)]
    return tasks


async def test_identical_requests_at_the_same_time_share_one_attempt() -> None:
    async with world(provider("east", ttft=SLOWLY), cache={}) as here:
        answers = await asyncio.gather(*await started(here, 8))

        assert sorted(answer.cache for answer in answers) == ["coalesced"] * 7 + ["miss"]
        assert len({answer.body for answer in answers}) == 1
        assert here.requests("east") == 1


async def test_a_stream_does_not_wait_for_the_end_of_another() -> None:
    begun, released = asyncio.Event(), asyncio.Event()

    async def talks(call: Call) -> None:
        await call.begin()
        await call.piece(chunk("hello"))
        if len(east.calls) == 1:
            begun.set()
            await released.wait()
        await call.piece(finish() + DONE)
        await call.end()

    async with scripted(talks) as east, world(elsewhere("east", east.url), cache={}) as here:
        leader = asyncio.create_task(here.chat(stream=True))
        await begun.wait()
        assert (await here.chat(stream=True)).cache == "miss"
        assert not leader.done()
        released.set()
        assert (await leader).status == 200


async def test_nobody_waits_for_another_longer_than_an_answer_may_take() -> None:
    begun, released = asyncio.Event(), asyncio.Event()

    async def talks(call: Call) -> None:
        if len(east.calls) > 1:
            await call.answer(completion())
            return
        await call.begin()
        await call.piece(chunk("hello"))
        begun.set()
        await released.wait()
        await call.piece(finish() + DONE)
        await call.end()

    total = {"timeouts": {"total": "100ms"}}
    async with scripted(talks) as east, world(elsewhere("east", east.url), cache={}, failover=total) as here:
        leader = asyncio.create_task(here.chat(stream=True))
        await begun.wait()
        follower = await here.chat()
        assert (follower.status, follower.cache) == (200, "miss")
        assert not leader.done()
        released.set()
        assert (await leader).status == 200


async def test_followers_of_a_stream_may_want_a_body() -> None:
    async with world(provider("east", ttft=SLOWLY), cache={}) as here:
        (leader,) = await started(here, 1, stream=True)
        follower = await here.chat(stream=False)

        assert follower.cache == "coalesced"
        assert follower.text == (await leader).text


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_after_a_failure_the_followers_go_alone(stream: bool) -> None:
    east = provider("east", faults=[Status(status=500, delay=Duration(0.05))])
    async with world(east, cache={}, failover={"maxAttempts": 1}) as here:
        answers = await asyncio.gather(*await started(here, 4, stream=stream))

        assert {answer.status for answer in answers} == {502}
        assert all(answer.attempts for answer in answers)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_when_the_leader_hangs_up_the_work_goes_on_for_those_who_wait(stream: bool) -> None:
    async with world(provider("east", ttft=SLOWLY), cache={}) as here, here.app() as leader:
        leader.ask(CHAT, chat(stream=stream))
        await here.arrived("east")
        follower = asyncio.create_task(here.chat())
        await waiting(here, 1)
        leader.hang_up()

        answer = await follower
        assert (answer.status, answer.cache) == (200, "coalesced")
        assert here.requests("east") == 1
        assert here.fleet["east"].stats.cancelled == 0
        assert (await here.chat(stream=stream)).cache == "hit"


async def test_when_the_leader_hangs_up_in_mid_stream_the_work_goes_on_for_those_who_wait() -> None:
    async with world(provider("east", tokens_per_second=Speed(median=200)), cache={}) as here, here.app() as leader:
        leader.ask(CHAT, chat(stream=True))
        await leader.head()
        await leader.chunk()
        follower = asyncio.create_task(here.chat())
        await waiting(here, 1)
        leader.hang_up()

        answer = await follower
        assert answer.cache == "coalesced"
        assert answer.text
        assert here.requests("east") == 1


@pytest.mark.parametrize("leader_first", [True, False])
async def test_when_the_last_one_leaves_the_attempt_is_cancelled(leader_first: bool) -> None:
    async with world(provider("east", faults=[BlackHole()]), cache={}) as here:
        async with here.app() as leader, here.app() as follower:
            leader.ask(CHAT, chat())
            await here.arrived("east")
            follower.ask(CHAT, chat())
            await waiting(here, 1)
            first, last = (leader, follower) if leader_first else (follower, leader)
            first.hang_up()
            await waiting(here, 0) if first is follower else await asyncio.sleep(0.02)
            assert here.fleet["east"].stats.cancelled == 0
            last.hang_up()
            await here.settled()
            await here.left("east")

        assert (await here.metrics()).by("llmroute_attempts_total", "outcome") == {"cancelled": 1}


async def test_a_follower_that_leaves_disturbs_nobody() -> None:
    async with world(provider("east", ttft=SLOWLY), cache={}) as here, here.app() as follower:
        (leader,) = await started(here, 1)
        follower.ask(CHAT, chat())
        await waiting(here, 1)
        follower.hang_up()

        assert (await leader).status == 200


@pytest.mark.parametrize("fault", [Status(status=500), Status(status=422)], ids=["target's", "app's"])
async def test_a_connection_goes_on_after_an_error_with_the_cache_on(fault: Fault) -> None:
    once = {"maxAttempts": 1}
    async with world(provider("east", faults=[fault]), cache={}, failover=once) as here, here.app() as app:
        for _ in range(3):
            app.ask(CHAT, chat())
            answer = await app.answer()
            assert answer.status in (502, 422)
            assert "connection" not in answer.headers


async def waiting(here: World, followers: int) -> None:
    """Waits until so many follow the one flight that is under way."""
    async with asyncio.timeout(5.0):
        while True:
            (flight,) = here.route.flights._under_way.values()
            if sum(not waiter.done() for waiter in flight.waiters or ()) == followers:
                return
            await asyncio.sleep(0.001)


async def test_an_app_that_does_not_read_holds_up_nobody_else() -> None:
    """The leader's app takes nothing; the others get the answer all the same."""
    large = "x" * 2_000_000
    frames = chunk("begin") + b"".join([chunk(large[:100_000])] * 120) + finish() + DONE

    async def talks(call: Call) -> None:
        await call.begin()
        await call.piece(frames[:1000])
        await asyncio.sleep(0.05)
        await call.piece(frames[1000:])
        await call.end()

    async with scripted(talks) as east, world(elsewhere("east", east.url), cache={"maxBytes": "256Mi"}) as here:
        with socket.create_connection(("127.0.0.1", here.sidecar.app_port)) as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.sendall(request(CHAT, chat(stream=True)))
            while not here.route.flights:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
            follower = await here.chat()

            assert follower.cache == "coalesced"
            assert len(follower.text) > 12_000_000 - 1
            assert here.target("east").slots.in_flight == 0


async def test_a_whole_answer_is_shared_before_the_first_app_has_taken_it() -> None:
    body = completion("x" * 12_000_000)

    async def answers(call: Call) -> None:
        await asyncio.sleep(0.05)
        await call.answer(body)

    async with scripted(answers) as east, world(elsewhere("east", east.url), cache={"maxBytes": "64Mi"}) as here:
        with socket.create_connection(("127.0.0.1", here.sidecar.app_port)) as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.sendall(request(CHAT, chat()))
            while not here.route.flights:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
            assert (await here.chat()).cache == "coalesced"


async def test_nobody_waits_for_an_answer_that_has_grown_too_large_to_be_shared() -> None:
    released = asyncio.Event()

    async def talks(call: Call) -> None:
        if len(east.calls) > 1:
            await call.answer(completion())
            return
        await call.begin()
        await call.piece(chunk("x" * 2000))
        await asyncio.sleep(0.05)
        await call.piece(chunk("x" * 2000))
        await released.wait()
        await call.piece(finish() + DONE)
        await call.end()

    async with scripted(talks) as east, world(elsewhere("east", east.url), cache={"maxBytes": "10Ki"}) as here:
        leader = asyncio.create_task(here.chat(stream=True))
        while not here.route.flights:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
        follower = await here.chat()

        assert (follower.status, follower.cache) == (200, "miss")
        assert not leader.done()
        released.set()
        assert (await leader).status == 200

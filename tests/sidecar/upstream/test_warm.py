"""Ready connections, kept so that a quiet pod does not pay for a new one."""

import asyncio
import logging

import pytest
from tests.sidecar.upstream.conftest import World, ask, send
from tests.sidecar.upstream.script import Step, answers, closes, hears, hears_end, resets, serves, tells, waits

from llmroute.errors import ConnectFailed
from llmroute.upstream import Origin, Tuning

BRIEF = 0.05


async def test_nothing_is_dialled_before_the_first_request(world: World) -> None:
    target = await world.target()
    world.pool(target.origin, warm=3, tuning=Tuning(sweep_every=0.01))
    await asyncio.sleep(BRIEF)
    assert target.connections == 0


async def test_after_the_first_request_connections_are_kept_ready(world: World) -> None:
    target = await world.target([hears(), answers()], others=[serves()])
    pool = world.pool(target.origin, warm=2)
    response = await send(pool)
    await asyncio.sleep(BRIEF)
    assert "2 ready of 3" in repr(pool)
    await response.body(10)
    response.release()


async def test_one_that_is_taken_is_replaced(world: World) -> None:
    target = await world.target(others=[hears_end])
    pool = world.pool(target.origin, warm=1)
    responses = []
    for _ in range(3):
        responses.append(await send(pool))
        await asyncio.sleep(BRIEF)
        assert "1 ready" in repr(pool)
    assert [response.reused for response in responses] == [False, True, True]
    for response in responses:
        response.release()


@pytest.mark.parametrize("goes", [closes, resets])
async def test_one_that_dies_is_replaced(world: World, goes: Step) -> None:
    die = asyncio.Event()
    target = await world.target([hears(), answers(), waits(die), goes], others=[serves()])
    pool = world.pool(target.origin, warm=1)
    await ask(pool)
    die.set()
    await asyncio.sleep(BRIEF)
    assert "1 ready of 1" in repr(pool)
    assert (await ask(pool)).response.reused


async def test_one_that_grows_old_is_replaced_before_it_is_closed(world: World) -> None:
    target = await world.target(others=[serves()])
    tuning = Tuning(idle_limit=0.5, retire_lead=0.4, sweep_every=0.01)
    pool = world.pool(target.origin, warm=1, tuning=tuning)
    await ask(pool)
    for _ in range(30):
        await asyncio.sleep(0.02)
        assert "0 ready" not in repr(pool)
    assert target.connections >= 3


async def test_one_that_was_never_used_and_is_closed_under_the_request_is_replaced(world: World) -> None:
    target = await world.target([hears(), answers()], [hears(), closes], [hears(), answers("third")])
    pool = world.pool(target.origin, warm=1)
    first = await send(pool)
    await first.body(10)
    await asyncio.sleep(BRIEF)
    pool.warm = 0
    second = await send(pool)  # on the spare, which has not carried a request
    assert second.reused
    assert await second.body(10) == b"third"
    first.release()
    second.release()


async def test_an_origin_that_is_down_is_dialled_more_and_more_slowly(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    die = asyncio.Event()
    target = await world.target([hears(), answers(), waits(die), closes], [waits(die), closes])
    pool = world.pool(target.origin, warm=1, tuning=Tuning(sweep_every=0.01, retire_lead=0.01))
    with caplog.at_level(logging.WARNING):
        response = await send(pool)
        await response.body(10)
        await asyncio.sleep(BRIEF)
        response.release()
        target.stop_listening()
        die.set()
        await asyncio.sleep(3 * BRIEF)
    assert [record.message for record in caplog.records] == [
        f"{pool.origin}: connection refused; dialling again in the background"
    ]
    assert pool._backoff >= 0.5
    with pytest.raises(ConnectFailed, match="connection refused"):
        await ask(pool)  # a request does not wait for the back-off


async def test_an_origin_that_accepts_and_closes_is_not_dialled_without_end(world: World) -> None:
    target = await world.target([hears(), answers()], others=[closes])
    pool = world.pool(target.origin, warm=1, tuning=Tuning(sweep_every=0.01))
    response = await send(pool)
    await response.body(10)
    await asyncio.sleep(4 * BRIEF)
    assert target.connections <= 3
    response.release()


async def test_a_back_off_ends_with_the_next_answer(world: World) -> None:
    target = await world.target([hears(), answers()])
    pool = world.pool(target.origin)
    pool._backoff = 8.0
    await ask(pool)
    assert pool._backoff == 0.0


async def test_a_dial_that_nobody_waits_for_any_more_is_kept(world: World) -> None:
    accepted = asyncio.Event()
    target = await world.target([tells(accepted), hears_end])
    pool = world.pool(target.origin, warm=1)
    waiting = asyncio.ensure_future(send(pool))
    await asyncio.sleep(0)
    waiting.cancel()
    await accepted.wait()
    await asyncio.sleep(0.01)
    assert "1 ready of 1" in repr(pool)


async def test_a_first_dial_that_fails_keeps_nothing_warm(world: World) -> None:
    target = await world.target()
    target.stop_listening()
    pool = world.pool(Origin("http", "127.0.0.1", target.origin.port), warm=1, tuning=Tuning(sweep_every=0.01))
    with pytest.raises(ConnectFailed):
        await ask(pool)
    await asyncio.sleep(BRIEF)
    assert "0 ready of 0" in repr(pool)

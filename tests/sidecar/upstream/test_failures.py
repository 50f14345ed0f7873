"""Each stage at which a target can fail, and what it is called."""

import asyncio
import socket

import pytest
from tests.sidecar.upstream.conftest import World, ask, send
from tests.sidecar.upstream.script import (
    Step,
    answers,
    closes,
    hears,
    hears_close,
    hears_end,
    hears_head,
    pauses,
    resets,
    says,
    waits,
)

from llmroute.errors import AttemptCancelled, ConnectFailed, ConnectTimeout, StreamBroken, TotalTimeout
from llmroute.upstream import Origin, Tuning

OK = "HTTP/1.1 200 OK\r\n"
CHUNKED = OK + "Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([resets], "reset before the answer began"),
        ([hears(), pauses(0.02), resets], "reset before the answer began"),
        ([hears(), says("HTTP/1.1 2"), pauses(0.02), resets], "reset before the answer began"),
        ([hears(), says(OK + "Content-"), pauses(0.02), resets], "reset before the answer began"),
        (
            [hears(), says(OK + "Content-Length: 9\r\n\r\n"), pauses(0.02), resets],
            "reset before the answer was complete",
        ),
        ([hears(), says(CHUNKED + "5\r\nhe"), pauses(0.02), resets], "reset before the answer was complete"),
        (
            [hears(), says(CHUNKED + "5\r\nhello\r\n0\r\n"), pauses(0.02), resets],
            "reset before the answer was complete",
        ),
        ([hears(), closes], "closed before the answer began"),
    ],
)
async def test_a_connection_that_dies_says_when(world: World, script: list[Step], reason: str) -> None:
    pool = await world.pool_of(script)
    with pytest.raises(StreamBroken, match=rf"127\.0\.0\.1:\d+: the connection was {reason}") as broken:
        await ask(pool)
    if "reset" in reason:
        assert isinstance(broken.value.__cause__, ConnectionError)


async def test_a_refused_connection(world: World) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        pool = world.pool(Origin("http", "127.0.0.1", unheard.getsockname()[1]))
        with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1:\d+: connection refused") as failed:
            await ask(pool)
    assert isinstance(failed.value.__cause__, ConnectionRefusedError)


async def test_a_connection_that_takes_too_long(world: World) -> None:
    with socket.socket() as full:  # a backlog of one that nobody empties: further SYNs are dropped
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(2):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        pool = world.pool(Origin("http", "127.0.0.1", full.getsockname()[1]))
        with pytest.raises(ConnectTimeout, match=r"no connection within 0\.05 s, while connecting to 127\.0\.0\.1"):
            await send(pool, connect_timeout=0.05)
        for filler in fillers:
            filler.close()


async def test_a_response_is_aborted_with_the_reason_of_whoever_ends_it(world: World) -> None:
    pool = await world.pool_of([hears(), hears_close])
    response = await send(pool)
    asyncio.get_running_loop().call_later(0.01, response.abort, TotalTimeout("too slow"))
    with pytest.raises(TotalTimeout, match="too slow"):
        await response.body(10)
    with pytest.raises(TotalTimeout):
        await response.read()
    response.release()


async def test_an_aborted_response_gives_nothing_any_more(world: World) -> None:
    pool = await world.pool_of([hears(), answers("all of it"), hears_close])
    response = await send(pool)
    await response.head()
    await asyncio.sleep(0.02)
    response.abort()
    for taking in (response.read(), response.body(10)):
        with pytest.raises(AttemptCancelled):
            await taking
    response.release()


async def test_abort_before_anyone_waits(world: World) -> None:
    pool = await world.pool_of([hears_end])
    response = await send(pool)
    response.abort(TotalTimeout("too slow"))
    with pytest.raises(TotalTimeout):
        await response.head()
    response.release()


async def test_abort_after_release_harms_nobody(world: World) -> None:
    pool = await world.pool_of([hears(), answers("one"), hears(), answers("two")])
    response = (await ask(pool)).response
    response.abort()
    assert (await ask(pool)).body == b"two"


@pytest.mark.parametrize("waits_for", ["head", "body", "read"])
async def test_a_cancelled_wait_closes_the_connection(world: World, waits_for: str) -> None:
    pool = await world.pool_of([hears(), hears_close], [hears(), answers("next")])
    response = await send(pool)
    taking = {"head": response.head, "body": lambda: response.body(10), "read": response.read}[waits_for]

    async def attempt() -> None:
        try:
            await taking()
        finally:
            response.release()

    task = asyncio.ensure_future(attempt())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await ask(pool)).body == b"next"


async def test_an_answer_that_comes_as_its_reader_is_cancelled_is_lost_alone(world: World) -> None:
    go = asyncio.Event()
    pool = await world.pool_of([hears(), waits(go), answers("late"), hears_end], [hears(), answers("mine")])
    response = await send(pool)
    task = asyncio.ensure_future(response.body(10))
    go.set()
    while not response.complete:  # noqa: ASYNC110 - between two steps of the event loop
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    response.release()
    assert (await ask(pool)).body == b"mine"


async def test_a_connection_that_dies_as_it_is_handed_over(world: World) -> None:
    pool = await world.pool_of([closes], [hears(), answers()])
    with pytest.raises((StreamBroken, ConnectFailed), match="closed"):
        await ask(pool)
    assert (await ask(pool)).body == b"ok"


async def test_closing_the_client_ends_what_is_under_way(world: World) -> None:
    target = await world.target([hears(), hears_close])
    client = world.client()
    pool = client.pool(target.origin)
    pool.warm = 0
    response = await send(pool)
    reading = asyncio.ensure_future(response.body(10))
    await asyncio.sleep(0.01)
    await client.aclose()
    with pytest.raises(StreamBroken):
        await reading
    response.release()
    with pytest.raises(ConnectFailed, match="the client is closed"):
        await send(pool)


async def test_closing_the_client_ends_dials(world: World) -> None:
    looking_up = asyncio.Event()

    async def resolve(host: str, port: int) -> list[object]:
        looking_up.set()
        await asyncio.sleep(60)
        return []

    client = world.client(resolve=resolve)
    waiting = asyncio.ensure_future(send(client.pool(Origin("http", "slow.test", 80))))
    await looking_up.wait()
    await client.aclose()
    with pytest.raises(ConnectFailed, match="the client is closed"):
        await waiting


async def test_a_pool_that_no_configuration_names_serves_to_the_end_and_keeps_nothing(world: World) -> None:
    go = asyncio.Event()
    target = await world.target(
        [hears(), answers("one"), hears_close],
        [hears(), waits(go), answers("two"), hears_close],
        [hears(), answers("three")],
    )
    client = world.client(tuning=Tuning(sweep_every=0.01))
    pool = client.pool(target.origin)
    pool.warm = 0
    idle, busy = await send(pool), await send(pool)
    await idle.body(10)
    idle.release()
    client.retain(set())
    assert client.pool(target.origin) is not pool
    go.set()
    assert await busy.body(10) == b"two"
    busy.release()
    assert (await ask(pool)).body == b"three"
    assert "0 ready" in repr(pool)
    await asyncio.sleep(0.05)
    assert pool.empty


async def test_retained_pools_stay(world: World) -> None:
    client = world.client()
    kept = client.pool(Origin("http", "kept.test", 80))
    client.retain({kept.origin})
    assert client.pool(Origin("http", "kept.test", 80)) is kept


async def test_a_head_without_its_request_read(world: World) -> None:
    pool = await world.pool_of([hears_head(), answers("early")])
    assert (await ask(pool, b"small")).body == b"early"

"""When a connection serves a second request, and when it must not."""

import asyncio
import socket

import pytest
from aiohappyeyeballs import AddrInfoType
from tests.sidecar.upstream.conftest import World, ask, send
from tests.sidecar.upstream.script import (
    Step,
    answers,
    closes,
    floods,
    half_closes,
    hears,
    hears_close,
    hears_end,
    resets,
    says,
    tells,
    waits,
)

from llmroute.errors import ConnectFailed, StreamBroken
from llmroute.upstream import Origin, Tuning

OK = "HTTP/1.1 200 OK\r\n"


class SlowNames:
    """A resolver that answers the first question, and hangs at the next."""

    def __init__(self) -> None:
        self.asked_again = asyncio.Event()
        self._asked = False

    async def __call__(self, host: str, port: int) -> list[AddrInfoType]:
        if self._asked:
            self.asked_again.set()
            await asyncio.sleep(60)
        self._asked = True
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]


async def test_a_connection_is_used_again(world: World) -> None:
    pool = await world.pool_of([hears(), answers("one"), hears(), answers("two")])
    first, second = await ask(pool), await ask(pool)
    assert (first.body, second.body) == (b"one", b"two")
    assert not first.response.reused
    assert second.response.reused
    assert second.response.connect == 0.0


async def test_concurrent_requests_have_a_connection_each_and_the_last_used_goes_first(world: World) -> None:
    answer = asyncio.Event()
    target = await world.target(
        [hears(), waits(answer), answers("first")],
        [hears(), answers("second"), tells(answer), hears(), answers("first again")],
    )
    pool = world.pool(target.origin)
    slow = await send(pool)
    quick = await send(pool)
    assert await quick.body(10) == b"second"
    assert await slow.body(10) == b"first"
    slow.release()
    quick.release()
    assert (await ask(pool)).body == b"first again"
    assert repr(pool) == f"<Pool {pool.origin}: 2 ready of 2>"


@pytest.mark.parametrize(
    "answer",
    [
        OK + "Content-Length: 2\r\nConnection: close\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_a_target_that_will_close_is_not_used_again(world: World, answer: str) -> None:
    pool = await world.pool_of([hears(), says(answer), hears_close], [hears(), answers("next")])
    assert (await ask(pool)).body == b"ok"
    assert (await ask(pool)).body == b"next"


async def test_http_1_0_may_keep_alive(world: World) -> None:
    pool = await world.pool_of(
        [
            hears(),
            says("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"),
            hears(),
            answers("b"),
        ]
    )
    assert (await ask(pool)).body == b"ok"
    assert (await ask(pool)).body == b"b"


@pytest.mark.parametrize("extra", ["HT", "garbage", OK + "Content-Length: 6\r\n\r\nstolen", "\0"])
async def test_bytes_after_the_end_never_reach_the_next_answer(world: World, extra: str) -> None:
    pool = await world.pool_of(
        [hears(), says(OK + "Content-Length: 2\r\n\r\nok" + extra), hears_end], [hears(), answers("right")]
    )
    assert (await ask(pool)).body == b"ok"
    assert (await ask(pool)).body == b"right"


async def test_bytes_that_come_to_an_idle_connection_close_it(world: World) -> None:
    taken = asyncio.Event()
    pool = await world.pool_of(
        [hears(), answers("ok"), waits(taken), says("HTTP/1.1 408 Request Timeout\r\n\r\n"), hears_close],
        [hears(), answers("right")],
    )
    await ask(pool)
    taken.set()
    await asyncio.sleep(0.05)
    assert "0 ready of 0" in repr(pool)
    assert (await ask(pool)).body == b"right"


async def test_a_response_released_before_its_end_closes_its_connection(world: World) -> None:
    pool = await world.pool_of(
        [hears(), says(OK + "Content-Length: 100\r\n\r\nsome"), hears_close], [hears(), answers("mine")]
    )
    response = await send(pool)
    await response.head()
    response.release()
    response.release()
    assert (await ask(pool)).body == b"mine"
    with pytest.raises(RuntimeError, match="released"):
        await response.read()


async def test_a_whole_answer_that_was_not_taken_is_not_left_to_the_next(world: World) -> None:
    pool = await world.pool_of([hears(), answers("not taken"), hears_close], [hears(), answers("mine")])
    response = await send(pool)
    await response.head()
    await asyncio.sleep(0.02)
    assert response.complete
    response.release()
    assert (await ask(pool)).body == b"mine"


async def test_a_response_released_before_anything_came_closes_its_connection(world: World) -> None:
    pool = await world.pool_of([hears(), hears_close], [hears(), answers("mine")])
    (await send(pool)).release()
    assert (await ask(pool)).body == b"mine"


@pytest.mark.parametrize("goes", [closes, resets, half_closes])
async def test_an_idle_connection_that_closes_is_noticed_at_once(world: World, goes: Step) -> None:
    taken = asyncio.Event()
    pool = await world.pool_of([hears(), answers(), waits(taken), goes], [hears(), answers("fresh")])
    await ask(pool)
    taken.set()
    await asyncio.sleep(0.05)
    assert "0 ready" in repr(pool)
    answer = await ask(pool)
    assert (answer.body, answer.response.reused) == (b"fresh", False)


@pytest.mark.parametrize("goes", [closes, resets])
async def test_a_connection_closed_just_as_it_is_reused_is_replaced(world: World, goes: Step) -> None:
    pool = await world.pool_of(
        [hears(), answers("one"), hears(body=b"two?"), goes],
        [hears(body=b"two?"), answers("two")],
    )
    await ask(pool)
    answer = await ask(pool, b"two?")
    assert answer.body == b"two"
    assert not answer.response.reused


async def test_a_large_body_is_repeated_from_its_begin(world: World) -> None:
    body = b"x" * 3_000_000
    pool = await world.pool_of([hears(), answers("one"), half_closes], [hears(body=body), answers("two")])
    await ask(pool)
    response = await send(pool, body)  # the FIN is there, the event loop has not seen it yet
    try:
        assert await response.body(10) == b"two"
    finally:
        response.release()


async def test_it_is_repeated_once_only(world: World) -> None:
    pool = await world.pool_of([hears(), answers("one"), hears(), closes], [hears(), closes])
    await ask(pool)
    with pytest.raises(StreamBroken, match="closed before the answer began"):
        await ask(pool)


async def test_nothing_is_repeated_once_a_byte_has_come(world: World) -> None:
    pool = await world.pool_of([hears(), answers("one"), hears(), says("HTTP/1.1 2"), closes])
    await ask(pool)
    with pytest.raises(StreamBroken, match="closed before the answer began"):
        await ask(pool)


async def test_nothing_is_repeated_on_a_fresh_connection(world: World) -> None:
    pool = await world.pool_of([hears(), closes])
    with pytest.raises(StreamBroken, match="closed before the answer began"):
        await ask(pool)


async def test_a_target_that_worked_for_long_and_died_does_not_get_the_request_again(world: World) -> None:
    died = asyncio.Event()
    pool = await world.pool_of([hears(), answers("one"), hears(), waits(died), closes])
    await ask(pool)
    response = await send(pool)
    response.written_at -= 2.0  # as if it had been written two seconds ago
    died.set()
    try:
        with pytest.raises(StreamBroken):
            await response.body(10)
    finally:
        response.release()


async def test_the_repeat_may_fail_to_connect(world: World) -> None:
    target = await world.target([hears(), answers("one"), hears(), closes])
    pool = world.pool(target.origin)
    await ask(pool)
    target.stop_listening()
    with pytest.raises(ConnectFailed, match="connection refused"):
        await ask(pool)


async def test_a_repeat_can_be_aborted(world: World) -> None:
    target = await world.target([hears(), answers("one"), hears(), closes], others=[hears_end])
    names = SlowNames()
    pool = world.pool(Origin("http", "target.test", target.origin.port), resolve=names, tuning=Tuning(dns_ttl=0.0))
    await ask(pool)
    response = await send(pool)
    reading = asyncio.ensure_future(response.body(10))
    await names.asked_again.wait()
    response.abort(StreamBroken("enough"))
    with pytest.raises(StreamBroken, match="enough"):
        await reading
    response.release()


async def test_the_keep_alive_header_is_respected(world: World) -> None:
    pool = await world.pool_of(
        [hears(), answers("one", "200 OK", "Keep-Alive: timeout=1, max=100"), hears_close], [hears(), answers("two")]
    )
    assert (await ask(pool)).body == b"one"
    assert (await ask(pool)).body == b"two"


async def test_idle_connections_are_closed_after_a_while(world: World) -> None:
    pool = await world.pool_of([hears(), answers(), hears_close], tuning=Tuning(idle_limit=0.05, sweep_every=0.02))
    await ask(pool)
    assert "1 ready" in repr(pool)
    await asyncio.sleep(0.15)
    assert "0 ready of 0" in repr(pool)


async def test_old_connections_are_not_used_again(world: World) -> None:
    pool = await world.pool_of([hears(), answers(), hears_close], [hears(), answers()], tuning=Tuning(max_age=0.0))
    await ask(pool)
    assert not (await ask(pool)).response.reused


async def test_a_request_that_waits_takes_a_connection_that_comes_free(world: World) -> None:
    target = await world.target([hears(), answers("one"), hears(), answers("two")], others=[hears_end])
    names = SlowNames()
    pool = world.pool(Origin("http", "target.test", target.origin.port), resolve=names, tuning=Tuning(dns_ttl=0.0))
    first = await send(pool)
    second = asyncio.ensure_future(ask(pool))
    await names.asked_again.wait()
    assert await first.body(10) == b"one"
    first.release()
    answer = await second
    assert (answer.body, answer.response.reused) == (b"two", True)


async def test_an_abandoned_wait_loses_no_connection(world: World) -> None:
    target = await world.target([hears(), answers()])
    pool = world.pool(target.origin)
    waiting = asyncio.ensure_future(send(pool))
    await asyncio.sleep(0)
    waiting.cancel()
    for _ in range(500):
        if "1 ready of 1" in repr(pool):
            break
        await asyncio.sleep(0.01)
    assert (await ask(pool)).response.reused


async def test_a_flood_on_an_idle_connection_is_cut(world: World) -> None:
    taken = asyncio.Event()
    pool = await world.pool_of([hears(), answers(), waits(taken), floods(*["x" * 65536] * 100)])
    await ask(pool)
    taken.set()
    await asyncio.sleep(0.02)


async def test_bytes_that_come_late_but_before_the_release_close_the_connection(world: World) -> None:
    more = asyncio.Event()
    pool = await world.pool_of(
        [hears(), answers("ok"), waits(more), says(OK + "Content-Length: 6\r\n\r\nstolen"), hears_end],
        [hears(), answers("right")],
    )
    response = await send(pool)
    assert await response.body(10) == b"ok"
    more.set()
    await asyncio.sleep(0.05)
    response.release()
    assert (await ask(pool)).body == b"right"


async def test_a_keep_alive_header_that_says_nothing_of_time(world: World) -> None:
    pool = await world.pool_of([hears(), answers("one", "200 OK", "Keep-Alive: max=5"), hears(), answers("two")])
    assert (await ask(pool)).body == b"one"
    assert (await ask(pool)).response.reused

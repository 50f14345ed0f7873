"""Connections: how long they live, in which order answers leave, and what a hang-up ends."""

import asyncio

import pytest
from tests.sidecar.inbound.echo import echo, post, says, start

from llmroute.inbound import Arrival, server
from llmroute.relay import EVENT_STREAM, JSON, Pipe, send_whole


async def never(arrival: Arrival) -> None:
    await asyncio.Event().wait()


async def test_answers_leave_in_the_order_of_the_requests() -> None:
    async def later_ones_are_faster(arrival: Arrival) -> None:
        await asyncio.sleep(0.001 * (10 - int(arrival.whole)))
        await says(arrival)

    async with echo(later_ones_are_faster) as here, here.app() as app:
        app.send(b"".join(post(b"%d" % number, f"X: {number % 3}") for number in range(10)))
        assert [(await app.answer()).json["body"] for _ in range(10)] == [str(number) for number in range(10)]


@pytest.mark.parametrize("piece", [1, 5, 64, 1000])
async def test_requests_may_come_in_any_pieces(piece: int) -> None:
    raw = b"".join((post(b"one"), post(b"second"), start("x: y", first="GET / HTTP/1.1"), post(b""), post(b"last")))
    async with echo() as here, here.app() as app:
        for at in range(0, len(raw), piece):
            app.send(raw[at : at + piece])
            await asyncio.sleep(0)
        assert [(await app.answer()).json["body"] for _ in range(5)] == ["one", "second", "", "", "last"]


async def test_empty_lines_before_a_request_mean_nothing() -> None:
    async with echo() as here, here.app() as app:
        for _ in range(2):
            app.send(b"\r\n\r\n" + post() + b"\r\n")
            assert (await app.answer()).status == 200


async def test_nothing_is_heard_behind_the_request_that_closes() -> None:
    async with echo() as here, here.app() as app:
        app.send(post(b"{}", "Connection: close") + post())
        assert (await app.answer()).headers["connection"] == "close"
        assert await app.closed()
        assert len(here.arrivals) == 1


async def test_a_tunnel_is_not_opened() -> None:
    async with echo() as here, here.app() as app:
        app.send(start(first="CONNECT example.com:443 HTTP/1.1") + post())
        answer = await app.answer()
        assert (answer.json["method"], answer.headers["connection"]) == ("CONNECT", "close")
        assert await app.closed()
        assert len(here.arrivals) == 1


async def test_an_offer_of_another_protocol_is_not_taken_up() -> None:
    """Java's client makes one with its first request."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    async with echo() as here, here.app() as app:
        for _ in range(2):
            app.send(post(b"hello", *offer))
            assert (await app.answer()).json["body"] == "hello"


async def test_refusals_are_told_and_numbered() -> None:
    async with echo() as here, here.app() as app:
        app.send(post())
        assert (await app.answer()).status == 200
        app.send(start("x: " + "y" * 20_000))
        answer = await app.answer()
        assert (answer.status, answer.headers["x-request-id"]) == (431, "the-id")
        assert await app.closed()
        assert here.told == [(431, "invalid_request")]


async def test_a_head_that_drips_behind_another_request_is_ended() -> None:
    async with echo(header_timeout=0.1) as here, here.app() as app:
        app.send(post() + b"POST /v1/x HT")
        assert (await app.answer()).status == 200
        assert (await app.answer()).status == 408


# Hanging up.


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_hang_up_cancels_the_work(how: str) -> None:
    async with echo(never) as here, here.app() as app:
        app.send(post())
        await here.begun.wait()
        if how == "reset":
            app.hang_up()
        else:
            app.writer.close()
        async with asyncio.timeout(5):
            await here.cancelled.wait()


async def test_a_hang_up_in_the_middle_of_a_body_ends_the_request() -> None:
    async with echo() as here, here.app() as app:
        app.send(start("content-length: 100") + b"x")
        await here.begun.wait()
        app.hang_up()
        async with asyncio.timeout(5):
            await here.over.wait()


async def test_work_that_others_wait_for_goes_on() -> None:
    done = asyncio.Event()
    outcome: list[str] = []

    async def works(arrival: Arrival) -> None:
        arrival.goes_on = lambda: True
        await done.wait()
        try:
            arrival.write(b"x")
        except ConnectionError:
            outcome.append("hung up")

    async with echo(works) as here:
        async with here.app() as app:
            app.send(post())
            await here.begun.wait()
            app.hang_up()
        await asyncio.sleep(0.05)
        assert not here.cancelled.is_set()
        done.set()
        async with asyncio.timeout(5):
            await here.server.drain()
        assert outcome == ["hung up"]


async def test_an_app_that_has_nothing_more_to_say_gets_an_answer_that_needs_no_waiting() -> None:
    async with echo() as here, here.app() as app:
        app.send(post(b"hello"))
        app.writer.write_eof()
        assert (await app.answer()).json["body"] == "hello"
        assert await app.closed()


async def test_a_slow_reader_holds_up_whoever_writes() -> None:
    written = 0

    async def streams(arrival: Arrival) -> None:
        nonlocal written
        pipe = Pipe(arrival)
        pipe.begin(200, EVENT_STREAM, b"")
        for _ in range(300):
            await pipe.write(b"x" * 100_000)
            written += 1
        await pipe.write(b"", last=True)

    async with echo(streams) as here, here.app() as app:
        app.send(post())
        await here.begun.wait()
        await asyncio.sleep(0.1)
        assert written < 200
        assert len((await app.answer()).body) == 30_000_000


async def test_an_app_that_does_not_read_and_hangs_up_ends_the_writing() -> None:
    async def streams(arrival: Arrival) -> None:
        pipe = Pipe(arrival)
        pipe.begin(200, EVENT_STREAM, b"")
        while True:
            await pipe.write(b"x" * 100_000)

    async with echo(streams) as here, here.app() as app:
        app.send(post())
        await here.begun.wait()
        await asyncio.sleep(0.05)
        app.hang_up()
        async with asyncio.timeout(5):
            await here.over.wait()


@pytest.mark.parametrize("begun", [True, False])
async def test_a_handler_that_fails_does_not_leave_the_app_waiting(
    begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(arrival: Arrival) -> None:
        if begun:
            pipe = Pipe(arrival)
            pipe.begin(200, JSON, b"")
            pipe.put(b"half", last=False)
        raise ZeroDivisionError

    async with echo(fails) as here, here.app() as app:
        app.send(post())
        answer = await app.answer()
        assert (answer.status, answer.whole) == ((200, False) if begun else (500, True))
        assert await app.closed()
    assert "ZeroDivisionError" in caplog.text


# How long they live.


async def test_an_idle_connection_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ROUND", 0.02)
    monkeypatch.setattr(server, "KEEP_ALIVE", 0.1)
    async with echo() as here, here.app() as silent, here.app() as app:
        for _ in range(8):
            app.send(post())
            assert (await app.answer()).status == 200
            await asyncio.sleep(0.02)
        assert await silent.closed()
        assert await app.closed()


async def test_a_long_answer_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ROUND", 0.01)
    monkeypatch.setattr(server, "KEEP_ALIVE", 0.02)

    async def takes_its_time(arrival: Arrival) -> None:
        await asyncio.sleep(0.1)
        await says(arrival)

    async with echo(takes_its_time) as here, here.app() as app:
        app.send(post())
        assert (await app.answer()).status == 200


async def test_to_drain_closes_what_is_idle_and_waits_for_the_rest() -> None:
    goes_on = asyncio.Event()

    async def waits(arrival: Arrival) -> None:
        await goes_on.wait()
        send_whole(arrival, 200, JSON, b"", b"1")

    async with echo(waits) as here, here.app() as idle, here.app() as busy:
        busy.send(post())
        await here.begun.wait()
        draining = asyncio.create_task(here.server.drain())
        assert await idle.closed()
        assert not draining.done()
        goes_on.set()
        assert (await busy.answer()).headers["connection"] == "close"
        assert await busy.closed()
        async with asyncio.timeout(5):
            await draining


async def test_a_request_that_has_begun_to_come_is_answered_before_all_is_closed() -> None:
    raw = post(b"hello")
    async with echo() as here, here.app() as app:
        app.send(post() + raw[:30])
        assert (await app.answer()).status == 200
        draining = asyncio.create_task(here.server.drain())
        await asyncio.sleep(0)
        app.send(raw[30:])
        answer = await app.answer()
        assert (answer.json["body"], answer.headers["connection"]) == ("hello", "close")
        assert await app.closed()
        async with asyncio.timeout(5):
            await draining


async def test_what_does_not_end_is_cut() -> None:
    async with echo(never) as here, here.app() as app:
        app.send(post())
        await here.begun.wait()
        here.server.cut()
        async with asyncio.timeout(5):
            await here.server.drain()
        assert here.cancelled.is_set()
        assert await app.closed()


async def test_a_request_that_is_cut_before_it_began_ends_all_the_same() -> None:
    async with echo(never) as here, here.app() as app:
        app.send(post())
        app.hang_up()
        await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            await here.server.drain()

"""Bodies: framing, coding, and back-pressure."""

import asyncio
import gzip

import pytest
from tests.sidecar.inbound.echo import body_of, echo, post, says, start

from llmroute.errors import BadRequest
from llmroute.inbound import Arrival, bodies, connection
from llmroute.relay import JSON, send_whole

CHUNKS = b"5;name=value\r\nhello\r\n1\r\n \r\n00005\r\nworld\r\n0\r\nTrailer: x\r\n\r\n"
CHUNKED = start("transfer-encoding: chunked")


@pytest.mark.parametrize("piece", [1, 3, 16, 1000])
@pytest.mark.parametrize(
    "raw", [CHUNKED + CHUNKS, start("content-length: 11") + b"hello world"], ids=["chunks", "length"]
)
async def test_a_body_may_come_in_any_pieces(raw: bytes, piece: int) -> None:
    async with echo() as here, here.app() as app:
        for _ in range(2):
            for at in range(0, len(raw), piece):
                app.send(raw[at : at + piece])
                await asyncio.sleep(0)
            assert (await app.answer()).json["body"] == "hello world"


BROKEN: dict[str, bytes] = {
    "no size": b"zz\r\n",
    "a blank size": b"\r\n",
    "a sign": b"+2\r\n{}\r\n0\r\n\r\n",
    "a prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a blank behind the size": b"2 \r\n{}\r\n0\r\n\r\n",
    "an endless size": b"F" * 17 + b"\r\n",
    "no CR behind the size": b"2\n{}\r\n0\r\n\r\n",
    "no CR in an extension": b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "a NUL in an extension": b"2;\0\r\n{}\r\n0\r\n\r\n",
    "no line end behind the chunk": b"2\r\n{}0\r\n\r\n",
    "no CR behind the chunk": b"2\r\n{}\n0\r\n\r\n",
    "too long a chunk": b"2\r\n{}}\r\n0\r\n\r\n",
    "a length in the trailers": b"2\r\n{}\r\n0\r\ncontent-length: 5\r\n\r\n",
    "a coding in the trailers": b"2\r\n{}\r\n0\r\ntransfer-encoding: chunked\r\n\r\n",
    "no trailer": b"2\r\n{}\r\n0\r\nx\r\n\r\n",
    "a flood of extensions": b"2;" + b"x" * 70_000,
    "a flood of trailers": b"2\r\n{}\r\n0\r\n" + b"a: b\r\n" * 200_000,
}


async def refuses(arrival: Arrival) -> None:
    try:
        await says(arrival)
    except BadRequest as error:
        send_whole(arrival, 400, JSON, b"", str(error).encode())


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
async def test_broken_chunks_end_the_connection(raw: bytes) -> None:
    async with echo(refuses) as here, here.app() as app:
        app.send(CHUNKED + raw)
        answer = await app.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        app.send(post())
        assert await app.closed()
        assert len(here.arrivals) == 1


async def test_what_comes_with_the_last_chunk_is_dropped_with_the_connection() -> None:
    """The parser does not say where it begins."""
    async with echo() as here, here.app() as app:
        app.send(CHUNKED + CHUNKS + post())
        answer = await app.answer()
        assert (answer.json["body"], answer.headers["connection"]) == ("hello world", "close")
        assert await app.closed()
        assert len(here.arrivals) == 1


async def test_what_comes_behind_the_last_chunk_is_another_request() -> None:
    async with echo() as here, here.app() as app:
        app.send(CHUNKED + CHUNKS)
        await here.begun.wait()
        app.send(post(b"next"))
        assert [(await app.answer()).json["body"] for _ in range(2)] == ["hello world", "next"]


async def test_a_compressed_body_is_inflated_by_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PIECE", 1000)
    sizes: list[int] = []

    async def reads(arrival: Arrival) -> None:
        assert arrival.body is not None
        while piece := await arrival.body.read():
            sizes.append(len(piece))
        send_whole(arrival, 200, JSON, b"", b"")

    packed = gzip.compress(b"x" * 100_000)
    async with echo(reads) as here, here.app() as app:
        app.send(post(packed, "Content-Encoding: gzip"))
        assert (await app.answer()).status == 200
    assert sum(sizes) == 100_000
    assert max(sizes) <= 1000


@pytest.mark.parametrize("packed", [b"no gzip", gzip.compress(b"hello")[:-5], gzip.compress(b"x" * 99_999)[:50]])
async def test_damaged_compression_is_a_bad_request(packed: bytes) -> None:
    async with echo(refuses) as here, here.app() as app:
        app.send(post(packed, "Content-Encoding: gzip"))
        assert (await app.answer()).status == 400


async def test_an_app_that_sends_more_than_is_read_is_held_up() -> None:
    goes_on = asyncio.Event()

    async def waits(arrival: Arrival) -> None:
        await goes_on.wait()
        send_whole(arrival, 200, JSON, b"", b"%d" % len(await body_of(arrival)))

    size = 30_000_000
    async with echo(waits) as here, here.app() as app:
        app.send(start(f"content-length: {size}") + b"x" * size)
        await here.begun.wait()
        body = here.arrivals[0].body
        assert body is not None
        await asyncio.sleep(0.1)
        assert bodies.HIGH < body.unread < 3 * bodies.HIGH
        goes_on.set()
        assert (await app.answer()).json == size


async def test_an_app_that_pipelines_without_end_is_held_up() -> None:
    goes_on = asyncio.Event()

    async def waits(arrival: Arrival) -> None:
        await goes_on.wait()
        await says(arrival)

    count = 200
    flood = post(b"x" * 100_000) * count
    async with echo(waits) as here, here.app() as app:
        app.send(flood)
        await here.begun.wait()
        await asyncio.sleep(0.05)
        assert app.writer.transport.get_write_buffer_size() > len(flood) // 4
        goes_on.set()
        for _ in range(count):
            assert (await app.answer()).status == 200


async def test_an_answer_before_the_end_of_the_body_reaches_an_app_that_goes_on_sending() -> None:
    """To close at once would reset the connection, and the answer would be lost."""

    async def refuses_at_once(arrival: Arrival) -> None:
        arrival.stays = False
        send_whole(arrival, 413, JSON, b"", b"too much")

    async with echo(refuses_at_once) as here, here.app() as app:
        app.send(start("content-length: 999999"))
        await here.begun.wait()
        for _ in range(20):
            app.send(b"x" * 10_000)
            await asyncio.sleep(0.002)
        answer = await app.answer()
        assert (answer.status, answer.body, answer.whole) == (413, b"too much", True)
        assert await app.closed()


async def test_an_answer_that_does_not_wait_for_the_body_ends_the_connection() -> None:
    async def does_not_read(arrival: Arrival) -> None:
        send_whole(arrival, 200, JSON, b"", b"{}")

    async with echo(does_not_read) as here, here.app() as app:
        app.send(start("content-length: 10") + b"12345")
        assert (await app.answer()).headers["connection"] == "close"
        app.send(b"67890" + post())
        assert await app.closed()
        assert len(here.arrivals) == 1


async def test_what_comes_behind_the_last_answer_is_dropped_even_if_it_looks_like_the_request_before() -> None:
    async def refuses_what_is_not_whole(arrival: Arrival) -> None:
        send_whole(arrival, 200 if arrival.complete else 413, JSON, b"", b"{}")

    async with echo(refuses_what_is_not_whole) as here:
        async with here.app() as app:
            app.send(post())
            assert (await app.answer()).status == 200
            app.send(post(b"{", length="100"))
            assert (await app.answer()).status == 413
            app.send(post())
            await asyncio.sleep(0.02)
            assert len(here.arrivals) == 2
        async with asyncio.timeout(5):
            await here.server.drain()


async def test_an_app_that_does_not_let_go_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER", 0.05)
    async with echo() as here, here.app() as app:
        app.send(b"nonsense\r\n\r\n")
        assert (await app.answer()).status == 400
        async with asyncio.timeout(5):
            await here.server.drain()

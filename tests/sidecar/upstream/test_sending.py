"""Requests that are large, or still arriving while they are sent."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.sidecar.upstream.conftest import World, ask, send
from tests.sidecar.upstream.script import (
    answers,
    closes,
    hears,
    hears_end,
    hears_head,
    says,
    waits,
)

from llmroute.errors import RequestTimeout, StreamBroken
from llmroute.upstream import Pool, Response, build_head


async def upload(pool: Pool, body: AsyncIterator[bytes], *headers: tuple[str, str]) -> Response:
    head = build_head("POST", "/v1/audio", pool.origin.authority, headers)
    return await pool.send_streaming(head, body, connect_timeout=5.0)


CHUNKED = ("transfer-encoding", "chunked")


class Pieces:
    """A body that arrives piece by piece, and tells whether it was closed."""

    def __init__(self, *pieces: bytes | Exception | asyncio.Event) -> None:
        self._pieces = pieces
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for piece in self._pieces:
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                else:
                    yield piece
        finally:
            self.closed = True


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 262_144, 262_145, 5_000_000])
async def test_bodies_of_any_size_arrive_whole(world: World, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    pool = await world.pool_of([hears(body=body[:size]), answers(), hears(), answers("next")])
    assert (await ask(pool, body[:size])).body == b"ok"
    assert (await ask(pool)).body == b"next"


async def test_a_refusal_before_the_body_is_sent_stops_it(world: World) -> None:
    pool = await world.pool_of(
        [hears_head("content-length: 50000000"), answers("too large", "413 Content Too Large"), hears_end],
        [hears(), answers()],
    )
    answer = await ask(pool, b"x" * 50_000_000)
    assert (answer.status, answer.body) == (413, b"too large")
    assert (await ask(pool)).response.reused is False


async def test_an_answer_before_the_body_is_sent_ends_it(world: World) -> None:
    pool = await world.pool_of([hears_head(), answers("enough"), hears_end], [hears(), answers()])
    assert (await ask(pool, b"x" * 50_000_000)).body == b"enough"
    assert (await ask(pool)).response.reused is False


async def test_a_target_that_does_not_read_can_be_given_up(world: World) -> None:
    given_up = asyncio.Event()
    pool = await world.pool_of([hears_head(), waits(given_up), hears_end])
    response = await send(pool, b"x" * 50_000_000)
    asyncio.get_running_loop().call_later(0.02, response.abort)
    with pytest.raises(Exception, match="ended"):
        await response.body(10)
    response.release()
    given_up.set()


async def test_an_upload_in_chunks(world: World) -> None:
    pool = await world.pool_of(
        [hears("transfer-encoding: chunked", body=b"one two"), answers(), hears(), answers("next")]
    )
    response = await upload(pool, aiter(Pieces(b"one", b"", b" two")), CHUNKED)
    assert await response.body(10) == b"ok"
    response.release()
    assert (await ask(pool)).response.reused


async def test_an_upload_of_declared_length(world: World) -> None:
    pool = await world.pool_of([hears(body=b"x" * 3_000_000), answers(), hears(), answers("next")])
    response = await upload(pool, aiter(Pieces(*[b"x" * 100_000] * 30)), ("Content-Length", "3000000"))
    assert await response.body(10) == b"ok"
    response.release()
    assert (await ask(pool)).response.reused


async def test_without_declared_body_there_is_none(world: World) -> None:
    pool = await world.pool_of([hears("content-length: 0"), answers()])
    pieces = Pieces(b"not wanted")
    response = await upload(pool, aiter(pieces))
    assert await response.body(10) == b"ok"
    response.release()


@pytest.mark.parametrize("pieces", [(b"12345", b"6"), (b"1234",)])
async def test_an_upload_that_breaks_its_word_is_cut(world: World, pieces: tuple[bytes, ...]) -> None:
    pool = await world.pool_of([hears_head(), hears_end])
    response = await upload(pool, aiter(Pieces(*pieces)), ("content-length", "5"))
    with pytest.raises(StreamBroken, match="5 bytes that were declared"):
        await response.head()
    response.release()


async def test_a_refusal_while_the_app_still_uploads_is_given_at_once(world: World) -> None:
    more = asyncio.Event()
    pieces = Pieces(b"begin", more, b"never")
    pool = await world.pool_of([hears_head(), answers("no", "401 Unauthorized"), hears_end])
    response = await upload(pool, aiter(pieces), CHUNKED)
    assert await response.body(10) == b"no"
    assert response.status == 401
    response.release()
    await asyncio.sleep(0.01)
    assert pieces.closed


async def test_an_answer_that_streams_while_the_upload_goes_on(world: World) -> None:
    more = asyncio.Event()
    pool = await world.pool_of(
        [hears_head(), says("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"), waits(more), says("rest"), hears_end],
    )
    pieces = Pieces(b"begin", more, b"end")
    response = await upload(pool, aiter(pieces), CHUNKED)
    assert await response.read() == b"half"
    assert not pieces.closed
    more.set()
    assert await response.read() == b"rest"
    assert await response.read() == b""
    response.release()


async def test_an_app_that_fails_ends_the_upload_with_its_own_error(world: World) -> None:
    pool = await world.pool_of([hears_head(), hears_end])
    response = await upload(pool, aiter(Pieces(b"begin", RequestTimeout("the body came too slowly"))), CHUNKED)
    with pytest.raises(RequestTimeout, match="too slowly"):
        await response.head()
    response.release()


async def test_a_target_that_does_not_read_slows_the_upload_down(world: World) -> None:
    read = asyncio.Event()
    pulled = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        while True:
            pulled += 1
            yield b"x" * 100_000

    pool = await world.pool_of([hears_head(), waits(read), hears_end])
    response = await upload(pool, endless(), CHUNKED)
    await asyncio.sleep(0.05)
    before = pulled
    await asyncio.sleep(0.05)
    assert pulled == before
    read.set()
    await asyncio.sleep(0.05)
    assert pulled > before
    response.release()


async def test_an_upload_that_was_begun_is_never_repeated(world: World) -> None:
    pool = await world.pool_of([hears(), answers(), hears_head(), closes])
    await ask(pool)
    response = await upload(pool, aiter(Pieces(b"once")), CHUNKED)
    with pytest.raises(StreamBroken, match="before the answer began"):
        await response.head()
    response.release()


async def test_a_released_upload_stops(world: World) -> None:
    more = asyncio.Event()
    pieces = Pieces(b"begin", more)
    pool = await world.pool_of([hears_head(), hears_end])
    response = await upload(pool, aiter(pieces), CHUNKED)
    await asyncio.sleep(0.01)
    response.release()
    await asyncio.sleep(0.01)
    assert pieces.closed


async def test_the_app_may_hang_up_in_the_middle_of_a_request(world: World) -> None:
    pool = await world.pool_of([hears_head(), hears_end], [hears(), answers()])
    response = await send(pool, b"x" * 50_000_000)
    response.release()
    assert (await ask(pool)).body == b"ok"

"""What a target may answer, and what it may not."""

import asyncio

import pytest
from tests.sidecar.upstream.conftest import World, ask, read_all, send
from tests.sidecar.upstream.script import (
    answers,
    closes,
    floods,
    hears,
    hears_close,
    hears_end,
    pauses,
    resets,
    says,
    waits,
)

from llmroute.errors import StreamBroken

OK = "HTTP/1.1 200 OK\r\n"
CHUNKED = OK + "Transfer-Encoding: chunked\r\n\r\n"


async def test_an_answer_has_status_headers_and_body(world: World) -> None:
    pool = await world.pool_of(
        [hears("POST /v1/x HTTP/1.1", body=b"hi"), answers("ok", "200 OK", "X-One: 1", "X-One: 2")]
    )
    answer = await ask(pool, b"hi")
    assert (answer.status, answer.body) == (200, b"ok")
    assert answer.response.headers == [(b"content-length", b"2"), (b"x-one", b"1"), (b"x-one", b"2")]
    assert answer.response.header(b"content-length") == b"2"
    assert answer.response.header(b"x-two") is None


async def test_times_are_in_order(world: World) -> None:
    pool = await world.pool_of([hears(), answers()])
    response = (await ask(pool)).response
    assert response.headers_at is not None
    assert 0 < response.written_at <= response.headers_at <= response.last_byte_at


@pytest.mark.parametrize("interim", ["100 Continue", "102 Processing", "103 Early Hints"])
async def test_interim_answers_are_skipped(world: World, interim: str) -> None:
    pool = await world.pool_of([hears(), says(f"HTTP/1.1 {interim}\r\nLink: a\r\n\r\n"), answers("ok")])
    answer = await ask(pool)
    assert (answer.status, answer.body, answer.response.header(b"link")) == (200, b"ok", None)


async def test_an_interim_answer_may_come_in_the_same_segment(world: World) -> None:
    pool = await world.pool_of([hears(), says(f"HTTP/1.1 100 Continue\r\n\r\n{OK}Content-Length: 2\r\n\r\nok")])
    assert (await ask(pool)).body == b"ok"


async def test_interim_answers_without_end_are_an_error(world: World) -> None:
    pool = await world.pool_of([hears(), floods(*["HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 100] * 30)])
    with pytest.raises(StreamBroken, match="64 KiB of headers"):
        await ask(pool)


async def test_switching_protocols_is_an_error(world: World) -> None:
    pool = await world.pool_of(
        [hears(), says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nzz"), hears_end]
    )
    with pytest.raises(StreamBroken, match="status 101"):
        await ask(pool)


async def test_an_offered_upgrade_is_not_taken(world: World) -> None:
    pool = await world.pool_of(
        [hears(), answers("ok", "200 OK", "Upgrade: h2,h2c", "Connection: Upgrade"), hears(), answers("again")]
    )
    assert (await ask(pool)).body == b"ok"
    assert (await ask(pool)).body == b"again"


async def test_chunk_extensions_and_trailers_are_ignored(world: World) -> None:
    pool = await world.pool_of(
        [
            hears(),
            says(CHUNKED + '3;name="value"\r\nabc\r\n2\r\nde\r\n0;last\r\nX-Trailer: 1\r\nX-Other: 2\r\n\r\n'),
            hears(),
            answers("next"),
        ]
    )
    first = await ask(pool)
    assert first.body == b"abcde"
    assert first.response.headers == [(b"transfer-encoding", b"chunked")]
    second = await ask(pool)
    assert second.body == b"next"
    assert second.response.headers == [(b"content-length", b"4")]


async def test_trailers_without_end_are_an_error(world: World) -> None:
    pool = await world.pool_of([hears(), floods(CHUNKED + "2\r\nok\r\n0\r\n", *["X-T: " + "v" * 8000 + "\r\n"] * 40)])
    with pytest.raises(StreamBroken, match="64 KiB of headers"):
        await ask(pool)


async def test_a_chunk_extension_without_end_is_an_error(world: World) -> None:
    pool = await world.pool_of([hears(), floods(CHUNKED + "2;", *["x" * 8000] * 40)])
    with pytest.raises(StreamBroken, match="64 KiB of headers"):
        await ask(pool)


async def test_header_bytes_are_bounded(world: World) -> None:
    pool = await world.pool_of([hears(), floods(OK, *["X-Big: " + "v" * 8000 + "\r\n"] * 40)])
    with pytest.raises(StreamBroken, match="64 KiB of headers"):
        await ask(pool)


async def test_a_header_flood_in_one_segment_is_bounded_too(world: World) -> None:
    flood = "X-Big: " + "v" * 70_000 + "\r\n"
    pool = await world.pool_of([hears(), says(OK + flood + "Content-Length: 2\r\n\r\nok"), hears_end])
    with pytest.raises(StreamBroken, match="64 KiB of headers"):
        await ask(pool)


async def test_the_number_of_headers_is_bounded(world: World) -> None:
    pool = await world.pool_of([hears(), says(OK + "X: y\r\n" * 257 + "\r\n"), hears_end])
    with pytest.raises(StreamBroken, match="257 headers"):
        await ask(pool)


async def test_an_answer_without_length_ends_with_the_connection(world: World) -> None:
    pool = await world.pool_of([hears(), says(OK + "\r\n", "all ", "of it"), closes])
    assert (await ask(pool)).body == b"all of it"


async def test_an_answer_without_length_is_broken_by_a_reset(world: World) -> None:
    pool = await world.pool_of([hears(), says(OK + "\r\nsome"), pauses(0.05), resets])
    response = await send(pool)
    try:
        assert await response.read() == b"some"
        with pytest.raises(StreamBroken, match="reset before the answer was complete"):
            await response.read()
        assert not response.complete
    finally:
        response.release()


async def test_a_short_body_is_broken(world: World) -> None:
    pool = await world.pool_of([hears(), says(OK + "Content-Length: 10\r\n\r\nshort"), closes])
    with pytest.raises(StreamBroken, match="closed before the answer was complete"):
        await ask(pool)


async def test_what_came_before_the_break_can_be_read(world: World) -> None:
    pool = await world.pool_of([hears(), says(CHUNKED + "5\r\nfirst\r\n"), closes])
    response = await send(pool)
    try:
        assert await response.read() == b"first"
        with pytest.raises(StreamBroken):
            await response.read()
        with pytest.raises(StreamBroken):
            await response.read()
    finally:
        response.release()


async def test_a_chunked_answer_cut_before_its_last_chunk_is_broken(world: World) -> None:
    pool = await world.pool_of([hears(), says(CHUNKED + "5\r\nwhole\r\n"), closes])
    with pytest.raises(StreamBroken, match="closed before the answer was complete"):
        await ask(pool)


@pytest.mark.parametrize(
    "head",
    [
        OK + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        OK + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        OK + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        OK + "Content-Length: -1\r\n\r\n",
        OK + "Content-Length: 99999999999999999999999\r\n\r\n",
        OK + "Content-Length: two\r\n\r\n",
        CHUNKED + "zz\r\n",
        CHUNKED + "2\r\nokk\r\n",
        OK + "X : y\r\n\r\n",
        OK + "X: y\0z\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 000 Nothing\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_broken(world: World, head: str) -> None:
    pool = await world.pool_of([hears(), says(head), hears_end])
    with pytest.raises(StreamBroken, match=r"127\.0\.0\.1:\d+: the answer "):
        await ask(pool)


async def test_a_transfer_coding_that_we_do_not_speak_is_broken(world: World) -> None:
    pool = await world.pool_of([hears(), says(OK + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), hears_end])
    with pytest.raises(StreamBroken, match="transfer-encoding"):
        await ask(pool)


async def test_head_has_no_body(world: World) -> None:
    pool = await world.pool_of(
        [hears("HEAD /v1/x"), says(OK + "Content-Length: 1000\r\n\r\n"), hears_close], [hears("POST"), answers("next")]
    )
    assert (await ask(pool, method="HEAD")).body == b""
    assert (await ask(pool)).body == b"next"


async def test_a_body_behind_head_never_reaches_the_next_answer(world: World) -> None:
    pool = await world.pool_of(
        [hears("HEAD"), says(OK + "Content-Length: 5\r\n\r\nwrong"), hears_end], [hears("POST"), answers("right")]
    )
    assert (await ask(pool, method="HEAD")).body == b""
    assert (await ask(pool)).body == b"right"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_statuses_without_a_body_end_with_their_head(world: World, status: str) -> None:
    pool = await world.pool_of(
        [hears(), says(f"HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\nETag: x\r\n\r\n"), hears(), answers("next")]
    )
    assert (await ask(pool)).body == b""
    assert (await ask(pool)).body == b"next"


async def test_a_get_has_no_length_and_an_empty_post_has_one(world: World) -> None:
    target = await world.target([hears("GET"), answers(), hears("POST"), answers()])
    pool = world.pool(target.origin)
    await ask(pool, method="GET")
    await ask(pool, method="POST")
    (get, _), (post, _) = target.requests
    assert "content-length" not in get
    assert "content-length: 0\r\n" in post


async def test_head_then_body(world: World) -> None:
    go = asyncio.Event()
    pool = await world.pool_of([hears(), says(OK + "Content-Length: 4\r\n\r\n"), waits(go), says("body")])
    response = await send(pool)
    try:
        await response.head()
        assert (response.status, response.complete) == (200, False)
        go.set()
        assert await response.body(100) == b"body"
    finally:
        response.release()


async def test_a_body_beyond_the_limit_goes_on_by_read(world: World) -> None:
    go = asyncio.Event()
    pool = await world.pool_of(
        [hears(), says(OK + "Content-Length: 900\r\n\r\n" + "x" * 600), waits(go), says("y" * 300)]
    )
    response = await send(pool)
    try:
        begin = await response.body(500)
        assert (begin, response.complete) == (b"x" * 600, False)
        go.set()
        assert await read_all(response) == b"y" * 300
        assert response.complete
    finally:
        response.release()


async def test_a_limit_counts_the_body_alone(world: World) -> None:
    go = asyncio.Event()
    pool = await world.pool_of(
        [hears(), says(CHUNKED + "1\r\nx\r\n" * 100), waits(go), says("1\r\ny\r\n0\r\n\r\n")],
    )
    response = await send(pool)
    try:
        waiting = asyncio.ensure_future(response.body(101))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        go.set()
        assert await waiting == b"x" * 100 + b"y"
    finally:
        response.release()


async def test_read_gives_all_that_has_come_at_once(world: World) -> None:
    pool = await world.pool_of(
        [hears(), says(CHUNKED + "".join(f"1\r\n{digit}\r\n" for digit in "12345") + "0\r\n\r\n")]
    )
    response = await send(pool)
    try:
        await asyncio.sleep(0.05)
        assert await response.read() == b"12345"
        assert response.complete
        assert await response.read() == b""
    finally:
        response.release()


async def test_the_client_is_not_confused_by_http_1_0_chunks(world: World) -> None:
    pool = await world.pool_of(
        [hears(), says("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), hears_close]
    )
    assert (await ask(pool)).body == b"ok"

"""Bounded memory: nobody is read from faster than his bytes are taken."""

import asyncio
import tracemalloc

import pytest
from tests.sidecar.upstream.conftest import World, read_all, send
from tests.sidecar.upstream.script import Peer, hears, hears_end, says

from llmroute.errors import StreamBroken

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


async def test_a_slow_reader_stops_the_target(world: World) -> None:
    sent = 0

    async def pours(peer: Peer) -> None:
        nonlocal sent
        peer.writer.write(CHUNKED)
        for _ in range(400):
            peer.writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await peer.writer.drain()
            sent += 65536
        peer.writer.write(b"0\r\n\r\n")

    pool = await world.pool_of([hears(), pours])
    response = await send(pool)
    try:
        first = await response.read()
        await asyncio.sleep(0.1)
        stuck_at = sent
        await asyncio.sleep(0.1)
        assert sent == stuck_at < 400 * 65536  # the target's own write blocks
        piece = await response.read()
        assert len(piece) <= 512 * 1024
        assert len(first + piece + await read_all(response)) == 400 * 65536
        assert response.complete
    finally:
        response.release()


async def test_a_hundred_thousand_chunks_take_bounded_memory(world: World) -> None:
    async def pours(peer: Peer) -> None:
        peer.writer.write(CHUNKED)
        for _ in range(100):
            peer.writer.write(b"40\r\n" + b"y" * 64 + b"\r\n" + b"1\r\nz\r\n" * 999)
            await peer.writer.drain()
        peer.writer.write(b"0\r\n\r\n")

    pool = await world.pool_of([hears(), pours])
    response = await send(pool)
    tracemalloc.start()
    try:
        size = 0
        while piece := await response.read():
            size += len(piece)
            await asyncio.sleep(0)
        assert size == 100 * (64 + 999)
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()
        response.release()


async def test_a_body_larger_than_the_limit_waits_at_the_target(world: World) -> None:
    pool = await world.pool_of([hears(), says(OK + b"Content-Length: 20000000\r\n\r\n", b"x" * 20_000_000), hears_end])
    response = await send(pool)
    try:
        begin = await response.body(1_000_000)
        assert 1_000_000 < len(begin) < 2_000_000
        assert len(begin) + len(await read_all(response)) == 20_000_000
    finally:
        response.release()


async def test_a_paused_answer_that_breaks_is_told_when_it_is_read(world: World) -> None:
    async def pours_and_closes(peer: Peer) -> None:
        peer.writer.write(OK + b"Content-Length: 9000000\r\n\r\n" + b"x" * 1_000_000)
        peer.writer.close()

    pool = await world.pool_of([hears(), pours_and_closes])
    response = await send(pool)
    try:
        await asyncio.sleep(0.05)
        with pytest.raises(StreamBroken, match="closed before the answer was complete"):
            await read_all(response)
    finally:
        response.release()


async def test_a_paused_answer_can_be_let_go(world: World) -> None:
    pool = await world.pool_of([hears(), says(OK + b"Content-Length: 20000000\r\n\r\n"), _pours_until_gone])
    response = await send(pool)
    await asyncio.sleep(0.05)
    response.release()


async def _pours_until_gone(peer: Peer) -> None:
    try:
        while True:
            peer.writer.write(b"x" * 65536)
            await peer.writer.drain()
    except ConnectionError:
        pass

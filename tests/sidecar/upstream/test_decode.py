"""Targets that compress although asked not to."""

import asyncio
import gzip
import zlib
from collections.abc import Callable
from itertools import pairwise

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sidecar.upstream.conftest import World, ask, read_all, send
from tests.sidecar.upstream.script import Step, answers, closes, hears, says

from llmroute.codings import decoder_for
from llmroute.errors import StreamBroken

TEXT = b"one two three " * 1000


def raw_deflate(plain: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(plain) + compressor.flush()


CODINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
]


def compressed(coding: str, wire: bytes) -> Step:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(wire)}\r\nX-Kept: 1\r\n\r\n"
    return says(head.encode() + wire)


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
async def test_bodies_are_decoded_and_their_headers_corrected(
    world: World, coding: str, compress: Callable[[bytes], bytes]
) -> None:
    pool = await world.pool_of(
        [hears("accept-encoding: identity"), compressed(coding, compress(TEXT)), hears(), answers()]
    )
    answer = await ask(pool)
    assert answer.body == TEXT
    assert answer.response.headers == [(b"x-kept", b"1")]
    assert answer.response.header(b"content-encoding") is None
    assert answer.response.header(b"content-length") is None
    assert (await ask(pool)).response.reused


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
async def test_streams_are_decoded_as_they_come(world: World, coding: str, compress: Callable[[bytes], bytes]) -> None:
    wire = compress(TEXT)
    chunks = [b"1\r\n%b\r\n" % wire[place : place + 1] for place in range(len(wire))]
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n"
    pool = await world.pool_of([hears(), says(head, *chunks, "0\r\n\r\n")])
    response = await send(pool)
    try:
        assert await read_all(response) == TEXT
        assert response.complete
    finally:
        response.release()


async def test_a_compressed_body_may_end_with_the_connection(world: World) -> None:
    wire = gzip.compress(TEXT)
    pool = await world.pool_of([hears(), says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + wire), closes])
    assert (await ask(pool)).body == TEXT


async def test_a_bomb_is_given_out_in_bounded_pieces(world: World) -> None:
    plain = 50_000_000
    wire = gzip.compress(bytes(plain))
    pool = await world.pool_of([hears(), compressed("gzip", wire)])
    response = await send(pool)
    try:
        begin = await response.body(1_000_000)
        assert len(begin) == 1_000_000
        assert not response.complete
        size = len(begin)
        while piece := await response.read():
            assert len(piece) <= 256 * 1024
            size += len(piece)
            await asyncio.sleep(0)
        assert size == plain
        assert response.complete
    finally:
        response.release()


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
async def test_damage_is_broken(world: World, coding: str, compress: Callable[[bytes], bytes]) -> None:
    wire = compress(TEXT)
    pool = await world.pool_of([hears(), compressed(coding, wire[:-5])], [hears(), compressed(coding, b"\xff" * 40)])
    with pytest.raises(StreamBroken, match="damaged compression: its end is missing"):
        await ask(pool)
    with pytest.raises(StreamBroken, match="damaged compression"):
        await ask(pool)


async def test_an_unknown_coding_is_left_as_it_is(world: World) -> None:
    pool = await world.pool_of([hears(), compressed("zstd", b"(\xb5/\xfd")])
    answer = await ask(pool)
    assert answer.body == b"(\xb5/\xfd"
    assert answer.response.header(b"content-encoding") == b"zstd"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
async def test_an_empty_body_needs_no_coding(world: World, coding: str) -> None:
    pool = await world.pool_of([hears(), compressed(coding, b"")])
    assert (await ask(pool)).body == b""


def test_gzip_may_have_several_members_and_padding() -> None:
    decoder = decoder_for(b"gzip")
    assert decoder is not None
    decoder.feed(gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two") + b"\0\0\0")
    assert decoder.take(100) + decoder.take(100) + decoder.take(100) == b"one two"
    assert decoder.finished()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CODINGS),
    st.binary(max_size=3000),
    st.lists(st.integers(1, 3000), max_size=10),
    st.integers(1, 700),
)
def test_any_cutting_decodes_to_the_same(
    coding: tuple[str, Callable[[bytes], bytes]], plain: bytes, cuts: list[int], limit: int
) -> None:
    name, compress = coding
    wire = compress(plain)
    decoder = decoder_for(name.encode())
    assert decoder is not None
    edges = [0, *sorted({cut for cut in cuts if cut < len(wire)}), len(wire)]
    decoded = b""
    for begin, end in pairwise(edges):
        decoder.feed(wire[begin:end])
        while part := decoder.take(limit):
            decoded += part
    assert decoded == plain
    assert decoder.finished()

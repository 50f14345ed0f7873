"""Heads: what is taken for one, and that a head that is known again is judged as if it came for the first time."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.app import App
from tests.sidecar.inbound.echo import Echo, echo, post, start

from llmroute.inbound.heads import CHUNKED, MAX_HEAD, MAX_LINES, BadHead, Opening, Reading


def read(*pieces: bytes) -> tuple[Opening | None, bytes]:
    """A head from pieces; with the bytes behind it in its last one."""
    reading, behind = Reading(), b""
    for piece in pieces:
        assert reading.opening is None
        behind = reading.feed(piece)
    return reading.opening, behind


WHOLE = post(b"", "Authorization: Bearer x  ", "Empty:", "X-Odd: a\xffb")


def test_a_head_says_what_it_said() -> None:
    opening, behind = read(WHOLE + b"more")
    assert opening is not None
    assert (opening.method, opening.path, opening.version, opening.old) == ("POST", "/v1/x", "1.1", False)
    assert opening.lines == (
        (b"Host", b"localhost"),
        (b"Authorization", b"Bearer x"),
        (b"Empty", b""),
        (b"X-Odd", b"a\xffb"),
        (b"Content-Length", b"0"),
        (b"X-Last", b"1"),
    )
    assert (opening.length, opening.stays, behind) == (0, True, b"more")


@settings(max_examples=200)
@given(st.sets(st.integers(1, len(WHOLE) - 1)))
def test_a_head_may_come_in_any_pieces(cuts: set[int]) -> None:
    at = [0, *sorted(cuts), len(WHOLE)]
    opening, behind = read(*(WHOLE[a:b] for a, b in pairwise(at)))
    whole, _ = read(WHOLE)
    assert opening is not None
    assert whole is not None
    assert behind == b""
    assert (opening.lines, opening.before, opening.after) == (whole.lines, whole.before, whole.after)


BAD: dict[str, bytes] = {
    "an invalid method": b"post / HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": start(first="GET / HTTP/1.2"),
    "a blank behind the version": start(first="GET / HTTP/1.1 "),
    "no URL": start(first="GET nowhere HTTP/1.1"),
    "a NUL in the URL": start(first="GET /\0 HTTP/1.1"),
    "a byte above ASCII in the URL": start(first="GET /\xff HTTP/1.1"),
    "a URL of no host": start(first="GET http://[::1/x HTTP/1.1"),
    "no CR": b"GET / HTTP/1.1\nhost: x\n\n",
    "no CR in a header": start("a: b\nc: d"),
    "a CR in a header": start("a: b\rc: d"),
    "no LF": start("a: b\r"),
    "a NUL in a header": start("a: b\0c"),
    "a control character": start("a: b\x01c"),
    "a folded line": start("a: b", " c"),
    "a folded end": start("a: b", " "),
    "a blank before the first header": b"GET / HTTP/1.1\r\n host: x\r\n\r\n",
    "a blank before the colon": start("a : b"),
    "no name": start(": b"),
    "no colon": start("a"),
    "two lengths": start("content-length: 1", "content-length: 1"),
    "two different lengths": start("content-length: 1", "Content-Length: 2"),
    "lengths in one line": start("content-length: 1, 1"),
    "no length": start("content-length:"),
    "a length with a sign": start("content-length: +1"),
    "a negative length": start("content-length: -1"),
    "a hexadecimal length": start("content-length: 0x1"),
    "an endless length": start("content-length: 1" + 30 * "0"),
    "a length too far": start("content-length: 1" + 15 * "0"),
    "length and chunks": start("content-length: 1", "transfer-encoding: chunked"),
    "chunks and length": start("transfer-encoding: chunked", "content-length: 1"),
    "two codings": start("transfer-encoding: gzip, chunked"),
    "chunks twice": start("transfer-encoding: chunked, chunked"),
    "chunks in two lines": start("transfer-encoding: chunked", "transfer-encoding: chunked"),
    "chunks not last": start("transfer-encoding: chunked, gzip"),
    "identity": start("transfer-encoding: identity"),
    "nearly chunked": start("transfer-encoding: xchunked"),
    "chunked behind a tab": start("transfer-encoding: \x0bchunked"),
    "no coding": start("transfer-encoding:"),
    "chunks in HTTP/1.0": start("transfer-encoding: chunked", first="POST / HTTP/1.0"),
    "chunks in HTTP/1.0 with an offer": start(
        "transfer-encoding: chunked", "connection: upgrade", "upgrade: x", first="POST / HTTP/1.0"
    ),
    "a coding with an offer": start("transfer-encoding: gzip", "connection: upgrade", "upgrade: x"),
    "length and chunks with an offer": start(
        "connection: upgrade", "upgrade: x", "content-length: 1", "transfer-encoding: chunked"
    ),
    "two hosts": start("host: other"),
    "two content types": start("content-type: a/b", "content-type: c/d"),
    "a long line": start("a: " + "b" * 20_000),
    "a long name": start("a" * 20_000 + ": b"),
    "many lines": start(*["a: b"] * MAX_LINES),
    "much": start(*["a: " + "b" * 10_000] * 10),
    "a long URL": start(first=f"GET /{'a' * 70_000} HTTP/1.1"),
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
@pytest.mark.parametrize("piece", [1, 7, 1_000_000])
def test_what_is_no_head_is_refused_however_it_comes(raw: bytes, piece: int) -> None:
    reading = Reading()
    with pytest.raises(BadHead) as refused:
        for at in range(0, len(raw), piece):
            reading.feed(raw[at : at + piece])
    assert 400 <= refused.value.status < 500
    assert reading.opening is None


@pytest.mark.parametrize("endless", [b"a", b"GET /", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\na: b\r\n"])
def test_a_head_without_end_is_given_up(endless: bytes) -> None:
    reading = Reading()
    with pytest.raises(BadHead):
        reading.feed(endless)
        for _ in range(MAX_HEAD // 1000 + 1):
            reading.feed(b"b" * 1000)


@pytest.mark.parametrize(
    ("url", "target", "path"),
    [
        ("/v1/x", "/v1/x", "/v1/x"),
        ("/v1/x?a=b%20c", "/v1/x?a=b%20c", "/v1/x"),
        ("/v1/x#y", "/v1/x", "/v1/x"),
        ("/v1%2fx%20y", "/v1%2fx%20y", "/v1/x y"),
        ("//evil/x", "//evil/x", "//evil/x"),
        ("http://evil:1/v1/x?a#b", "/v1/x?a", "/v1/x"),
        ("http://evil", "/", "/"),
    ],
)
def test_the_request_target_may_have_any_form(url: str, target: str, path: str) -> None:
    opening, _ = read(start(first=f"GET {url} HTTP/1.1"))
    assert opening is not None
    assert (opening.target, opening.path) == (target, path)


STAYS = [
    ("1.1", "", True),
    ("1.1", "close", False),
    ("1.1", "keep-alive, Close", False),
    ("1.0", "", False),
    ("1.0", "keep-alive", True),
    ("1.0", "close", False),
]


@pytest.mark.parametrize(("version", "connection", "stays"), STAYS)
def test_who_wants_the_connection_to_stay_says_so(version: str, connection: str, stays: bool) -> None:
    lines = [f"connection: {connection}"] if connection else []
    opening, _ = read(start(*lines, first=f"GET / HTTP/{version}"))
    assert opening is not None
    assert opening.stays is stays


def test_an_offer_to_upgrade_does_not_hide_the_body() -> None:
    offer = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABk")
    sized, behind = read(start(*offer, "content-length: 2") + b"{}GET")
    assert sized is not None
    assert (sized.length, behind) == (2, b"{}GET")
    chunked, _ = read(start(*offer, "transfer-encoding: chunked"))
    assert chunked is not None
    assert chunked.length == CHUNKED


# A head that is known again.

LENGTHS = [
    "",
    "+2",
    "-2",
    " 2",
    "2 ",
    "\t2",
    "02",
    "0x2",
    "2,2",
    "2;",
    "2\r\nContent-Length: 3",
    "2" + 20 * "0",
    "\xb2",
]
LENGTHS += [
    "2\r\nTransfer-Encoding: chunked",
    "2\r\n",
    "2\n",
    "2\rX: y",
    "2\0",
    "2\r\n\r\n",
    "²".encode().decode("latin-1"),
]


async def judged(app: App, raw: bytes) -> tuple[int, bytes]:
    app.send(raw)
    answer = await app.answer()
    return answer.status, answer.body


@pytest.mark.parametrize("length", LENGTHS)
async def test_a_known_head_with_another_length_is_judged_as_a_new_one(length: str) -> None:
    raw = post(b"{}", length=length) + b"\r\n"
    async with echo() as here:
        async with here.app() as app:
            first = await judged(app, raw)
        async with here.app() as app:
            assert (await judged(app, post()))[0] == 200
            assert await judged(app, raw) == first


@pytest.mark.parametrize("length", [0, 1, 9, 10, 99, 1000, 100_000])
async def test_a_known_head_may_have_a_body_of_any_length(length: int) -> None:
    async with echo() as here, here.app() as app:
        for body in (b"x", b"y" * length, b"z" * length, b""):
            app.send(post(body))
            assert (await app.answer()).json["body"] == body.decode()
        assert here.arrivals[0].opening is here.arrivals[-1].opening


KNOWN = post(b"{}")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(KNOWN) - 3), st.integers(0, 255), st.booleans())
def test_a_head_that_differs_by_one_byte_is_no_known_one(at: int, byte: int, insert: bool) -> None:
    """It is judged by the parser, and not by what the connection knows."""
    raw = KNOWN[:at] + bytes([byte]) + KNOWN[at + (not insert) :]

    async def story() -> None:
        async with echo(header_timeout=0.05) as here:
            async with here.app() as app:
                first = await _outcome(app, raw, here)
            async with here.app() as app:
                assert (await judged(app, KNOWN))[0] == 200
                assert await _outcome(app, raw, here) == first

    asyncio.run(story())


async def _outcome(app: App, raw: bytes, here: Echo) -> tuple[int, bytes]:
    """The answer; none within a while if the body is not whole."""
    before = len(here.arrivals)
    app.send(raw)
    try:
        async with asyncio.timeout(0.5):
            answer = await app.answer()
    except TimeoutError:
        assert len(here.arrivals) == before + 1
        return 0, b""
    return answer.status, answer.body

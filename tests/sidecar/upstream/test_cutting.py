"""However the network cuts an answer, it is the same answer."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute.upstream.connection import Connection
from llmroute.upstream.response import Response


class _Pool:
    """As much of a pool as a response asks of it."""

    origin = "target:1"
    loop: asyncio.AbstractEventLoop


WHOLE = (
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nX-Empty:\r\nX-Name: value\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n"
)


class _Transport(asyncio.Transport):
    def write(self, data: object) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None: ...


def _parsed(pieces: Sequence[bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes, bool, bool]:
    connection = Connection("127.0.0.1")
    connection.connection_made(_Transport())
    response = Response(_Pool(), connection, (b"", b""), 1.0)  # type: ignore[arg-type]
    connection.begin(response, b"POST / HTTP/1.1\r\n", b"")
    for piece in pieces:
        connection.data_received(piece)
    body = b"".join(connection.chunks)
    connection.chunks.clear()
    return response.status, response.headers, body, response.complete, connection.reusable()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, len(WHOLE) - 1), max_size=40))
def test_any_cutting_of_the_bytes_gives_the_same_answer(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(WHOLE)]
    pieces = [WHOLE[begin:end] for begin, end in pairwise(edges)]
    assert _parsed(pieces) == _parsed([WHOLE])
    assert _parsed(pieces) == (
        200,
        [(b"x-empty", b""), (b"x-name", b"value"), (b"transfer-encoding", b"chunked")],
        b"hello world",
        True,
        True,
    )

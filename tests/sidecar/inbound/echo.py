"""An app server whose answers say what arrived."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from tests.app import App, connected

from llmroute.inbound import AppServer, Arrival, listen
from llmroute.relay import JSON, send_whole


class Echo:
    """Made by `echo`. `told` are the heads that were refused, `arrivals` the requests that came, `ended` how many of
    them are over, however they ended."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []
        self.arrivals: list[Arrival] = []
        self.ended = 0
        self.begun = asyncio.Event()
        self.over = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.server: AppServer
        self.port = 0

    def app(self) -> AbstractAsyncContextManager[App]:
        return connected(self.port)

    def refused(self, status: int, code: str, seconds: float) -> str:
        self.told.append((status, code))
        return "the-id"


Script = Callable[[Arrival], Awaitable[None]]


async def body_of(arrival: Arrival) -> bytes:
    """The whole body of a request."""
    if arrival.body is None:
        return arrival.whole
    pieces = []
    while piece := await arrival.body.read():
        pieces.append(piece)
    return b"".join(pieces)


async def says(arrival: Arrival) -> None:
    """The answer: what arrived."""
    opening = arrival.opening
    body = await body_of(arrival)
    said: dict[str, Any] = {"method": opening.method, "path": opening.path, "target": opening.target}
    said |= {"lines": len(opening.lines), "body": body.decode("latin-1")}
    send_whole(arrival, 200, JSON, b"", json.dumps(said).encode())


@asynccontextmanager
async def echo(script: Script = says, *, header_timeout: float = 5.0) -> AsyncIterator[Echo]:
    """A server that plays `script` for each request."""
    here = Echo()

    async def handle(arrival: Arrival) -> None:
        here.arrivals.append(arrival)
        here.begun.set()
        try:
            await script(arrival)
        except asyncio.CancelledError:
            here.cancelled.set()
            raise
        finally:
            here.ended += 1
            here.over.set()

    here.server = AppServer(handle, header_timeout, here.refused)
    listeners, here.port = await listen(here.server, "127.0.0.1", 0)
    try:
        yield here
    finally:
        for listener in listeners:
            listener.close()
        here.server.cut()
        async with asyncio.timeout(5):
            await here.server.drain()
        here.server.close()
        assert here.ended == len(here.arrivals)


def post(body: bytes = b"{}", *lines: str, path: str = "/v1/x", length: str | None = None) -> bytes:
    """A request as SDKs send them."""
    head = [f"POST {path} HTTP/1.1", "Host: localhost", *lines, f"Content-Length: {length or len(body)}", "X-Last: 1"]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def start(*lines: str, first: str = "POST /v1/x HTTP/1.1") -> bytes:
    """A head, line by line."""
    return "\r\n".join([first, "host: localhost", *lines, "", ""]).encode("latin-1")

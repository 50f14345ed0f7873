"""The fake world of the upstream tests: scripted targets, one client, everything closed and checked at the end."""

import asyncio
import contextlib
import os
import ssl
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.sidecar.upstream.script import Server, Step

from llmroute.upstream import Origin, Pool, Response, Tuning, Upstream, build_head


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Answer:
    """What came of one request, its response released."""

    status: int
    body: bytes
    response: Response


class World:
    """Targets and the client of one test. Pools keep no spare connections unless a test asks for it."""

    def __init__(self) -> None:
        self._servers: list[Server] = []
        self._clients: list[Upstream] = []

    async def target(
        self,
        *scripts: Iterable[Step],
        others: Iterable[Step] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        context: ssl.SSLContext | None = None,
    ) -> Server:
        server = Server(scripts, others)
        await server.start(host, port, context)
        self._servers.append(server)
        return server

    def client(self, *, environ: Mapping[str, str] | None = None, **arguments: Any) -> Upstream:
        client = Upstream(asyncio.get_running_loop(), environ=environ or {}, **arguments)
        self._clients.append(client)
        return client

    def pool(self, origin: Origin, *, warm: int = 0, **arguments: Any) -> Pool:
        pool = self.client(**arguments).pool(origin)
        pool.warm = warm
        return pool

    async def pool_of(self, *scripts: Iterable[Step], tuning: Tuning | None = None) -> Pool:
        """A pool of a plain target that plays the scripts."""
        return self.pool((await self.target(*scripts)).origin, tuning=tuning)

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()
        problems = [problem for server in self._servers for problem in await server.aclose()]
        assert not problems, problems


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    sockets = open_sockets()
    yield world
    await world.aclose()
    assert not complaints, "the event loop was left with an exception"
    for _ in range(100):
        if open_sockets() <= sockets:
            break
        await asyncio.sleep(0.01)
    assert open_sockets() <= sockets, "a socket was leaked"


def open_sockets() -> int:
    """How many sockets the test run holds (the event loop opens other files when it likes)."""
    count = 0
    for descriptor in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own, closed by now
            count += stat.S_ISSOCK(os.fstat(int(descriptor.name)).st_mode)
    return count


async def send(
    pool: Pool, body: bytes = b"", *, method: str = "POST", path: str = "/v1/x", connect_timeout: float = 5.0
) -> Response:
    head = build_head(method, path, pool.origin.authority, [("accept-encoding", "identity")])
    return await pool.send(head, body, connect_timeout=connect_timeout)


async def ask(pool: Pool, body: bytes = b"", *, method: str = "POST", limit: int = 1 << 20) -> Answer:
    """One request and its whole answer."""
    response = await send(pool, body, method=method)
    try:
        content = await response.body(limit)
        assert response.complete
        return Answer(response.status, content, response)
    finally:
        response.release()


async def read_all(response: Response) -> bytes:
    """Reads a response to its end by `read`."""
    parts = []
    while part := await response.read():
        parts.append(part)
    return b"".join(parts)

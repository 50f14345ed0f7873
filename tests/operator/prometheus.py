"""A real Prometheus that reads sidecars which live faster than the clock: samples carry the times of a story.

The binary is that of the local cluster's cache, or whatever `prometheus` is on the PATH.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import time  # noqa: TID251 - Prometheus stores wall time

import aiohttp
import pytest
from aiohttp import web

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmroute" / "cluster" / "bin"
SPAN = 45 * 60
"""Seconds before now at which stories begin: the future is not stored, and neither is what is older than an hour."""


def binary() -> str:
    built = sorted(CACHE.glob("prometheus-*"), key=lambda one: one.stat().st_mtime)
    found = str(built[-1]) if built else shutil.which("prometheus")
    if found is None:
        pytest.skip("there is no Prometheus: make cluster-up builds one, or put `prometheus` on the PATH")
    return found


class Story:
    """Series of one namespace, told whole at each moment, and asked for as of that moment."""

    def __init__(self, server: "Prometheus", namespace: str) -> None:
        self.namespace = namespace
        self.now = round(time()) - SPAN
        """Seconds since 1970."""
        self._server = server
        self._step = 0

    async def tell(self, series: Mapping[str, float]) -> None:
        """These are the values now, by name and labels (`name{label="x"}`); waits until they are stored."""
        self._step += 1
        mark = f'told_step{{namespace="{self.namespace}"}}'
        lines = [f"{name} {value} {self.now * 1000}\n" for name, value in {**series, mark: self._step}.items()]
        self._server.text = "".join(lines)
        async with asyncio.timeout(30.0):
            while await self.ask(mark) != self._step:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)

    async def ask(self, query: str) -> float | None:
        """The one value of a query, as KEDA takes it; None if there is none."""
        return await self._server.ask(query, self.now)


class Prometheus:
    """Made by `prometheus`."""

    def __init__(self) -> None:
        self.text = ""
        """What it reads."""
        self._stories = 0
        self._port = 0
        self._session: aiohttp.ClientSession

    def story(self) -> Story:
        """Another one, in a namespace of its own."""
        self._stories += 1
        return Story(self, f"shop-{self._stories}")

    async def ask(self, query: str, at: float) -> float | None:
        form = {"query": query, "time": str(at)}
        async with self._session.post(f"http://127.0.0.1:{self._port}/api/v1/query", data=form) as response:
            answer = await response.json()
        assert answer["status"] == "success", answer
        result = answer["data"]["result"]
        assert len(result) <= 1, "KEDA wants one value"
        return float(result[0]["value"][1]) if result else None

    async def _exposition(self, request: web.Request) -> web.Response:
        return web.Response(text=self.text, content_type="text/plain")

    @asynccontextmanager
    async def _exporter(self) -> AsyncIterator[int]:
        application = web.Application()
        application.router.add_get("/metrics", self._exposition)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def started(self, program: str) -> AsyncIterator[None]:
        async with self._exporter() as exporter, aiohttp.ClientSession() as self._session:
            with tempfile.TemporaryDirectory() as directory:
                config = _configured(Path(directory), exporter)
                self._port = await _free_port()
                process = await asyncio.create_subprocess_exec(
                    program,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={directory}/tsdb",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    "--log.level=error",
                )
                try:
                    await self._ready()
                    yield
                finally:
                    process.send_signal(signal.SIGKILL)
                    await process.wait()

    async def _ready(self) -> None:
        async with asyncio.timeout(30.0):
            while True:
                try:
                    async with self._session.get(f"http://127.0.0.1:{self._port}/-/ready") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.05)


CONFIG = """
global: {scrape_interval: 100ms, scrape_timeout: 100ms}
scrape_configs:
- job_name: story
  honor_labels: true
  static_configs: [{targets: ["127.0.0.1:%d"]}]
"""


def _configured(directory: Path, exporter: int) -> Path:
    config = directory / "prometheus.yml"
    config.write_text(CONFIG % exporter)
    return config


async def _free_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    return port


@asynccontextmanager
async def prometheus() -> AsyncIterator[Prometheus]:
    """A server that knows nothing yet; skips the test where there is none."""
    here = Prometheus()
    async with here.started(binary()):
        yield here

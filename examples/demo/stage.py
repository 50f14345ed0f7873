"""The processes of the demo: simulated providers and the sidecar, started as a user would start them."""

import asyncio
import json
import os
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

HERE = Path(__file__).parent
FLEET, ROUTE = HERE / "providers.yaml", HERE / "route.yaml"
APP_PORT, ADMIN_PORT = 4000, 4001
PORTS = (APP_PORT, ADMIN_PORT, 9201, 9202, 9203, 9204)
"""Those of the sidecar, and those of the providers as they stand in the two files."""
FLEET_READY, ROUTE_READY = "south", "/status on"
"""Words of the last line that each process says before it serves."""
STARTED_WITHIN = 60.0
"""Seconds; a process that has not come up by then will not."""
STOPPED_WITHIN = 5.0
"""Seconds that a process gets to end by itself."""


class Failed(Exception):
    """A process of the demo did not come up, or does not answer. The text is what it said."""


class Provider(NamedTuple):
    """A simulated provider that runs. `url` is what the SDK of its dialect takes as the base URL."""

    name: str
    dialect: str
    url: str


class Stage:
    """What runs. Made by `stage`."""

    def __init__(
        self, providers: list[Provider], ports: dict[int, int], http: aiohttp.ClientSession, log: Path
    ) -> None:
        self.providers = providers
        self.app_url = f"http://127.0.0.1:{ports[APP_PORT]}"
        self.admin_url = f"http://127.0.0.1:{ports[ADMIN_PORT]}"
        self.moved = {port: taken for port, taken in ports.items() if port != taken}
        """Ports that were in use, with those that were taken instead."""
        self._http = http
        self._log = log

    def last_words(self) -> str:
        """The end of what the sidecar logged."""
        return self._log.read_text()[-2000:]

    async def status(self) -> dict[str, dict[str, Any]]:
        """The targets by name, as /status tells them. Raises Failed."""
        (route,) = json.loads(await self._ask("GET", f"{self.admin_url}/status"))["routes"]
        return {target["name"]: target for target in route["targets"]}

    async def tell(self, through: Provider, name: str, command: dict[str, Any]) -> None:
        """Tells a provider how to behave, through a living one: a dead one hears nothing. Raises Failed."""
        url = f"{through.url.removesuffix('/v1')}/simulator/control"
        await self._ask("POST", url, {"provider": name, **command})

    async def _ask(self, method: str, url: str, body: dict[str, Any] | None = None) -> bytes:
        try:
            async with self._http.request(method, url, json=body, raise_for_status=True) as answer:
                return await answer.read()
        except aiohttp.ClientError as error:
            raise Failed(f"{method} {url}: {error}") from error


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Starts providers and sidecar, and ends them whatever happens. Raises Failed."""
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"  # for the SDKs here and for the sidecar
    ports = {port: port if _is_free(port) else _free_port() for port in PORTS}
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llmroute-demo-")))
        fleet, route = (_with_ports(file, ports, directory) for file in (FLEET, ROUTE))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        simulate = await _start(stack, directory, "simulate", fleet)
        serve = await _start(
            stack, directory, "serve", route,
            "--listen", f"127.0.0.1:{ports[APP_PORT]}", "--admin", f"127.0.0.1:{ports[ADMIN_PORT]}",
            "--no-access-log", "--drain-timeout", "1s",
        )  # fmt: skip
        providers = [Provider(*line.split()) for line in await simulate.said(FLEET_READY)]
        await serve.said(ROUTE_READY)
        yield Stage(providers, ports, http, serve.output)


class _Started:
    """A process whose output goes to a file: nobody has to empty a pipe, and what it said can be shown."""

    def __init__(self, process: Process, output: Path) -> None:
        self._process = process
        self.output = output

    async def said(self, words: str) -> list[str]:
        """Waits for a line with these words; returns all lines. Raises Failed if none comes."""
        for _ in range(round(STARTED_WITHIN / 0.05)):
            *lines, _rest = self.output.read_text().split("\n")
            if any(words in line for line in lines):
                return lines
            if self._process.returncode is not None:
                break
            await asyncio.sleep(0.05)
        raise Failed(self.output.read_text())

    async def stop(self) -> None:
        """Asks it to end, and makes it."""
        if self._process.returncode is None:
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOPPED_WITHIN)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def _start(stack: AsyncExitStack, directory: Path, command: str, *arguments: str | Path) -> _Started:
    output = directory / f"{command}.out"
    with output.open("w") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "llmroute", command, *map(str, arguments), stdin=PIPE, stdout=out, stderr=STDOUT
        )
    started = _Started(process, output)
    stack.push_async_callback(started.stop)
    return started


def _with_ports(file: Path, ports: dict[int, int], directory: Path) -> Path:
    """The file itself, or a copy with other ports if some are in use."""
    text = original = file.read_text()
    for port, taken in ports.items():
        text = text.replace(str(port), str(taken))
    if text == original:
        return file
    copy = directory / file.name
    copy.write_text(text)
    return copy


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

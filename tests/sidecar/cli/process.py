"""`llmroute` as a process of its own."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

LONGEST = 20.0


class Process:
    """A running command; what it prints is kept line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._out: list[str] = []
        self._arrived = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @property
    def lines(self) -> list[str]:
        return list(self._out)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines, decoded: all that `serve` prints is JSON."""
        return [json.loads(line) for line in self._out]

    async def until(self, pattern: str) -> re.Match[str]:
        """Waits for a line that matches."""

        def found() -> re.Match[str] | None:
            return next((match for line in self._out if (match := re.search(pattern, line))), None)

        async with asyncio.timeout(LONGEST), self._arrived:
            await self._arrived.wait_for(lambda: found() or self._reading.done())
        match = found()
        assert match is not None, f"{pattern!r} never came: {self._out}"
        return match

    async def port(self, what: str) -> int:
        """The port that `serve` says it uses: `serving` or `metrics`."""
        return int((await self.until(rf"{what}.* on http://[^ ]*:(\d+)")).group(1))

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> tuple[int, str]:
        """Exit code and what went to standard error."""
        async with asyncio.timeout(LONGEST):
            assert self._process.stderr is not None
            told = (await self._process.stderr.read()).decode()
            await self._reading
            return await self._process.wait(), told

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self.ended()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            async with self._arrived:
                self._out.append(line.decode().rstrip("\n"))
                self._arrived.notify_all()
        async with self._arrived:
            self._arrived.notify_all()


@asynccontextmanager
async def llmroute(*arguments: str | Path) -> AsyncIterator[Process]:
    """`llmroute ARGUMENTS`, killed at the end if it still runs."""
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-W", "error", "-m", "llmroute", *map(str, arguments)]
    process = Process(await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe))
    try:
        yield process
    finally:
        await process.kill()


@asynccontextmanager
async def serving(*arguments: str | Path) -> AsyncIterator[Process]:
    """`llmroute serve` on ports that are free."""
    free = "127.0.0.1:0"
    async with llmroute("serve", *arguments, "--listen", free, "--admin", free) as process:
        yield process

"""Files changed → decode → build → swap, or keep the last good configuration and say why."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from llmroute.errors import ConfigError
from llmroute.load import load
from llmroute.runtime import EMPTY, Compiler, Runtime, local_key_sources
from llmroute.telemetry import Telemetry

log = logging.getLogger("llmroute")

INTERVAL = 0.5
"""Seconds between looks at the files. Looking is a handful of `stat` calls; inotify does not see kubelet's symlink
swaps on every filesystem."""

Stamp = tuple[tuple[int, int, int] | None, ...]


class Cell:
    """Holds the Runtime in force. Requests that began with an older one keep it."""

    __slots__ = ("runtime",)

    def __init__(self) -> None:
        self.runtime: Runtime = EMPTY


class Watcher:
    """Follows the route files and the keys, and swaps a new Runtime into the cell when either changed."""

    def __init__(
        self, files: Sequence[Path], secrets_dir: Path | None, compiler: Compiler, cell: Cell, telemetry: Telemetry
    ) -> None:
        self._files = files
        self._secrets_dir = secrets_dir
        self._compiler = compiler
        self._cell = cell
        self._telemetry = telemetry
        self._stamp: Stamp = ()

    def load(self) -> None:
        """Read the files and swap. Raises ConfigError; the cell is untouched then."""
        self._stamp = self._look()
        loaded = load(self._files)
        keys = local_key_sources(loaded.secrets, self._secrets_dir)
        runtime = self._compiler.build(loaded.routes, keys, monotonic())
        self._cell.runtime = runtime
        self._telemetry.reloaded(runtime.routes, runtime.revision)
        for target in runtime.targets():
            if not target.credential.available:
                self._telemetry.credential_changed(target.route, target.name, False)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                self.tick()
            except Exception:
                log.exception("a defect: the files or keys could not be looked at; what serves goes on")

    def tick(self) -> None:
        """One look at the files, the keys, and the targets whose ejection is over."""
        if self._look() != self._stamp:
            try:
                self.load()
            except ConfigError as error:
                self._telemetry.rejected(error)
            return
        now = monotonic()
        for target in self._cell.runtime.targets():
            if target.refresh_credential(now):
                self._telemetry.credential_changed(target.route, target.name, target.credential.available)
            returned = target.learned.health.advance(now)
            if returned is not None:
                self._telemetry.state_changed(target.route, returned)

    def _look(self) -> Stamp:
        return tuple(map(_stamp, self._files))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size

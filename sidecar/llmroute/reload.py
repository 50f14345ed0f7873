"""Files changed → decode → build → swap, or keep the last good configuration and say why."""

import asyncio
import logging
from time import monotonic

from llmroute.configuration import Configuration, Found, Refusal, Stamp
from llmroute.errors import ConfigError
from llmroute.runtime import EMPTY, Compiler, Runtime
from llmroute.telemetry import Telemetry

log = logging.getLogger("llmroute")

INTERVAL = 0.5
"""Seconds between looks at the files. Looking is a handful of `stat` calls; inotify does not see kubelet's symlink
swaps on every filesystem."""


class Cell:
    """Holds the Runtime in force, and what is known beside it. Requests that began with an older one keep it."""

    __slots__ = ("refused", "region", "runtime")

    def __init__(self) -> None:
        self.runtime: Runtime = EMPTY
        self.refused: Refusal | None = None
        """What was found last and could not be used."""
        self.region: str | None = None
        """Where this sidecar runs."""


class Watcher:
    """Follows the configuration and the keys, and swaps a new Runtime into the cell when either changed."""

    def __init__(self, configuration: Configuration, compiler: Compiler, cell: Cell, telemetry: Telemetry) -> None:
        self._configuration = configuration
        self._compiler = compiler
        self._cell = cell
        self._telemetry = telemetry
        self._stamp: Stamp = ()
        self._found: Found | None = None
        """What is in force."""

    def start(self) -> None:
        """Read and swap, or go on with what served last. Raises ConfigError where nothing is known to be good."""
        try:
            self.load()
        except ConfigError as error:
            found = self._configuration.last_good()
            if found is None:
                raise
            self._refuse(Refusal(str(error)))
            self._swap(found)

    def load(self) -> None:
        """Read and swap. Raises ConfigError; what serves is untouched then."""
        self._stamp = self._configuration.look()
        found = self._configuration.read()
        self._swap(found)
        self._configuration.in_force()
        if found.refused is None:
            self._cell.refused = None
        elif found.refused != self._cell.refused:
            self._refuse(found.refused)

    def _swap(self, found: Found) -> None:
        self._cell.region = found.region
        now = self._found
        if now is not None and (now.routes, now.revision, now.keys) == (found.routes, found.revision, found.keys):
            return  # other things of the pod have changed
        runtime = self._build(found)
        self._found = found
        self._telemetry.reloaded(runtime.routes, runtime.revision)
        for target in runtime.targets():
            if not target.credential.available:
                self._telemetry.credential_changed(target.route, target.name, False)

    def _build(self, found: Found) -> Runtime:
        runtime = self._compiler.build(found.routes, found.keys, monotonic(), found.revision, found.place)
        self._cell.runtime = runtime
        return runtime

    def _refuse(self, refused: Refusal) -> None:
        self._cell.refused = refused
        self._telemetry.rejected(ConfigError(refused.error))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                self.tick()
            except Exception:
                log.exception("a defect: the files or keys could not be looked at; what serves goes on")

    def tick(self) -> None:
        """One look at the files, the addresses, the keys, and the targets whose ejection is over."""
        if self._configuration.look() != self._stamp:
            try:
                self.load()
            except ConfigError as error:
                self._refuse(Refusal(str(error)))
            return
        if self._found is not None and self._compiler.moved():
            self._telemetry.retargeted(self._build(self._found).routes)
            return
        now = monotonic()
        for target in self._cell.runtime.targets():
            if target.refresh_credential(now):
                self._telemetry.credential_changed(target.route, target.name, target.credential.available)
            returned = target.learned.health.advance(now)
            if returned is not None:
                self._telemetry.state_changed(target.route, returned)

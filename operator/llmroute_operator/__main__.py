"""`llmroute-operator`: wait for the Lease, then watch and work until it is lost or somebody says stop."""

import asyncio
import logging
import random
import signal
import sys
from collections.abc import Collection
from typing import Any

import msgspec
import uvloop

from llmroute.errors import ConfigError
from llmroute_operator import handlers, logs
from llmroute_operator.cluster import Cluster
from llmroute_operator.leader import Leader, LeaseLost
from llmroute_operator.marks import Marks
from llmroute_operator.metrics import Metrics
from llmroute_operator.probes import application, serving
from llmroute_operator.reconcile import Reconciler
from llmroute_operator.seen import Listing, Seen, watched
from llmroute_operator.settings import Settings, from_environment
from llmroute_operator.sidecars import Sidecars
from llmroute_operator.work import Nudger, Turns, keep_certificate, permitted, sweep

log = logging.getLogger(__name__)

DEAF = 120.0
"""Seconds that a change may go untold by a watch before the process is said to be dead."""
STUCK = 150.0
"""Seconds that a namespace may wait for its turn, or a turn take."""
NOT_YET, STILL = 5.0, 60.0
"""Seconds between two looks whether we may watch: while we may not, and while we may."""
LAST_MOMENTS = 5.0
"""Seconds that the work gets to end in."""


class Outdated(Exception):
    """The watches are not those that are needed any more: a new process begins with the right ones."""


class Operator:
    """The composition: what knows what."""

    def __init__(self, cluster: Cluster, settings: Settings, metrics: Metrics) -> None:
        self._cluster = cluster
        self._settings = settings
        self._metrics = metrics
        self._clock = asyncio.get_running_loop().time
        self._marks = Marks(random.Random())
        self._seen = Seen()
        self._wrong: str | None = "the API server has not answered yet"
        self._permitted = asyncio.Event()
        self._served = settings
        """With the listed namespaces that can be served."""
        self._watching = False
        # Sidecars tell turns, and turns the reconciler, which reads what sidecars say.
        self._sidecars = Sidecars(lambda namespace: self._turns.look(namespace))
        self._reconciler = Reconciler(cluster, settings, metrics, self._seen, self._sidecars)
        self._turns = Turns(self._marks, self._reconciler, metrics)
        self._nudger = Nudger(cluster, self._reconciler.nudges, metrics)
        self.leader = Leader(cluster, settings.own_namespace, settings.identity)

    def alive(self) -> str | None:
        """Why a new process would do better; None if it would not."""
        now = self._clock()
        if (deaf := self._seen.deaf(now)) > DEAF:
            return f"a watch is dead: it missed a change {deaf:.0f} s ago"
        if (stuck := self._marks.stuck(now)) > STUCK:
            return f"the queue has not moved for {stuck:.0f} s"
        return None

    def ready(self) -> str | None:
        """Why we could not work if it were our turn."""
        return self._wrong

    def exposition(self) -> bytes:
        """The metrics of now."""
        self._metrics.counted(self._sidecars.counts())
        self._metrics.found(*self._reconciler.counts())
        return self._metrics.exposition()

    async def run(self) -> None:
        """Wait for the Lease and work. Raises LeaseLost, or what made the watches end."""
        listings = watched(clusterwide=self._settings.clusterwide)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._check(listings))
            await self.leader.acquire()
            self._metrics.leader.set(1)
            group.create_task(self.leader.hold())
            await self._permitted.wait()
            self._watching = True
            group.create_task(self._watch(listings))
            group.create_task(self._turns.run())
            group.create_task(self._sidecars.run())
            group.create_task(self._nudger.run())
            group.create_task(sweep(self._cluster, self._served, self._seen, self._metrics, self._turns.mark))
            if self._settings.webhook_name:
                group.create_task(keep_certificate(self._cluster, self._settings, self._metrics))

    async def _check(self, listings: tuple[Listing, ...]) -> None:
        """See, for ever, whether we may watch what we must. Raises Outdated."""
        while True:
            found = await permitted(self._cluster, self._settings, listings)
            if found.wrong is not None and found.wrong != self._wrong:
                log.error("cannot work: %s", found.wrong)
            self._wrong = found.wrong
            if found.known:
                self._serve(found.refused)
            await asyncio.sleep(STILL if found.wrong is None else NOT_YET)

    def _serve(self, refused: Collection[str | None]) -> None:
        """One of the listed namespaces that is gone does not keep us from the others."""
        served = tuple(one for one in self._settings.namespaces if one not in refused)
        if self._watching:
            if served and served != self._served.namespaces:
                raise Outdated(f"other namespaces can be served than before: {', '.join(served)}")
        elif served or not refused:
            self._served = msgspec.structs.replace(self._settings, namespaces=served)
            self._permitted.set()

    async def _watch(self, listings: tuple[Listing, ...]) -> None:
        watches = handlers.Watches(self._served, listings, self._told)
        watches.start(self._cluster.access)
        try:
            await watches.ended()
        finally:
            await watches.stop()

    def _told(self, kind: str, type_: str | None, body: dict[str, Any]) -> None:
        namespace = self._seen.event(kind, type_, body)
        if namespace is None:
            return
        if kind == "namespaces":
            if namespace not in self._reconciler:
                return
            self._reconciler.surroundings_changed(namespace)
        self._turns.mark(namespace)


async def operate(settings: Settings) -> int:
    """Run until a signal or a failure; gives the exit code."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    metrics = Metrics()
    async with Cluster(settings.kubeconfig, metrics.called) as cluster:
        operator = Operator(cluster, settings, metrics)
        app = application(operator.alive, operator.ready, operator.exposition)
        async with serving(app, settings.port) as port:
            log.info("started", extra={"identity": settings.identity, "port": port})
            try:
                return await _until(stop, operator)
            finally:
                await operator.leader.release()


async def _until(stop: asyncio.Event, operator: Operator) -> int:
    running, stopping = asyncio.create_task(operator.run()), asyncio.create_task(stop.wait())
    await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not running.done():
        log.info("stopping")
        running.cancel()
        await asyncio.wait((running,), timeout=LAST_MOMENTS)
    error = running.exception() if running.done() and not running.cancelled() else None
    if error is not None:
        lost = isinstance(error, BaseExceptionGroup) and error.subgroup((LeaseLost, Outdated))
        log.error("ending: %s", lost.exceptions[0] if lost else error, exc_info=None if lost else error)
    return 0 if stop.is_set() else 1


def main() -> None:
    """The command."""
    try:
        settings = from_environment()
    except ConfigError as error:
        sys.exit(f"llmroute-operator: {error}")
    logs.begin(settings.log_level)
    handlers.quiet()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(operate(settings))
    sys.exit(code)


if __name__ == "__main__":
    main()

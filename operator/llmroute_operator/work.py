"""The loops of the leader: turns of namespaces, nudges, the sweep for what no watch told, the certificate."""

import asyncio
import logging
from collections.abc import Callable, Iterable

import msgspec

from llmroute_operator import certificates
from llmroute_operator.cluster import Cluster
from llmroute_operator.errors import ClusterError, Forbidden, NotFound
from llmroute_operator.marks import Marks, Turn
from llmroute_operator.metrics import Metrics
from llmroute_operator.nudge import RATE, Bucket, Nudge, Schedule
from llmroute_operator.reconcile import Reconciler
from llmroute_operator.seen import Listing, Seen
from llmroute_operator.settings import Settings

log = logging.getLogger(__name__)

TOGETHER = 16
"""Namespaces that are looked at, at the same time."""
LONGEST_TURN = 60.0
"""Seconds; what hangs for longer is cut off and tried again."""
NUDGES_TOGETHER = 16
SWEEP = 60.0
"""Seconds between two lists of all routes."""
CERTIFICATE = 30.0
"""Seconds between two looks at the certificate and the webhook's caBundle."""


class Turns:
    """Gives namespaces their turns."""

    def __init__(self, marks: Marks, reconciler: Reconciler, metrics: Metrics) -> None:
        self._marks = marks
        self._reconciler = reconciler
        self._metrics = metrics
        self._clock = asyncio.get_running_loop().time
        self._woken = asyncio.Event()
        self._free = asyncio.Semaphore(TOGETHER)
        metrics.depth.set_function(lambda: marks.depth(self._clock()))

    def mark(self, namespace: str) -> None:
        """Something in the namespace changed."""
        self._marks.mark(namespace, self._clock())
        self._woken.set()

    def look(self, namespace: str) -> None:
        """The namespace is worth a look, though nothing of its objects changed."""
        self._marks.later(namespace, self._clock())
        self._woken.set()

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._free.acquire()
                group.create_task(self._work(await self._next()))

    async def _next(self) -> Turn:
        while True:
            self._woken.clear()
            now = self._clock()
            if (turn := self._marks.take(now)) is not None:
                return turn
            due = self._marks.next()
            try:
                async with asyncio.timeout_at(due):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _work(self, turn: Turn) -> None:
        began, again = self._clock(), None
        self._metrics.waited.observe(turn.waited)
        try:
            async with asyncio.timeout(LONGEST_TURN):
                again = await self._reconciler.look(turn.namespace, fresh=turn.fresh)
        except (ClusterError, TimeoutError) as error:
            wait = self._marks.failed(turn.namespace, self._clock())
            self._metrics.reconciles.labels("error").inc()
            told = str(error) or f"no end after {LONGEST_TURN:.0f} s"
            log.warning("again in %.1f s: %s", wait, told, extra={"namespace": turn.namespace})
        except Exception:
            self._marks.failed(turn.namespace, self._clock())
            self._metrics.reconciles.labels("error").inc()
            log.exception("a defect of ours", extra={"namespace": turn.namespace})
        else:
            self._marks.done(turn.namespace, self._clock(), again)
            self._metrics.reconciles.labels("ok").inc()
        finally:
            self._metrics.duration.observe(self._clock() - began)
            self._free.release()
            self._woken.set()


class Nudger:
    """Sends the nudges that the schedule wants."""

    def __init__(self, cluster: Cluster, schedule: Schedule, metrics: Metrics) -> None:
        self._cluster = cluster
        self._schedule = schedule
        self._metrics = metrics
        self._bucket = Bucket(RATE)
        self._free = asyncio.Semaphore(NUDGES_TOGETHER)
        self._told = False
        metrics.pending.set_function(lambda: len(schedule))

    async def run(self) -> None:
        """For ever."""
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as group:
            while True:
                due = self._schedule.next(clock())
                if not isinstance(due, Nudge):
                    # New ones come without notice; none is so urgent that a tenth of a second matters.
                    await asyncio.sleep(0.1 if due is None else min(0.1, due))
                    continue
                while (wait := self._bucket.take(clock())) > 0:  # noqa: ASYNC110 -- time itself is waited for
                    await asyncio.sleep(wait)
                await self._free.acquire()
                group.create_task(self._send(due))

    async def _send(self, nudge: Nudge) -> None:
        result = "ok"
        try:
            body = {"metadata": {"annotations": nudge.annotations}}
            await self._cluster.patch("pods", nudge.namespace, nudge.pod, body)
        except NotFound:
            result = "gone"
        except Forbidden as error:
            result = "forbidden"
            log.log(logging.DEBUG if self._told else logging.WARNING, "pods may not be nudged: %s", error)
            self._told = True
        except ClusterError as error:
            result = "error"
            log.warning("a nudge failed: %s", error, extra={"namespace": nudge.namespace})
        finally:
            self._free.release()
        self._metrics.nudges.labels(result).inc()


async def sweep(
    cluster: Cluster, settings: Settings, seen: Seen, metrics: Metrics, mark: Callable[[str], None]
) -> None:
    """Compare, for ever, what is there with what the watches told; mark what they missed."""
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(SWEEP)
        try:
            found = [
                one
                for namespace in settings.namespaces or (None,)
                for one in await cluster.metadata("llmroutes", namespace)
            ]
        except ClusterError as error:
            log.warning("the sweep failed: %s", error)
            continue
        for namespace in seen.listed(found, clock()):
            log.warning("a watch missed a change", extra={"namespace": namespace})
            metrics.missed.inc()
            mark(namespace)


async def keep_certificate(cluster: Cluster, settings: Settings, metrics: Metrics) -> None:
    """Keep the injector's certificate, for ever."""
    while True:
        try:
            ends = await certificates.keep(cluster, settings, certificates.now())
            metrics.certificate.set(ends.timestamp())
        except ClusterError as error:
            metrics.errors.labels("certificate").inc()
            log.warning("the injector's certificate cannot be kept: %s", error)
        await asyncio.sleep(CERTIFICATE)


class Permits(msgspec.Struct, frozen=True):
    """Whether we may watch what we must."""

    wrong: str | None
    """What stands in the way somewhere; None: nothing."""
    refused: frozenset[str | None]
    """Namespaces (None: the cluster) where a right or the resource is missing, or that are gone themselves."""
    known: bool = True
    """Whether the API server has said all that."""


async def permitted(cluster: Cluster, settings: Settings, listings: Iterable[Listing]) -> Permits:
    """Look whether the watches can work. Without a right in a namespace one cannot tell whether it is there."""
    wrong: list[str] = []
    refused: set[str | None] = set()
    for listing in listings:
        query = {"labelSelector": listing.labels, "fieldSelector": listing.fields, "limit": "1"}
        for namespace in {*(settings.namespaces or (None,))} - refused:
            try:
                await cluster.objects(listing.kind, namespace, **{key: value for key, value in query.items() if value})
            except NotFound:
                wrong.append(f"the API server knows no {listing.kind}: is the CustomResourceDefinition installed?")
                refused.add(namespace)
            except Forbidden as error:
                wrong.append(f"a right is missing, see the chart's RBAC: {error}")
                refused.add(namespace)
            except ClusterError as error:
                return Permits(str(error), frozenset(), known=False)
    return Permits(wrong[0] if wrong else None, frozenset(refused))

"""One look at a namespace: what is there, what should be there, and the calls that make it so.

Level-based: nothing here depends on which event came, or on what a former life of this process did. Steps do not wait
for each other's success: a right that is missing for one thing stops that thing only.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from llmroute_operator import names
from llmroute_operator.autoscaling import Rules
from llmroute_operator.cluster import Cluster
from llmroute_operator.errors import ClusterError, Conflict, Forbidden
from llmroute_operator.metrics import Metrics
from llmroute_operator.nudge import Schedule, Wanted
from llmroute_operator.objects import KEY_BYTES, event, fleet_key, fleet_secret, service_repaired, sidecars_service
from llmroute_operator.plan import Plan, plan, undelivered
from llmroute_operator.polling import Expected
from llmroute_operator.render import Rendered, config_map, holds
from llmroute_operator.scaling import Scaled, scale
from llmroute_operator.seen import Seen
from llmroute_operator.settings import Settings
from llmroute_operator.sidecars import Sidecars
from llmroute_operator.snapshot import Regions, Snapshot, Surroundings, read, surroundings
from llmroute_operator.status import Scene, StatusChange, statuses

log = logging.getLogger(__name__)

RESYNC = 300.0
"""Seconds after which everything is read again although no event came."""
AROUND = 60.0
"""Seconds between two looks at what no watch tells of."""
UNRESOLVED = 10.0
"""Seconds between two looks for a Service that is not there."""
SETTLING = 5.0
"""Seconds between two looks at what KEDA makes of a ScaledObject."""


class Namespace:
    """What is remembered of one namespace between two looks. All of it can be read again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.snapshot: Snapshot | None = None
        self.around: Surroundings | None = None
        self.plan: Plan | None = None
        self.key = ""
        """The fleet key."""
        self.scaled = Scaled({}, settling=False, ours=True)
        """How scaling went; at first, ScaledObjects of a former life are taken for granted."""
        self.scaled_at = float("-inf")
        self.undelivered = ""
        """Why the configuration could not be written."""
        self.errors: list[ClusterError] = []
        """Of this look."""

    def outdated(self, now: float) -> bool:
        """Whether all must be read again although nothing told of a change: of users' Services no watch tells."""
        if self.snapshot is None or self.plan is None:
            return True
        return now - self.snapshot.at >= (UNRESOLVED if self.plan.unresolved else RESYNC)


class Reconciler:
    """Looks at namespaces."""

    def __init__(self, cluster: Cluster, settings: Settings, metrics: Metrics, seen: Seen, sidecars: Sidecars) -> None:
        self._cluster = cluster
        self._settings = settings
        self._metrics = metrics
        self._seen = seen
        self._sidecars = sidecars
        self._regions = Regions(cluster)
        self._rules = Rules(
            settings.prometheus_address, settings.autoscaling, settings.scale_up_after, settings.scale_down_after
        )
        self._namespaces: dict[str, Namespace] = {}
        self.nudges = Schedule()

    async def look(self, name: str, *, fresh: bool) -> float | None:
        """Look at a namespace and make it as it should be. `fresh`: something in it changed.

        Returns the seconds until the next look; None if nothing of ours is there. Raises a ClusterError if some step
        failed; the others were made.
        """
        now = asyncio.get_running_loop().time()
        read_anew = False
        space = self._namespaces.setdefault(name, Namespace(name))
        space.errors = []
        if fresh or space.outdated(now):
            space.snapshot = await read(self._cluster, name, now)
            read_anew = True
            remembered = space.plan.entries if space.plan else {}
            space.plan = await self._plan(space.snapshot, remembered)
        assert space.snapshot is not None and space.plan is not None
        if not space.snapshot.concerns_us:
            self._forget(name)
            return None
        if space.around is None or now - space.around.at >= AROUND:
            await self._step("surroundings", space, self._look_around(space, now))
        if space.around is not None and space.around.terminating:
            self._forget(name)
            return None
        written = await self._deliver(space)
        await self._nudge(space, written, now)
        self._expect(space)
        if read_anew or now - space.scaled_at >= (SETTLING if space.scaled.settling else AROUND):
            await self._step("autoscaling", space, self._scale(space, now))
        await self._report(space)
        if space.errors:
            raise space.errors[0]
        return SETTLING if space.scaled.settling else UNRESOLVED if space.plan.unresolved else AROUND

    def surroundings_changed(self, name: str) -> None:
        """The namespace itself changed: its next look reads what is otherwise read once a minute."""
        if name in self._namespaces:
            self._namespaces[name].around = None

    def counts(self) -> tuple[int, int, int]:
        """Accepted routes, routes that are not, pods without the sidecar that they asked for."""
        spaces = self._namespaces.values()
        verdicts = [one for space in spaces if space.plan for one in space.plan.verdicts.values()]
        accepted = sum(one.accepted.ok is True for one in verdicts)
        missing = sum(len(space.around.without_sidecar) for space in spaces if space.around)
        return accepted, len(verdicts) - accepted, missing

    def __contains__(self, namespace: str) -> bool:
        """Whether there is anything of ours in the namespace, as far as is known."""
        return namespace in self._namespaces

    async def _plan(self, snapshot: Snapshot, remembered: Mapping[str, Mapping[str, Any]]) -> Plan:
        """In a thread: a full namespace takes a second to compress, and the Lease must be renewed meanwhile."""
        domain = self._settings.cluster_domain
        return await asyncio.to_thread(plan, snapshot.routes, snapshot.services, snapshot.config, remembered, domain)

    def _forget(self, name: str) -> None:
        self._namespaces.pop(name, None)
        self._sidecars.forget(name)
        self.nudges.keep(name, ())

    async def _step(self, step: str, space: Namespace, work: Awaitable[object]) -> bool:
        """Make one step; a failure is noted, counted and told, and does not stop the others."""
        try:
            await work
        except ClusterError as error:
            space.errors.append(error)
            self._metrics.errors.labels(step).inc()
            level = logging.INFO if isinstance(error, Conflict) else logging.WARNING
            hint = "; see the chart's RBAC" if isinstance(error, Forbidden) else ""
            log.log(level, "%s failed%s: %s", step, hint, error, extra={"namespace": space.name})
            if isinstance(error, Forbidden):
                space.around = None  # The namespace may be about to go.
            return False
        return True

    async def _look_around(self, space: Namespace, now: float) -> None:
        assert space.snapshot is not None
        space.around = await surroundings(self._cluster, space.name, now)
        if space.around.terminating:
            return
        await self._step("service", space, self._keep_service(space, space.snapshot))
        await self._step("fleet key", space, self._keep_fleet_key(space))

    async def _keep_service(self, space: Namespace, snapshot: Snapshot) -> None:
        found = snapshot.services.get(names.SIDECARS_SERVICE)
        if found is None:
            written = await self._cluster.create("services", space.name, sidecars_service(space.name))
        elif (repaired := service_repaired(found)) is not None:
            written = await self._cluster.replace("services", space.name, repaired)
        else:
            return
        self._seen.wrote("services", written)
        services = {**snapshot.services, names.SIDECARS_SERVICE: written}
        space.snapshot = msgspec.structs.replace(snapshot, services=services)

    async def _keep_fleet_key(self, space: Namespace) -> None:
        found = await self._cluster.read("secrets", space.name, names.FLEET_SECRET)
        if not fleet_key(found):
            manifest = fleet_secret(space.name, os.urandom(KEY_BYTES), found)
            write = self._cluster.replace if found else self._cluster.create
            found = await write("secrets", space.name, manifest)
        space.key = fleet_key(found)

    async def _deliver(self, space: Namespace) -> bool:
        """Write the configuration if it is not what it should be. Whether it was written."""
        assert space.snapshot is not None and space.plan is not None
        if holds(space.snapshot.config, space.plan.rendered):
            return False
        write = self._write_config(space, space.snapshot, space.plan.rendered)
        written = await self._step("configuration", space, write)
        space.undelivered = "" if written else str(space.errors[-1])
        return written

    async def _write_config(self, space: Namespace, snapshot: Snapshot, rendered: Rendered) -> None:
        manifest = config_map(space.name, rendered, snapshot.config)
        write = self._cluster.replace if snapshot.config else self._cluster.create
        written = await write("configmaps", space.name, manifest)
        self._seen.wrote("configmaps", written)
        space.snapshot = msgspec.structs.replace(snapshot, config=written)
        self._metrics.writes.inc()
        count = len(snapshot.routes)
        log.info(
            "configuration written", extra={"namespace": space.name, "revision": rendered.revision, "routes": count}
        )

    async def _nudge(self, space: Namespace, written: bool, now: float) -> None:
        """Tell the schedule what each pod should be told."""
        assert space.snapshot is not None and space.plan is not None
        if not self._settings.nudge or not holds(space.snapshot.config, space.plan.rendered):
            return
        regions = await self._regions.of(space.snapshot.pods)
        revision = space.plan.rendered.revision
        contacts = self._sidecars.contacts(space.name)
        for pod in space.snapshot.pods:
            report = contacts[pod.name].report if pod.name in contacts else None
            wanted = Wanted(revision, regions.get(pod.node, ""), written)
            self.nudges.want(pod, wanted, confirmed=report is not None and report.revision == revision, now=now)
        self.nudges.keep(space.name, {pod.name for pod in space.snapshot.pods})

    def _expect(self, space: Namespace) -> None:
        """Tell those who ask the sidecars what to expect of them."""
        assert space.snapshot is not None and space.plan is not None
        serving = [pod for pod in space.snapshot.pods if pod.serves]
        routes = {
            uid: frozenset(pod.uid for pod in serving if verdict.workloads.selects(pod.labels))
            for uid, verdict in space.plan.verdicts.items()
        }
        self._sidecars.expect(space.name, Expected(space.plan.rendered.revision, space.key, serving, routes))

    async def _scale(self, space: Namespace, now: float) -> None:
        """Keep the ScaledObjects, where some route wants one or there is one of ours."""
        assert space.snapshot is not None and space.plan is not None
        wanted = any(one["spec"].get("autoscaling") for one in space.snapshot.routes)
        if wanted or space.scaled.ours:
            routes, verdicts = space.snapshot.routes, space.plan.verdicts
            space.scaled = await scale(self._cluster, space.name, routes, verdicts, self._rules)
        space.scaled_at = now

    async def _report(self, space: Namespace) -> None:
        """Write the status of each route whose status is not as it should be."""
        assert space.snapshot is not None and space.plan is not None
        around, verdicts = space.around, space.plan.verdicts
        if space.undelivered:
            verdicts = undelivered(verdicts, space.undelivered)
        scene = Scene(
            pods=[*space.snapshot.pods, *(around.without_sidecar if around else ())],
            contacts=self._sidecars.contacts(space.name),
            namespace_labels=around.labels if around else {},
            autoscaling=space.scaled.aspects,
        )
        uids = {one["metadata"]["name"]: one["metadata"]["uid"] for one in space.snapshot.routes}
        changes = statuses(datetime.now(UTC), space.snapshot.routes, verdicts, scene)
        writes = (self._write_status(space, change, uids[change.name]) for change in changes)
        await asyncio.gather(*(self._step("status", space, write) for write in writes))

    async def _write_status(self, space: Namespace, change: StatusChange, uid: str) -> None:
        # With its uid, so that a new route of the same name does not get the old one's status.
        body = {"metadata": {"uid": uid}, "status": change.status}
        written = await self._cluster.patch("llmroutes", space.name, change.name, body, subresource="status")
        assert space.snapshot is not None
        routes = [written if one["metadata"]["uid"] == uid else one for one in space.snapshot.routes]
        space.snapshot = msgspec.structs.replace(space.snapshot, routes=routes)
        for one in change.events:
            manifest = event(written, one, secrets.token_hex(8), datetime.now(UTC))
            await self._step("event", space, self._cluster.create("events", space.name, manifest))

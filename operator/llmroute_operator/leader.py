"""One of several operators works: the one whose name is in the Lease.

The library's elector never gives the Lease back and returns to work after a loss. Here: acquire, renew; a loss ends the
process; a stop clears the holder, so that the next one need not wait. As in client-go, nobody's clock is trusted: a
Lease is stale when it has not *changed* for its duration on our own monotonic clock. `resourceVersion` makes two
writers impossible.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from llmroute_operator import names
from llmroute_operator.cluster import Call, Cluster, Object
from llmroute_operator.errors import ClusterError, Conflict, NotFound
from llmroute_operator.paths import collection, member

log = logging.getLogger(__name__)


class Terms(msgspec.Struct, frozen=True):
    """Seconds. A holder gives up (`renew_within`) well before others may take over (`duration`)."""

    duration: float = 15.0
    renew_within: float = 10.0
    retry: float = 2.0
    call: float = 4.0
    """Longest wait for one answer."""


class LeaseLost(Exception):
    """Somebody else may be working now: this process must end."""


class Sight:
    """What we saw of the Lease, and when it last changed, on our own clock. Pure."""

    def __init__(self) -> None:
        self._seen: object = None
        self._since = 0.0

    def stale(self, lease: Object, now: float) -> bool:
        """Whether the Lease is free: nobody holds it, or it did not change for as long as its holder promised."""
        spec = lease.get("spec") or {}
        mark = (lease["metadata"].get("resourceVersion"), spec.get("holderIdentity"), spec.get("renewTime"))
        if mark != self._seen:
            self._seen, self._since = mark, now
        if not spec.get("holderIdentity"):
            return True
        return now - self._since >= float(spec.get("leaseDurationSeconds") or 0)


def claim(lease: Object | None, identity: str, duration: float, written: datetime) -> Object:
    """The Lease as it is to be written by its (new) holder."""
    old: dict[str, Any] = (lease or {}).get("spec") or {}
    ours = old.get("holderIdentity") == identity
    stamp = written.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {
        **old,
        "holderIdentity": identity,
        "leaseDurationSeconds": int(duration),
        "acquireTime": old.get("acquireTime") if ours else stamp,
        "renewTime": stamp,
        "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if ours or lease is None else 1),
    }
    metadata = (lease or {}).get("metadata") or {
        "name": names.LEASE,
        "labels": {names.MANAGED_BY: names.MANAGED_BY_VALUE},
    }
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


class Leader:
    """Holds the Lease, or waits for it."""

    def __init__(self, cluster: Cluster, namespace: str, identity: str, terms: Terms | None = None) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._identity = identity
        self._terms = terms or Terms()
        self._rng = random.Random()
        self._sight = Sight()
        self._lease: Object | None = None
        self.leading = False

    async def acquire(self) -> None:
        """Return when the Lease is ours."""
        while not await self._try(self._take):  # noqa: ASYNC110 -- what is waited for happens in another process
            await asyncio.sleep(self._terms.retry * self._rng.uniform(0.8, 1.2))
        self.leading = True
        log.info("leading", extra={"identity": self._identity})

    async def hold(self) -> None:
        """Renew for ever; raises LeaseLost."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._terms.renew_within
        while True:
            await asyncio.sleep(self._terms.retry)
            began, renewed = clock(), False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    renewed = await self._try(self._renew)
            if renewed:
                deadline = began + self._terms.renew_within
            elif clock() + self._terms.retry >= deadline:
                self.leading = False
                raise LeaseLost("the Lease could not be renewed in time")

    async def release(self) -> None:
        """Clear the holder, so that another one takes over at once. Does nothing if the Lease is not ours."""
        if not self.leading or self._lease is None:
            return
        self.leading = False
        lease = claim(self._lease, self._identity, 1, datetime.now(UTC))
        lease["spec"]["holderIdentity"] = ""
        await self._try(lambda: self._write(lease))

    async def _try(self, step: Callable[[], Awaitable[bool]]) -> bool:
        try:
            return await step()
        except LeaseLost:
            raise
        except Conflict:
            return False
        except ClusterError as error:
            log.warning("the Lease cannot be reached: %s", error)
            return False

    async def _take(self) -> bool:
        lease = await self._read()
        if lease is None:
            created = claim(None, self._identity, self._terms.duration, datetime.now(UTC))
            self._lease = await self._call("POST", collection("leases", self._namespace), created)
            return True
        # A Lease in our own name is from our former life: the container was restarted in the same pod.
        ours = (lease.get("spec") or {}).get("holderIdentity") == self._identity
        if not ours and not self._sight.stale(lease, asyncio.get_running_loop().time()):
            return False
        return await self._write(claim(lease, self._identity, self._terms.duration, datetime.now(UTC)))

    async def _renew(self) -> bool:
        assert self._lease is not None
        try:
            return await self._write(claim(self._lease, self._identity, self._terms.duration, datetime.now(UTC)))
        except Conflict:
            lease = await self._read()
            holder = ((lease or {}).get("spec") or {}).get("holderIdentity")
            if lease is None or holder != self._identity:
                self.leading = False
                raise LeaseLost(f"the Lease is now held by {holder or 'nobody'}") from None
            # Our own renewal whose answer was lost, or somebody's edit of a label.
            self._lease = lease
            return await self._write(claim(lease, self._identity, self._terms.duration, datetime.now(UTC)))

    async def _read(self) -> Object | None:
        try:
            return await self._call("GET", member("leases", self._namespace, names.LEASE), None)
        except NotFound:
            return None

    async def _write(self, lease: Object) -> bool:
        self._lease = await self._call("PUT", member("leases", self._namespace, names.LEASE), lease)
        return True

    async def _call(self, verb: str, path: str, body: Object | None) -> Object:
        return await self._cluster.call(Call(verb=verb, path=path, body=body, seconds=self._terms.call, tries=1))

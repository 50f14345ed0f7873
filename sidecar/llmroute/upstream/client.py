"""All pools of the process, and what they share: names, trust, the environment's proxies, the sweep."""

import asyncio
import os
from collections.abc import Collection, Mapping

from llmroute.upstream.dial import Dialer
from llmroute.upstream.dns import Names, Resolve
from llmroute.upstream.origin import Origin
from llmroute.upstream.pool import Pool, Tuning
from llmroute.upstream.proxy import proxy_for
from llmroute.upstream.tls import Trust


class Upstream:
    """The client. One a process.

    `ca_file`: a PEM bundle trusted besides the system's. `environ` (the process's own if None) names the proxies.
    `resolve` replaces the system's resolver. Raises ConfigError for a bundle that cannot be read.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        ca_file: str | None = None,
        environ: Mapping[str, str] | None = None,
        resolve: Resolve | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        self._loop = loop
        self._environ = os.environ if environ is None else environ
        self._tuning = tuning or Tuning()
        self._names = Names(loop, resolve, self._tuning.dns_ttl)
        self._trust = Trust(loop, ca_file)
        self._pools: dict[Origin, Pool] = {}
        self._leaving: list[Pool] = []
        self._timer = loop.call_later(self._tuning.sweep_every, self._sweep)

    def pool(self, origin: Origin) -> Pool:
        """The pool of an origin, the same for the same origin. Raises ConfigError for a proxy that makes no sense."""
        pool = self._pools.get(origin)
        if pool is None:
            dialer = Dialer(self._loop, origin, proxy_for(origin, self._environ), self._names, self._trust)
            pool = self._pools[origin] = Pool(self._loop, origin, dialer, self._tuning)
        return pool

    def addresses(self, origin: Origin) -> frozenset[str]:
        """What the origin's name stands for by the last answer, which is asked for again when it has aged; empty: there
        is none yet, or a proxy asks for it."""
        if proxy_for(origin, self._environ) is not None:
            return frozenset()
        return self._names.follow(origin.host, origin.port)

    def retain(self, origins: Collection[Origin]) -> None:
        """Drops the pools of all other origins; requests under way there go on to their end."""
        for origin in self._pools.keys() - set(origins):
            pool = self._pools.pop(origin)
            pool.retire()
            self._leaving.append(pool)

    def _sweep(self) -> None:
        self._timer = self._loop.call_later(self._tuning.sweep_every, self._sweep)
        for pool in self._pools.values():
            pool.sweep(self._names)
        self._leaving = [pool for pool in self._leaving if not pool.empty]

    async def aclose(self) -> None:
        """Closes every connection and ends all that runs in the background."""
        self._timer.cancel()
        for pool in (*self._pools.values(), *self._leaving):
            await pool.aclose()
        await self._names.aclose()

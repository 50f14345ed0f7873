"""The admin port: metrics, probes and status. Liveness looks at nothing but the loop itself; readiness asks whether a
configuration is in force, never whether a provider is well."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from llmroute import dashboard
from llmroute.admission import Gate
from llmroute.credentials import SharedKey
from llmroute.errors import RequestError
from llmroute.inbound import addresses
from llmroute.reload import Cell
from llmroute.runtime import LiveRoute
from llmroute.settings import Settings
from llmroute.target import LiveTarget
from llmroute.telemetry import Telemetry

STATUS_WINDOW = 300.0
"""Seconds that the latencies in /status look back."""
MOST_CONNECTIONS = 64
"""In a pod the whole cluster can reach the port: who holds connections open pushes out his own, the oldest, first."""
AT_ONCE = 0.01
"""Seconds that a page may still take when all is over; aiohttp takes 0 for no limit."""


class Admin:
    """Answers the admin port."""

    def __init__(self, settings: Settings, cell: Cell, telemetry: Telemetry) -> None:
        self._gate = Gate(settings)
        self._pod = pod = settings.pod
        self._fleet_key = None if pod is None else SharedKey(Path(pod.directory, "fleet", "key"))
        self._cell = cell
        self._telemetry = telemetry
        self.draining = False

    def app(self) -> web.Application:
        """The pages."""
        app = web.Application(middlewares=[_refuse])
        app.router.add_get("/", self._dashboard)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/status", self._status)
        return app

    async def _livez(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        if self.draining:
            return web.Response(status=503, text="draining\n")
        return web.Response(text=f"ok {self._cell.runtime.revision}\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        headers = {"content-type": self._telemetry.content_type.decode()}
        return web.Response(body=self._telemetry.exposition(), headers=headers)

    async def _dashboard(self, request: web.Request) -> web.Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        return web.Response(text=dashboard.PAGE, content_type="text/html", headers=dashboard.HEADERS)

    async def _status(self, request: web.Request) -> web.Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        body = orjson.dumps(self.status(), option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
        return web.Response(body=body + b"\n", content_type="application/json")

    def _refused(self, request: web.Request) -> web.Response | None:
        """What is answered to those who may not see everything; None to those who may."""
        if request.remote is None or not ipaddress.ip_address(request.remote).is_loopback:
            return self._refused_from_afar(request)
        try:
            self._gate.sort(request.raw_headers)
        except RequestError as error:  # a web page that has its own name point to us, for one
            return web.Response(status=error.status, text=f"{error}\n")
        return None

    def _refused_from_afar(self, request: web.Request) -> web.Response | None:
        if self._fleet_key is None:
            return web.Response(status=403, text="this is for loopback only\n")
        shown = next((value for name, value in request.raw_headers if name.lower() == b"authorization"), b"")
        if self._fleet_key.opens(shown):
            return None
        told = "this is for loopback, and for those who show the fleet's key\n"
        return web.Response(status=401, text=told, headers={"www-authenticate": "Bearer"})

    def status(self) -> dict[str, Any]:
        """What this sidecar runs and what it has learned; no secrets."""
        cell, pod = self._cell, self._pod
        runtime, refused = cell.runtime, cell.refused
        return {
            "revision": runtime.revision,
            "draining": self.draining,
            "rejected": None if refused is None else {"revision": refused.revision, "error": refused.error},
            "pod": None if pod is None else {"name": pod.name, "namespace": pod.namespace, "region": cell.region},
            "routes": [self._route(route) for route in runtime.routes],
        }

    def _route(self, route: LiveRoute) -> dict[str, Any]:
        metadata = route.declared.metadata
        attempts = sum(target.learned.tally.attempts for target in route.targets.values())
        status: dict[str, Any] = {
            "name": route.name,
            "namespace": route.namespace,
            "uid": metadata.uid,
            "generation": metadata.generation,
            "models": list(route.declared.models),
            "targets": [self._target(target, attempts) for target in route.targets.values()],
        }
        if route.cache is not None:
            cache = route.cache
            looked_up = cache.hits + cache.misses
            status["cache"] = {
                "entries": len(cache),
                "bytes": cache.bytes,
                "hits": cache.hits,
                "misses": cache.misses,
                "hitRate": round(cache.hits / looked_up, 4) if looked_up else None,
            }
        return status

    def _target(self, target: LiveTarget, attempts: int) -> dict[str, Any]:
        now, learned = monotonic(), target.learned
        health, tally = learned.health, learned.tally
        limited = health.limited_until
        return {
            "name": target.name,
            "declaredAs": target.candidate.declared_as,
            "address": target.pool.origin.address or None,
            "provider": target.spec.provider,
            "model": target.spec.model,
            "state": str(health.state(now)),
            "reason": health.reason,
            "limitedForSeconds": round(limited - now, 3) if limited > now else None,
            "credential": "available" if target.credential.available else f"missing: {target.credential.looked_in}",
            "inFlight": target.slots.in_flight,
            "attempts": tally.attempts,
            "share": round(tally.attempts / attempts, 4) if attempts else None,
            "errors": tally.errors,
            "inputTokens": tally.input_tokens,
            "outputTokens": tally.output_tokens,
            "cachedTokens": tally.cached_tokens,
            "latency": learned.window.summary(now, STATUS_WINDOW),
        }


@web.middleware
async def _refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is no page of ours: aiohttp's verdict, in our words."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        known = " ".join(resource.canonical for resource in request.app.router.resources())
        return web.Response(status=404, text=f"unknown path; known: {known}\n")
    except web.HTTPMethodNotAllowed:
        return web.Response(status=405, text="use GET\n", headers={"allow": "GET, HEAD"})


@asynccontextmanager
async def serve_admin(admin: Admin, host: str, port: int) -> AsyncIterator[int]:
    """Serve the admin port; gives the port, chosen if 0 was asked. Raises ConfigError if it cannot be had."""
    runner = web.AppRunner(admin.app(), access_log=None, shutdown_timeout=AT_ONCE)
    await runner.setup()
    server, listeners = runner.server, list[asyncio.Server]()
    assert server is not None  # it is there after setup

    def connection() -> asyncio.BaseProtocol:
        open_ones = server.connections
        for oldest in open_ones[: len(open_ones) + 1 - MOST_CONNECTIONS]:
            oldest.force_close()
        return server()

    try:
        sockets = addresses(host, port)
        for listener in sockets:
            listeners.append(await asyncio.get_running_loop().create_server(connection, sock=listener))
        yield sockets[0].getsockname()[1]
    finally:
        for each in listeners:
            each.close()
        await runner.cleanup()

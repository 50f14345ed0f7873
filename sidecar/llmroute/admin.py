"""The admin port: metrics, probes and status. Liveness looks at nothing but the loop itself; readiness asks whether a
configuration is in force, never whether a provider is well."""

import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
from aiohttp import web

from llmroute.admission import Gate
from llmroute.credentials import SharedKey
from llmroute.errors import RequestError
from llmroute.inbound import Arrival
from llmroute.relay import JSON, send_whole
from llmroute.reload import Cell
from llmroute.runtime import LiveRoute
from llmroute.settings import Settings
from llmroute.target import LiveTarget
from llmroute.telemetry import Telemetry

TEXT = b"text/plain; charset=utf-8"
STATUS_WINDOW = 300.0
"""Seconds that the latencies in /status look back."""


class Admin:
    """Answers the admin port."""

    def __init__(self, settings: Settings, cell: Cell, telemetry: Telemetry) -> None:
        self._gate = Gate(settings)
        self._pod = pod = settings.pod
        self._fleet_key = None if pod is None else SharedKey(Path(pod.directory, "fleet", "key"))
        self._cell = cell
        self._telemetry = telemetry
        self.draining = False
        self._pages: dict[str, Callable[[Arrival], Awaitable[web.StreamResponse]]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/status": self._status,
        }

    async def handle(self, arrival: Arrival) -> web.StreamResponse:
        """aiohttp's entry."""
        page = self._pages.get(arrival.path)
        if page is None:
            known = " ".join(self._pages)
            return await send_whole(arrival, 404, TEXT, b"", f"unknown path; known: {known}\n".encode())
        if arrival.message.method not in ("GET", "HEAD"):
            return await send_whole(arrival, 405, TEXT, b"allow: GET, HEAD\r\n", b"use GET\n", close=True)
        return await page(arrival)

    async def _livez(self, arrival: Arrival) -> web.StreamResponse:
        return await send_whole(arrival, 200, TEXT, b"", b"ok\n")

    async def _readyz(self, arrival: Arrival) -> web.StreamResponse:
        if self.draining:
            return await send_whole(arrival, 503, TEXT, b"", b"draining\n")
        return await send_whole(arrival, 200, TEXT, b"", f"ok {self._cell.runtime.revision}\n".encode())

    async def _metrics(self, arrival: Arrival) -> web.StreamResponse:
        return await send_whole(arrival, 200, self._telemetry.content_type, b"", self._telemetry.exposition())

    async def _status(self, arrival: Arrival) -> web.StreamResponse:
        refused = self._refused(arrival)
        if refused is not None:
            return await refused
        body = orjson.dumps(self.status(), option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
        return await send_whole(arrival, 200, JSON, b"", body + b"\n")

    def _refused(self, arrival: Arrival) -> Awaitable[web.StreamResponse] | None:
        """What is answered to those who may not see everything; None to those who may."""
        peer = arrival.as_aiohttps().remote
        if peer is None or not ipaddress.ip_address(peer).is_loopback:
            return self._refused_from_afar(arrival)
        try:
            self._gate.admit(arrival)
        except RequestError as error:  # a web page that has its own name point to us, for one
            return send_whole(arrival, error.status, TEXT, b"", f"{error}\n".encode("utf-8", "replace"))
        return None

    def _refused_from_afar(self, arrival: Arrival) -> Awaitable[web.StreamResponse] | None:
        if self._fleet_key is None:
            return send_whole(arrival, 403, TEXT, b"", b"this is for loopback only\n")
        shown = next((value for name, value in arrival.message.raw_headers if name.lower() == b"authorization"), b"")
        if self._fleet_key.opens(shown):
            return None
        told = b"this is for loopback, and for those who show the fleet's key\n"
        return send_whole(arrival, 401, TEXT, b"www-authenticate: Bearer\r\n", told)

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

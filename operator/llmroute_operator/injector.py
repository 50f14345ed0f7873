"""The injector's server: AdmissionReviews over HTTPS, probes and metrics beside it. Stateless: it knows the review and
its settings, asks nobody, and any number of it may run.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator
from time import perf_counter

import orjson
import uvloop
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llmroute.errors import ConfigError
from llmroute.telemetry.events import Logging
from llmroute.telemetry.writer import Writer
from llmroute_operator.injection_settings import ServerSettings, from_environment
from llmroute_operator.reviews import MalformedReview, answer
from llmroute_operator.tls import Certificate

MEBIBYTE = 1024 * 1024
MOST = 32 * MEBIBYTE
"""Bytes of a review. The API server takes objects of 3 MiB, and writes `<`, `>` and `&` in six bytes each."""
LARGE = MEBIBYTE
LARGE_AT_ONCE = 2
"""Reviews above LARGE that are read and answered at a time; others wait, so that memory is bounded."""
READ_TIMEOUT = 10.0
KEEPALIVE = 120.0
"""Seconds. Longer than the API server's 90, so that it is never we who close a connection that it is about to use."""
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

log = logging.getLogger("llmroute.injector")


class Metrics:
    """Of one injector."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reviews = Counter(
            "llmroute_injector_reviews",
            "Reviews answered, by what became of the pod.",
            ["outcome"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "llmroute_injector_review_duration_seconds",
            "From the head of a review to its answer.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.expires = Gauge(
            "llmroute_injector_certificate_expiry_timestamp_seconds",
            "When the certificate in use expires; 0 without one.",
            registry=self.registry,
        )
        for outcome in ("injected", "completed", "unchanged", "refused", "failed", "malformed"):
            self.reviews.labels(outcome)


class Injector:
    """Answers both ports."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self.metrics = Metrics()
        self.certificate = Certificate(settings.certificate_dir)
        self.draining = False
        self._in_progress = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def apps(self) -> tuple[web.Application, web.Application]:
        """What serves reviews, and what serves probes and metrics."""
        reviews, admin = web.Application(client_max_size=MOST), web.Application()
        reviews.router.add_post("/mutate", self._mutate)
        admin.router.add_get("/livez", self._livez)
        admin.router.add_get("/readyz", self._readyz)
        admin.router.add_get("/metrics", self._metrics)
        return reviews, admin

    def certificate_changed(self) -> None:
        """Tell the metric."""
        self.metrics.expires.set(self.certificate.expires or 0.0)

    async def finish(self) -> None:
        """Wait for the reviews in progress: aiohttp's own shutdown would not read what is left of their bodies."""
        self.draining = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), self._settings.drain_timeout)

    async def _mutate(self, request: web.Request) -> web.Response:
        self._in_progress += 1
        self._idle.clear()
        try:
            return await self._review(request)
        finally:
            self._in_progress -= 1
            if not self._in_progress:
                self._idle.set()

    async def _review(self, request: web.Request) -> web.Response:
        began = perf_counter()
        size = request.content_length
        large = self._large if size is None or size > LARGE else contextlib.nullcontext()
        async with large:
            try:
                async with asyncio.timeout(READ_TIMEOUT):
                    body = await request.read()
                answered = answer(body, self._settings.injection)
            except (MalformedReview, web.HTTPRequestEntityTooLarge, TimeoutError) as error:
                return self._refuse(error)
        self.metrics.reviews.labels(answered.outcome).inc()
        self.metrics.seconds.observe(perf_counter() - began)
        level = {"failed": logging.ERROR, "refused": logging.WARNING, "unchanged": logging.DEBUG}
        log.log(level.get(answered.outcome, logging.INFO), "reviewed", extra={"fields": answered.fields})
        return self._reply(200, answered.body)

    def _refuse(self, error: Exception) -> web.Response:
        status, message = 400, str(error)
        if isinstance(error, web.HTTPRequestEntityTooLarge):
            status, message = 413, f"a review of more than {MOST} bytes"
        elif isinstance(error, TimeoutError):
            status, message = 408, f"the body did not come within {READ_TIMEOUT:.0f} s"
        self.metrics.reviews.labels("malformed").inc()
        log.warning("no review: %s", message)
        response = self._reply(status, orjson.dumps({"error": message}))
        response.force_close()
        return response

    def _reply(self, status: int, body: bytes) -> web.Response:
        response = web.Response(status=status, body=body, content_type="application/json")
        if self.draining:  # the API server's next review goes to another of us
            response.force_close()
        return response

    async def _livez(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        trouble = "draining" if self.draining else "" if self.certificate.expires else "no certificate yet"
        return web.Response(text=f"{trouble or 'ok'}\n", status=503 if trouble else 200)

    async def _metrics(self, request: web.Request) -> web.Response:
        exposition = generate_latest(self.metrics.registry)
        return web.Response(body=exposition, headers={"content-type": CONTENT_TYPE_LATEST})


class Running:
    """An injector that listens on `port` and `admin_port`."""

    def __init__(self, injector: Injector, port: int, admin_port: int) -> None:
        self.port = port
        self.admin_port = admin_port
        self._injector = injector

    def drain(self) -> None:
        """Not ready any more; goes on answering, on connections that end with the answer."""
        self._injector.draining = True


@contextlib.asynccontextmanager
async def running(settings: ServerSettings) -> AsyncIterator[Running]:
    """Serve; at the end finish the reviews in progress."""
    injector = Injector(settings)
    injector.certificate.look()
    injector.certificate_changed()
    async with contextlib.AsyncExitStack() as stack:
        reviews, admin = injector.apps()
        # Entered first, left last: probes and metrics are answered until the last review is.
        admin_port = await stack.enter_async_context(_served(admin, settings.admin, settings.drain_timeout))
        port = await stack.enter_async_context(
            _served(reviews, settings.listen, settings.drain_timeout, injector.certificate)
        )
        following = asyncio.create_task(injector.certificate.follow(injector.certificate_changed))
        stack.callback(following.cancel)
        stack.push_async_callback(injector.finish)
        yield Running(injector, port, admin_port)


@contextlib.asynccontextmanager
async def _served(
    app: web.Application, address: tuple[str, int], drain_timeout: float, certificate: Certificate | None = None
) -> AsyncIterator[int]:
    """Listens; gives the port."""
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=KEEPALIVE, shutdown_timeout=drain_timeout)
    await runner.setup()
    try:
        host, port = address
        context = certificate.context if certificate else None
        await web.TCPSite(runner, host or None, port, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def serve(settings: ServerSettings) -> None:
    """Until SIGTERM or SIGINT; then leave without losing a review. A second one ends the wait."""
    stop, now = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: now.set() if stop.is_set() else stop.set())
    async with running(settings) as injector:
        log.info("reviews on port %d, probes and metrics on port %d", injector.port, injector.admin_port)
        await stop.wait()
        log.info("draining; again to stop now")
        injector.drain()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(now.wait(), settings.drain_delay)


def main() -> int:
    """The command `llmroute-injector`. Exit code 2: configured wrongly."""
    try:
        settings = from_environment()
    except ConfigError as error:
        print(f"llmroute-injector: {error}", file=sys.stderr)
        return 2
    writer = Writer()
    logs = Logging(writer, settings.log_level)
    try:
        uvloop.run(serve(settings))
    finally:
        logs.close()
        writer.close()
    return 0

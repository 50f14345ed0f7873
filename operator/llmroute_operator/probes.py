"""GET /livez, /readyz and /metrics of the operator."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Asked = Callable[[], str | None]
"""What is wrong, or None."""


def application(alive: Asked, ready: Asked, exposition: Callable[[], bytes]) -> web.Application:
    """The three paths; a probe that fails says why."""

    def probe(asked: Asked) -> Callable[[web.Request], object]:
        async def answer(_: web.Request) -> web.Response:
            wrong = asked()
            return web.Response(text=wrong or "ok", status=503 if wrong else 200)

        return answer

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.router.add_get("/livez", probe(alive))  # type: ignore[arg-type]
    app.router.add_get("/readyz", probe(ready))  # type: ignore[arg-type]
    app.router.add_get("/metrics", metrics)
    return app


@asynccontextmanager
async def serving(app: web.Application, port: int) -> AsyncIterator[int]:
    """Serve on all addresses; gives the port, which the system chooses for 0."""
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=75.0, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()

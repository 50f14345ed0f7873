"""A road to the API server on which accidents happen: a reverse proxy that fails as it is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web
from tests.operator.apiserver import ApiServer


class Road:
    """Each accident of `accidents` happens to one request: a status, "cut" (the connection), "hang", or "late": the
    request arrives, but its answer is lost. `blocked` cuts every one. `weather`: what happens to each n-th, by n; a
    conflict (409) only to what writes."""

    def __init__(self) -> None:
        self.accidents: list[int | str] = []
        self.blocked = False
        self.weather: dict[int, int | str] = {}
        self.seen: list[str] = []
        self.kubeconfig = Path()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(f"{request.method} {request.path}")
        accident = "cut" if self.blocked else self.accidents.pop(0) if self.accidents else self._weather(request.method)
        if isinstance(accident, int) and accident:
            message = {"kind": "Status", "message": "an accident"}
            return web.json_response(message, status=accident, headers={"Retry-After": "0"})
        if accident == "hang":
            await asyncio.sleep(3600)
        if "watch" in request.query:
            return await self._stream(request)
        answer = await self._forward(request) if accident in (0, "late") else None
        if answer is None or accident == "late":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return answer

    def _weather(self, method: str) -> int | str:
        found = next((accident for nth, accident in self.weather.items() if len(self.seen) % nth == 0), 0)
        return 0 if found == 409 and method == "GET" else found

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """A watch, which goes on."""
        async with request.app[SESSION].get(f"{request.app[TARGET]}{request.raw_path}") as answer:
            response = web.StreamResponse(status=answer.status)
            await response.prepare(request)
            async for part in answer.content.iter_any():
                await response.write(part)
        return response

    async def _forward(self, request: web.Request) -> web.Response:
        url = f"{request.app[TARGET]}{request.raw_path}"
        headers = {name: request.headers[name] for name in ("Accept", "Content-Type") if name in request.headers}
        body = await request.read() or None
        async with request.app[SESSION].request(request.method, url, data=body, headers=headers) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")


TARGET = web.AppKey("target", str)
SESSION = web.AppKey("session", aiohttp.ClientSession)


@asynccontextmanager
async def road(server: ApiServer, folder: Path) -> AsyncIterator[Road]:
    """A road that is open as long as the block."""
    context = ssl.create_default_context(cafile=str(server.folder / "ca.crt"))
    context.load_cert_chain(server.folder / "admin.crt", server.folder / "admin.key")
    found, app = Road(), web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", found.handle)
    app[TARGET] = f"https://127.0.0.1:{server.port}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        app[SESSION] = session
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.kubeconfig = folder / "road.kubeconfig"
        cluster = {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}
        found.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "road", "cluster": cluster}],
                    "users": [{"name": "anybody", "user": {}}],
                    "contexts": [{"name": "road", "context": {"cluster": "road", "user": "anybody"}}],
                    "current-context": "road",
                }
            )
        )
        try:
            yield found
        finally:
            await runner.cleanup()

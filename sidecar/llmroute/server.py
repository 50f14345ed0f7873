"""The whole sidecar, composed on one screen."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from time import monotonic

from llmroute import __version__
from llmroute.admin import Admin, serve_admin
from llmroute.configuration import Configuration, LocalFiles
from llmroute.handlers import Proxy
from llmroute.inbound import AppServer, listen
from llmroute.learning import Learner
from llmroute.pod import PodMounts
from llmroute.reload import Cell, Watcher
from llmroute.runtime import Compiler
from llmroute.settings import Settings
from llmroute.telemetry import Telemetry
from llmroute.upstream import Upstream

log = logging.getLogger("llmroute")

AT_ONCE = 1.0
"""Seconds within which what is cut off has ended."""


class Sidecar:
    """A running sidecar: `app_port` and `admin_port` are the ports in use."""

    def __init__(self, cell: Cell, admin: Admin, server: AppServer, listeners: Sequence[asyncio.Server]) -> None:
        self.cell = cell
        self.app_port = 0
        self.admin_port = 0
        self._admin = admin
        self._server = server
        self._listeners = listeners
        self._hurried = False
        self._patience: asyncio.Timeout | None = None

    async def drain(self, longest: float) -> None:
        """Take no new connections, let requests in flight end for at most `longest` seconds, then close."""
        self._admin.draining = True
        for listener in self._listeners:
            listener.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.0 if self._hurried else longest) as self._patience:
                await self._server.drain()
        self._patience = None
        self._server.cut()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AT_ONCE):
                await self._server.drain()
        self._server.close()

    def stop_now(self) -> None:
        """Whatever is still in flight while it drains ends at once."""
        self._hurried = True
        if self._patience is not None:
            self._patience.reschedule(0.0)


@contextlib.asynccontextmanager
async def sidecar(settings: Settings, files: Sequence[Path], rng: Random) -> AsyncIterator[Sidecar]:
    """Start everything, in the order in which the parts need each other; stop it in the reverse order.

    Raises ConfigError if the files or the addresses are wrong: nothing is left running then.
    """
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        telemetry = Telemetry(
            monotonic, version=__version__, access_log=settings.access_log, log_level=settings.log_level
        )
        stack.callback(telemetry.close)  # last: what is logged while the rest stops is written too
        upstream = Upstream(loop, ca_file=settings.ca_file)
        stack.push_async_callback(upstream.aclose)  # after the servers: requests in flight need their connections
        cell = Cell()
        watcher = Watcher(_configuration(settings, files), Compiler(upstream, rng), cell, telemetry)
        watcher.start()
        proxy = Proxy(settings, cell, Learner(telemetry), telemetry, rng)
        app_server = AppServer(proxy.handle, settings.header_timeout, proxy.refused)
        admin = Admin(settings, cell, telemetry)
        admin_port = await stack.enter_async_context(serve_admin(admin, settings.admin_host, settings.admin_port))
        app_listeners, app_port = await listen(app_server, settings.listen_host, settings.listen_port)
        running = Sidecar(cell, admin, app_server, app_listeners)
        running.app_port, running.admin_port = app_port, admin_port
        stack.push_async_callback(running.drain, settings.drain_timeout)
        watching = loop.create_task(watcher.run())
        stack.callback(watching.cancel)
        yield running


def _configuration(settings: Settings, files: Sequence[Path]) -> Configuration:
    pod, secrets_dir = settings.pod, settings.secrets_dir
    if pod is not None:
        return PodMounts(Path(pod.directory), pod.namespace)
    return LocalFiles(files, Path(secrets_dir) if secrets_dir is not None else None)

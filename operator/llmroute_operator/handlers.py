"""Watches: events of the API server become marks on namespaces. The only module that knows kopf.

Of kopf only its watch streams are used (`on.event`): no finalizers, no annotations, no handler state, nothing written.
It runs in a thread with a loop of its own, since it takes signals for its own and cancels every task that began after
it; whatever it does, the Lease is renewed and the work goes on. When it ends, the process must end.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import kopf
import uvloop

from llmroute_operator.cluster import Access
from llmroute_operator.seen import Listing
from llmroute_operator.settings import Settings

Told = Callable[[str, str | None, Any], None]
"""Called with each event, in the main loop: kind, type (None in the first list), object."""

INACTIVITY = 70.0
"""Seconds without an event or bookmark (the API server sends one a minute) after which a watch is opened anew."""
CONNECTION = 600.0
"""Longest life of one watch request, in seconds."""
PAGE = 500
LAST_MOMENTS = 2.0
"""Seconds to end in."""


class Watches:
    """All watches, in a thread."""

    def __init__(self, settings: Settings, listings: tuple[Listing, ...], told: Told) -> None:
        self._settings = settings
        self._listings = listings
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="watches", daemon=True)
        self._access: Callable[[], Coroutine[Any, Any, Access]] | None = None

    def start(self, access: Callable[[], Coroutine[Any, Any, Access]]) -> None:
        """Begin. `access` is asked for the way to the API server, now and after each refusal."""
        self._access = access
        self._thread.start()

    async def ended(self) -> None:
        """Return when the watches have ended after `stop`; raises what made them end before."""
        await asyncio.shield(self._ended)

    async def stop(self) -> None:
        """End; what hangs ends with the process."""
        self._stop.set()
        await asyncio.wait((self._ended,), timeout=LAST_MOMENTS)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._watch())
        except BaseException as raised:
            error = raised
        self._loop.call_soon_threadsafe(self._end, error)

    def _end(self, error: BaseException | None) -> None:
        if self._ended.done():
            return
        if error is None and self._stop.is_set():
            self._ended.set_result(None)
        else:
            self._ended.set_exception(RuntimeError(f"the watches ended: {error!r}"))

    async def _watch(self) -> None:
        existing = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=self._kopf_settings(),
            standalone=True,
            clusterwide=self._settings.clusterwide,
            namespaces=self._settings.namespaces,
            stop_flag=self._stop,
        )
        for task in tasks:
            task.add_done_callback(self._task_ended)
        await kopf.run_tasks(tasks, ignored=existing)

    def _task_ended(self, task: asyncio.Future[None]) -> None:
        """Each is to go on for ever. When one has failed, the others need not end for us to know: they may hang."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_soon_threadsafe(self._end, error)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for listing in self._listings:
            self._handle(registry, listing)
        return registry

    def _handle(self, registry: kopf.OperatorRegistry, listing: Listing) -> None:
        @kopf.on.event(listing.group, listing.version, listing.kind, registry=registry, id=listing.kind)
        async def handle(event: kopf.RawEvent, **_: object) -> None:
            self._loop.call_soon_threadsafe(self._told, listing.kind, event["type"], event["object"])

    async def _login(self, **_: object) -> kopf.ConnectionInfo:
        assert self._access is not None
        asked = asyncio.run_coroutine_threadsafe(self._access(), self._loop)
        access = await asyncio.wrap_future(asked)
        return kopf.ConnectionInfo(
            server=access.server,
            ca_path=access.ca_file,
            certificate_path=access.certificate_file,
            private_key_path=access.key_file,
            scheme=access.scheme,
            token=access.token,
        )

    def _kopf_settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.watching.inactivity_timeout = INACTIVITY
        settings.watching.client_timeout = CONNECTION
        settings.watching.connect_timeout = 10.0
        settings.watching.chunk_size = PAGE
        settings.networking.request_timeout = 60.0
        for listing in self._listings:
            key = (listing.group, listing.kind)
            if listing.labels:
                settings.watching.label_selectors[key] = listing.labels
            if listing.fields:
                settings.watching.field_selectors[key] = listing.fields
        return settings


def quiet() -> None:
    """Keep kopf's chatter out of our log: it tells of every event, and warns that signals are left to us."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)

"""Asks the sidecars for their status, as `polling` says: the only code of the operator that talks to pods.

Every request is bounded in time and size; what answers is not trusted (see `reports`). No redirect is followed, nothing
is inflated, no proxy of the environment is used, no cookie kept.
"""

import asyncio
import ipaddress
import logging
import os
import re
from collections.abc import Callable, Mapping
from time import monotonic

import aiohttp
from yarl import URL

from llmroute_operator.pods import Pod
from llmroute_operator.polling import SILENT, Expected, Polls
from llmroute_operator.reports import LARGEST, Contact, Report, decode

log = logging.getLogger(__name__)

TOGETHER = 64
"""Requests at the same time."""
TIMEOUT = aiohttp.ClientTimeout(total=2.0)
TICK = 0.25
"""Seconds between two looks at who is due."""
APART = 1.0
"""Seconds between two times that a namespace is said to be worth a look: sidecars that confirm one after the other are
news once, not each time."""
KEY = re.compile(r"[!-~]+")


class Sidecars:
    """Knows what the sidecars of all namespaces say. `changed` is called with a namespace when that is worth a look:
    what sidecars run, see or miss has changed, or a minute has passed and their numbers may have."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._polls: dict[str, Polls] = {}
        self._worth: set[str] = set()
        """Namespaces that are worth a look, and have not been told."""
        self._told: dict[str, float] = {}
        self._asking: set[asyncio.Task[None]] = set()

    def expect(self, namespace: str, expected: Expected) -> None:
        """What the sidecars of the namespace should run from now on. To be called with every reconcile; cheap."""
        self._polls.setdefault(namespace, Polls()).expect(monotonic(), expected)

    def forget(self, namespace: str) -> None:
        """Ask nobody there any more."""
        self._polls.pop(namespace, None)
        self._told.pop(namespace, None)

    def contacts(self, namespace: str) -> Mapping[str, Contact]:
        """What is known of each expected pod's sidecar, by the pod's name; at once, nobody is asked."""
        polls = self._polls.get(namespace)
        return polls.contacts(monotonic()) if polls is not None else {}

    def counts(self) -> dict[str, int]:
        """Sidecars of all namespaces by state: current, stale, unreachable, unknown."""
        counts = dict.fromkeys(("current", "stale", "unreachable", "unknown"), 0)
        for polls in self._polls.values():
            for contact in polls.contacts(monotonic()).values():
                counts[_state(contact, polls.revision)] += 1
        return counts

    async def run(self) -> None:
        """Ask for ever; ends only by being cancelled."""
        connector = aiohttp.TCPConnector(limit=TOGETHER, force_close=True)
        async with aiohttp.ClientSession(
            connector=connector, timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        ) as session:
            try:
                while True:
                    self._ask_all_due(session)
                    await asyncio.sleep(TICK)
                    self._tell()
            finally:
                for task in self._asking:
                    task.cancel()
                await asyncio.gather(*self._asking, return_exceptions=True)

    def _ask_all_due(self, session: aiohttp.ClientSession) -> None:
        now = monotonic()
        for namespace, polls in self._polls.items():
            free = TOGETHER - len(self._asking)
            if free <= 0:
                break
            for pod in polls.due(now, free):
                task = asyncio.create_task(self._ask(session, namespace, polls, pod))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
        if len(self._polls) > 1:  # whoever came first comes last the next time: one namespace must not starve others
            first = next(iter(self._polls))
            self._polls[first] = self._polls.pop(first)

    async def _ask(self, session: aiohttp.ClientSession, namespace: str, polls: Polls, pod: Pod) -> None:
        try:
            report, size = await ask(session, pod, polls.key)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            worth = polls.failed(monotonic(), pod.uid, _told(error))
        except Exception as error:
            log.exception("asking the sidecar of %s/%s failed in a way that is not foreseen", namespace, pod.name)
            worth = polls.failed(monotonic(), pod.uid, type(error).__name__)
        else:
            worth = polls.answered(monotonic(), pod.uid, report, size)
        if worth:
            self._worth.add(namespace)

    def _tell(self) -> None:
        now = monotonic()
        for namespace in [one for one in self._worth if now - self._told.get(one, -APART) >= APART]:
            self._worth.discard(namespace)
            if namespace in self._polls:
                self._told[namespace] = now
                self._changed(namespace)


async def ask(session: aiohttp.ClientSession, pod: Pod, key: str) -> tuple[Report, int]:
    """The status of one sidecar, and its bytes. Raises aiohttp.ClientError, TimeoutError, OSError, ValueError."""
    host = str(ipaddress.ip_address(pod.ip))
    if not KEY.fullmatch(key):
        raise ValueError("there is no usable fleet key yet")
    headers = {"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"}
    url = URL.build(scheme="http", host=host, port=pod.port, path="/status")
    async with session.get(url, headers=headers, allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError(f"answered {response.status}")
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > LARGEST:
                raise ValueError(f"the answer is longer than {LARGEST} bytes")
    return decode(bytes(body)), len(body)


def _state(contact: Contact, revision: str) -> str:
    if contact.silent >= SILENT:
        return "unreachable"
    if contact.report is None:
        return "unknown"
    return "current" if contact.report.revision == revision else "stale"


def _told(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer within 2 s"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return f"cannot be connected to: {os.strerror(number) if number else error.os_error}"
    return str(error)[:200] or type(error).__name__

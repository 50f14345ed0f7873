"""Names that age: answers are kept for a while, asked for again, and the last good one outlives a failing resolver."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from aiohappyeyeballs import AddrInfoType

Resolve = Callable[[str, int], Awaitable[Sequence[AddrInfoType]]]
"""Host and port to what `getaddrinfo` returns; raises `socket.gaierror` (an OSError) when there is no answer."""

GRACE = 0.25
"""Seconds that a dial waits for a fresh answer while it holds a stale one: a resolver that hangs costs no more."""


FOLLOW_EVERY = 5.0
"""Seconds that an answer is believed for a name whose addresses are followed: as long as the DNS of a cluster lets its
answers be kept."""


def literal(host: str, port: int) -> AddrInfoType | None:
    """The address itself where `host` is one; None where it is a name."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if address.version == 6:
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


def addresses_of(answer: Sequence[AddrInfoType]) -> frozenset[str]:
    """The bare IP addresses of an answer."""
    return frozenset(str(info[4][0]) for info in answer)


class _Entry:
    __slots__ = ("answer", "answered_at", "asked_at", "known", "question", "turn")

    def __init__(self) -> None:
        self.asked_at = float("-inf")
        self.answer: Sequence[AddrInfoType] = ()
        self.known: frozenset[str] = frozenset()
        self.answered_at = float("-inf")
        self.question: asyncio.Task[None] | None = None
        self.turn = 0


class Names:
    """The DNS cache of the process. Failures are never cached; one question a name is under way at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, resolve: Resolve | None, ttl: float) -> None:
        self._loop = loop
        self._resolve = resolve or self._system
        self._ttl = ttl
        self._entries: dict[tuple[str, int], _Entry] = {}

    async def _system(self, host: str, port: int) -> Sequence[AddrInfoType]:
        return await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)

    async def addresses(self, host: str, port: int) -> list[AddrInfoType]:
        """Where to connect to, best first, each call starting one further in the preferred family.

        The order of families is the resolver's (RFC 6724); inside a family successive connections spread over
        the addresses, so that a Service of many pods is not pinned to its first.
        """
        if (address := literal(host, port)) is not None:
            return [address]
        entry = self._entries.setdefault((host, port), _Entry())
        if self._loop.time() - entry.answered_at >= self._ttl:
            await self._ask(entry, host, port)
        family = entry.answer[0][0]
        preferred = [info for info in entry.answer if info[0] == family]
        others = [info for info in entry.answer if info[0] != family]
        turn = entry.turn % len(preferred)
        entry.turn += 1
        return preferred[turn:] + preferred[:turn] + others

    async def _ask(self, entry: _Entry, host: str, port: int) -> None:
        question = self._question(entry, host, port)
        if entry.answer:
            await asyncio.wait((question,), timeout=GRACE)
        else:
            await asyncio.shield(question)

    def refresh(self, host: str, port: int) -> None:
        """Asks again in the background if the answer has aged."""
        entry = self._entries.get((host, port))
        if entry is not None and self._loop.time() - entry.answered_at >= self._ttl:
            self._question(entry, host, port)

    def follow(self, host: str, port: int) -> frozenset[str]:
        """The addresses of the last answer, of the family that the resolver prefers; asks in the background if it has
        aged, or that of the question before. Empty: there is no answer yet."""
        if literal(host, port) is not None:
            return frozenset((host,))
        entry, now = self._entries.setdefault((host, port), _Entry()), self._loop.time()
        if now - max(entry.answered_at, entry.asked_at) >= FOLLOW_EVERY:
            self._question(entry, host, port)
        return addresses_of([info for info in entry.answer if info[0] == entry.answer[0][0]])

    def known(self, host: str, port: int) -> frozenset[str]:
        """The addresses of the last two answers, so that names that rotate cost no connections; empty: no answer."""
        entry = self._entries.get((host, port))
        return entry.known if entry is not None else frozenset()

    def _question(self, entry: _Entry, host: str, port: int) -> asyncio.Task[None]:
        if entry.question is None:
            entry.asked_at = self._loop.time()
            entry.question = self._loop.create_task(self._answer(entry, host, port))
            entry.question.add_done_callback(lambda done: done.cancelled() or done.exception())
        return entry.question

    async def _answer(self, entry: _Entry, host: str, port: int) -> None:
        try:
            try:
                answer = await self._resolve(host, port)
            except UnicodeError as error:  # a label that is empty or too long
                raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
            if not answer:
                raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        finally:
            entry.question = None
        entry.known = addresses_of(entry.answer) | addresses_of(answer)
        entry.answer = answer
        entry.answered_at = self._loop.time()

    async def aclose(self) -> None:
        """Ends questions under way."""
        for entry in self._entries.values():
            if (question := entry.question) is not None:
                question.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await question

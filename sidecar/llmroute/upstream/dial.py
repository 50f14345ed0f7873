"""One new connection: name, TCP, proxy, TLS; each failure in plain words."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

from aiohappyeyeballs import start_connection

from llmroute.errors import ConnectFailed, ConnectTimeout
from llmroute.upstream.connection import Connection
from llmroute.upstream.dns import Names
from llmroute.upstream.origin import Origin
from llmroute.upstream.proxy import Proxy
from llmroute.upstream.tls import Trust, in_words

HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds before the next address is tried beside the first (RFC 8305, section 8)."""

KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""TCP probes, in seconds: they hold NAT entries open while a model thinks in silence, and notice a dead peer."""

MAX_TUNNEL_ANSWER = 16 * 1024

Spoken = TypeVar("Spoken", bound=asyncio.Protocol)


class _Dial:
    """How far one dial has come, for its error message."""

    __slots__ = ("securing", "stage")

    def __init__(self) -> None:
        self.stage = ""
        self.securing = False


class Dialer:
    """Opens connections to one origin, directly or by a proxy; `host` and `port` are whom it connects to."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, origin: Origin, proxy: Proxy | None, names: Names, trust: Trust
    ) -> None:
        self._loop = loop
        self._origin = origin
        self._proxy = proxy
        self._names = names
        self._trust = trust
        self._first_hop = Origin(proxy.scheme, proxy.host, proxy.port) if proxy else origin
        self.host = self._first_hop.host
        self.port = self._first_hop.port

    @property
    def absolute_form(self) -> Proxy | None:
        """The proxy that wants requests in absolute form; None where requests go as they are."""
        return self._proxy if self._origin.scheme == "http" else None

    async def dial(self, within: float) -> Connection:
        """A connection ready for a request. Raises ConnectFailed, or ConnectTimeout after `within` seconds."""
        dial = _Dial()
        try:
            async with asyncio.timeout(within) as deadline:
                return await self._open(dial)
        except OSError as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                message = f"{self._origin}: no connection within {within:g} s, while {dial.stage}"
                raise ConnectTimeout(message) from error
            raise ConnectFailed(f"{self._origin}: {self._in_words(dial, error)}") from error
        except (RuntimeError, ValueError) as error:  # uvloop's for a handle closed under it; names that TLS refuses
            raise ConnectFailed(f"{self._origin}: {error}") from error

    async def _open(self, dial: _Dial) -> Connection:
        dial.stage = f"looking up {self.host}"
        addresses = await self._names.addresses(self._first_hop.address or self.host, self.port)
        dial.stage = f"connecting to {self._first_hop}"
        sock = await start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY, loop=self._loop)
        make = partial(Connection, _tuned(sock))
        if self._proxy is None or self._origin.scheme == "http":
            return await self._speak(sock, dial, make)
        tunnel = await self._speak(sock, dial, partial(_Tunnel, self._loop.create_future()))
        return await self._through(tunnel, dial, make())

    async def _speak(self, sock: socket.socket, dial: _Dial, make: Callable[[], Spoken]) -> Spoken:
        """Makes the protocol of a connected socket, over TLS where the first hop wants it."""
        context = None
        try:
            if self._first_hop.scheme == "https":
                dial.stage, dial.securing = f"securing the connection to {self._first_hop}", True
                context = await self._trust.context()
        except BaseException:
            sock.close()
            raise
        _, protocol = await self._loop.create_connection(
            make, sock=sock, ssl=context, server_hostname=self.host if context else None
        )
        dial.securing = False
        return protocol

    async def _through(self, tunnel: "_Tunnel", dial: _Dial, connection: Connection) -> Connection:
        """Has the proxy open a tunnel, and speaks TLS with the target inside."""
        assert self._proxy is not None  # the caller has looked
        try:
            dial.stage = f"waiting for the proxy {self._proxy}"
            tunnel.transport.write(self._proxy.connect_head(self._origin))
            await tunnel.opened
            dial.stage, dial.securing = f"securing the connection to {self._origin}", True
            context = await self._trust.context()
            transport = await self._loop.start_tls(
                tunnel.transport, connection, context, server_hostname=self._origin.host
            )
            if transport is None:
                raise ConnectionResetError("closed during the handshake")
        except BaseException:
            tunnel.transport.abort()
            raise
        connection.connection_made(transport)
        return connection

    def _in_words(self, dial: _Dial, error: OSError) -> str:
        if isinstance(error, socket.gaierror):
            known = {socket.EAI_NONAME: "name not known", socket.EAI_AGAIN: "the resolver does not answer"}
            return f"DNS: {self.host}: {known.get(error.errno or 0) or error.strerror or error}"
        if isinstance(error, _Refused):
            return f"the proxy {self._proxy} refused the tunnel: {error}"
        if isinstance(error, ssl.SSLError) or dial.securing:
            return in_words(error)
        via = f"proxy {self._proxy}: " if self._proxy else ""
        if isinstance(error, ConnectionRefusedError):
            return f"{via}connection refused"
        return f"{via}{error.strerror or str(error) or 'connection lost'}"


def _tuned(sock: socket.socket) -> str:
    """Sets the options of a fresh connection, and returns the address at its other end."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            if hasattr(socket, option):  # not every platform has them all
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        address: str = sock.getpeername()[0]
    except BaseException:
        sock.close()
        raise
    return address


class _Refused(OSError):
    """The proxy's answer to CONNECT was not 2xx, or no answer at all."""


class _Tunnel(asyncio.Protocol):
    """Speaks with a proxy until it has opened a tunnel: `opened` is done then, or holds why not."""

    transport: asyncio.Transport

    def __init__(self, opened: "asyncio.Future[None]") -> None:
        self.opened = opened
        opened.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            return
        self._answer += data
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if not end:
            if len(self._answer) > MAX_TUNNEL_ANSWER:
                self._refuse("its answer has over 16 KiB of headers")
            return
        line = head.partition(b"\r\n")[0].decode("latin-1")
        version, _, status = line.partition(" ")
        if not version.startswith("HTTP/1."):
            self._refuse("its answer is not HTTP/1.1")
        elif status[:1] == "1":
            self._answer = b""
            self.data_received(rest)
        elif status[:1] != "2":
            self._refuse(status[:100])
        elif rest:
            self._refuse("it sent bytes before the target could")
        else:
            self.opened.set_result(None)

    def eof_received(self) -> None:
        self._refuse("it closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self._refuse("it closed the connection")

    def _refuse(self, reason: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(_Refused(reason))

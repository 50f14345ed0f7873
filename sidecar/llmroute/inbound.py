"""The listening side: aiohttp's low-level server with what it lacks."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from llmroute.errors import ConfigError

KEEP_ALIVE = 75.0
"""Seconds that an idle connection of an app is kept: longer than the SDKs' pools keep theirs (5 to 60 s), so that
it is the app that closes, and no request meets a closing connection."""
MAX_HEADER = 16 * 1024
"""Bytes of one header line: long enough for the longest tokens and trace headers seen."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(RequestHandler):
    """One connection of an app.

    Adds to aiohttp's: a limit on how long a request's head may take; an app that hangs up cancels its request at
    once, unless others wait for the same answer (`goes_on`); errors that say what is wrong and no more.
    """

    __slots__ = ("_head_timer", "_header_timeout", "goes_on")

    def __init__(self, manager: "AppServer", header_timeout: float, **options: Any) -> None:
        super().__init__(manager, **options)
        self._header_timeout = header_timeout
        self._head_timer: asyncio.TimerHandle | None = None
        self.goes_on: Callable[[], bool] | None = None

    def data_received(self, data: bytes) -> None:
        """Parse; a head that is still incomplete starts the clock."""
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None and self._awaits_head():
            self._head_timer = self._loop.call_later(self._header_timeout, self._head_late, before)

    def _awaits_head(self) -> bool:
        idle = self._waiter is not None or self._request_count == 0
        return idle and self._current_request is None and not self._messages

    def _head_late(self, count: int) -> None:
        self._head_timer = None
        if self._request_count == count and self._awaits_head() and self.transport is not None:
            self.transport.write(_plain(408, "the request's head came too slowly"))
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The app has hung up: stop working for it."""
        if self._head_timer is not None:
            self._head_timer.cancel()
        task = self._task_handler
        goes_on = self.goes_on
        super().connection_lost(exc)
        if task is not None and not (goes_on is not None and goes_on()):
            task.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that could not be parsed, before its path is known; nothing of aiohttp's own pages."""
        reason = message or "the request could not be parsed"
        answer = web.Response(
            status=status if 400 <= status < 500 else 500,
            text=f"{reason.splitlines()[0][:200]}\n" if status < 500 else "internal error\n",
            headers={"x-llmroute-error": "invalid_request" if status < 500 else "internal", "x-should-retry": "false"},
        )
        answer.force_close()
        return answer


def _plain(status: int, text: str) -> bytes:
    head = f"HTTP/1.1 {status} Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
    body = text + "\n"
    return f"{head}x-llmroute-error: request_timeout\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


class AppServer(web.Server):
    """Makes a Connection for each accepted socket."""

    def __init__(self, handler: Handler, header_timeout: float) -> None:
        super().__init__(handler)
        self._header_timeout = header_timeout

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(
            self,
            self._header_timeout,
            loop=self._loop,
            keepalive_timeout=KEEP_ALIVE,
            access_log=None,
            logger=logging.getLogger("llmroute.http"),
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            lingering_time=1.0,
        )


async def listen(server: web.Server, host: str, port: int) -> tuple[list[asyncio.Server], int]:
    """Accept connections; on 127.0.0.1 also on [::1] where IPv6 exists. Returns the port, chosen if 0 was asked.

    Raises ConfigError if the address cannot be had.
    """
    loop = asyncio.get_running_loop()
    try:
        sockets = [_bound(host, port)]
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    port = sockets[0].getsockname()[1]
    if host == "127.0.0.1":
        # Without IPv6, or where the port is another's there, 127.0.0.1 is all that is promised.
        with contextlib.suppress(OSError):
            sockets.append(_bound("::1", port))
    return [await loop.create_server(server, sock=sock, backlog=1024) for sock in sockets], port


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener

"""The listening side: aiohttp's low-level server with what it lacks."""

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from llmroute.errors import ConfigError

if TYPE_CHECKING:
    from llmroute.admission import Head

log = logging.getLogger("llmroute")

KEEP_ALIVE = 75.0
"""Seconds that an idle connection of an app is kept: longer than the SDKs' pools keep theirs (5 to 60 s), so that
it is the app that closes, and no request meets a closing connection."""
MAX_HEADER = 16 * 1024
"""Bytes of one header line: long enough for the longest tokens and trace headers seen."""


class Arrival:
    """One request, from the moment when its head has been parsed.

    Takes the place of aiohttp's own request, which costs more to make and to ask than a small request may cost in all;
    `as_aiohttps` makes one for the rare questions. `_task`, `_finish` and `_cancel` are what aiohttp's server asks of a
    request.
    """

    __slots__ = ("_task", "_writer", "begun", "connection", "content", "message")

    def __init__(
        self,
        message: RawRequestMessage,
        content: StreamReader,
        connection: RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> None:
        self.message = message
        """What the parser read: method, path, version, headers."""
        self.content = content
        """The body."""
        self.connection = cast(Connection, connection)
        self.begun = False
        """An answer that comes piece by piece has begun: there can be no other."""
        self._writer = writer
        self._task = task

    @property
    def path(self) -> str:
        """The path alone, unquoted."""
        raw = self.message.path
        plain = raw.startswith("/") and "%" not in raw and "?" not in raw and "#" not in raw
        return raw if plain else self.message.url.path

    def as_aiohttps(self) -> web.BaseRequest:
        """The same request in aiohttp's terms."""
        connection = self.connection
        loop = asyncio.get_running_loop()
        return web.BaseRequest(self.message, self.content, connection, self._writer, self._task, loop)

    def write(self, out: bytes) -> bool:
        """Hand bytes to the app's connection. True: it can take no more for now, await `drained`.

        Raises ConnectionError if the app has hung up.
        """
        connection = self.connection
        transport = connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the app has hung up")
        transport.write(out)
        return connection.writing_paused

    async def drained(self) -> None:
        """Until the connection can take more. Raises ConnectionError."""
        await self._writer.drain()

    def _finish(self) -> None:
        """Nothing is left to tidy."""

    def _cancel(self, error: BaseException) -> None:
        """The app has hung up: its body will not come."""
        self.content.set_exception(error)


class Sent(web.StreamResponse):
    """What a handler returns once the answer is written: tells aiohttp's server whether the connection goes on."""

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._stays = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection may serve another request."""
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> Any:
        """Nothing is left to do."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to do."""


SENT = Sent(keep_alive=True)
SENT_AND_CLOSE = Sent(keep_alive=False)

_BESIDE = {"127.0.0.1": "::1", "": "::"}
"""What else is listened on, for IPv6."""

Handler = Callable[[Arrival], Awaitable[web.StreamResponse]]
Refused = Callable[[int, str, float], str]
"""Told of what could not be read as a request: HTTP status, code of the error, and seconds that it took. Gives the
request id to answer with."""


class Connection(RequestHandler):
    """One connection of an app.

    Adds to aiohttp's: a limit on how long a request's head may take; an app that hangs up cancels its request at
    once, unless others wait for the same answer (`goes_on`); errors that say what is wrong and no more.
    """

    __slots__ = ("_head_timer", "_header_timeout", "_refused", "goes_on", "head")

    def __init__(self, manager: "AppServer", header_timeout: float, refused: Refused | None, **options: Any) -> None:
        super().__init__(manager, **options)
        self._refused = refused
        self._header_timeout = header_timeout
        self._head_timer: asyncio.TimerHandle | None = None
        self.goes_on: Callable[[], bool] | None = None
        self.head: Head | None = None
        """What was made of the last request's head; for the Gate."""

    def data_received(self, data: bytes) -> None:
        """Parse; a head that is still incomplete starts the clock."""
        before = self._request_count
        _parse(self, data)
        if self._request_count != before:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None and self._awaits_head():
            self._head_timer = self._loop.call_later(self._header_timeout, self._head_late, before)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """aiohttp calls this for every body that was read, and parses again: for nothing unless reading had paused."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _awaits_head(self) -> bool:
        idle = self._waiter is not None or self._request_count == 0
        return idle and self._current_request is None and not self._messages

    def _head_late(self, count: int) -> None:
        self._head_timer = None
        if self._request_count == count and self._awaits_head() and self.transport is not None:
            self._refuse(408, "the request's head came too slowly", self._header_timeout)
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
        if message is not None:
            self._refuse(status, (message or "the request could not be parsed").splitlines()[0][:200])
        elif self.transport is not None:  # the handler failed, and has told of its request already
            self.transport.write(_plain(500, "internal", "internal error"))
        return SENT_AND_CLOSE

    def _refuse(self, status: int, reason: str, seconds: float = 0.0) -> None:
        code = "request_timeout" if status == 408 else "invalid_request"
        request_id = self._refused(status, code, seconds) if self._refused is not None else ""
        if self.transport is not None:
            self.transport.write(_plain(status, code, reason, request_id))


_parse = RequestHandler.data_received


def _plain(status: int, code: str, text: str, request_id: str = "") -> bytes:
    """An answer to what could not be read as a request."""
    body = f"{text}\n".encode("utf-8", "replace")
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"connection: close\r\nx-llmroute-error: {code}\r\nx-should-retry: false\r\n"
        f"content-length: {len(body)}\r\n"
    )
    head += f"x-request-id: {request_id}\r\n\r\n" if request_id else "\r\n"
    return head.encode() + body


class AppServer(web.Server):
    """Makes a Connection for each accepted socket."""

    def __init__(self, handler: Handler, header_timeout: float, refused: Refused | None = None) -> None:
        super().__init__(cast(Any, handler), request_factory=cast(Any, Arrival))
        self._refused = refused
        self._header_timeout = header_timeout

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(
            self,
            self._header_timeout,
            self._refused,
            loop=self._loop,
            keepalive_timeout=KEEP_ALIVE,
            access_log=None,
            logger=logging.getLogger("llmroute.http"),
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            lingering_time=1.0,
        )


async def listen(server: web.Server, host: str, port: int) -> tuple[list[asyncio.Server], int]:
    """Accept connections; on 127.0.0.1 also on [::1] where IPv6 exists, without a host on all addresses of both
    families. Returns the port, chosen if 0 was asked.

    Raises ConfigError if the address cannot be had.
    """
    loop = asyncio.get_running_loop()
    try:
        sockets = [_bound(host or "0.0.0.0", port)]
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    port = sockets[0].getsockname()[1]
    if (beside := _BESIDE.get(host)) is not None:
        try:
            sockets.append(_bound(beside, port))
        except OSError as error:  # without IPv6, 127.0.0.1 is all that is promised
            if error.errno == errno.EADDRINUSE and beside == "::1":
                log.warning(
                    "[::1]:%d belongs to another process: who calls localhost may reach that one; call 127.0.0.1", port
                )
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

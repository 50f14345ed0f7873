"""Bodies of requests that do not fit one write: they wait for the target to take them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

from llmroute.errors import StreamBroken

if TYPE_CHECKING:
    from llmroute.upstream.connection import Connection
    from llmroute.upstream.response import Response

PIECE = 256 * 1024
"""Bytes handed to the transport at once; more would be copied or encrypted in one go while others wait."""


class Sending(Protocol):
    """The rest of a request's body. `connection.sending` holds it until the last byte has been handed over."""

    def resume(self) -> None:
        """The transport's buffer has room again."""

    def stop(self) -> None:
        """Nobody wants the rest."""


def framing(head: bytes) -> tuple[bool, int | None]:
    """Whether the head of a request declares a body, and its content-length (None: chunks)."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return True, int(value)
        if name.lower() == b"transfer-encoding":
            return True, None
    return False, None


async def dispose(body: AsyncIterator[bytes]) -> None:
    """Closes an iterator that will not be read to its end, as far as it can be closed."""
    aclose = getattr(body, "aclose", None)
    if aclose is not None:
        with contextlib.suppress(Exception):
            await aclose()


class Pump:
    """Sends a body from memory, piece by piece, driven by the transport's own callbacks: no task."""

    __slots__ = ("_connection", "_rest")

    def __init__(self, connection: "Connection", body: bytes) -> None:
        self._connection = connection
        self._rest = memoryview(body)

    def resume(self) -> None:
        """Writes pieces until the transport is full or the body at its end."""
        connection = self._connection
        while self._rest and not connection.full and not connection.lost:
            piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
            connection.transport.write(piece)
        if not self._rest:
            connection.sending = None

    def stop(self) -> None:
        """Lets go of the rest."""
        self._rest = memoryview(b"")


class Upload:
    """Sends a body that is still arriving, in a task of its own, so that an early answer is seen at once.

    `length` is the declared content-length; None sends chunks. An error of the iterator (the app hung up, its body
    was too slow or too large) ends the response with that very error.
    """

    __slots__ = ("_body", "_connection", "_length", "_response", "_room", "_task")

    def __init__(
        self, connection: "Connection", response: "Response", body: AsyncIterator[bytes], length: int | None
    ) -> None:
        self._connection = connection
        self._response = response
        self._body = body
        self._length = length
        self._room: asyncio.Future[None] | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    def resume(self) -> None:
        """The task may write again."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def stop(self) -> None:
        """Ends the task; the iterator is closed by it."""
        self._task.cancel()

    async def _run(self) -> None:
        try:
            await self._send()
        except Exception as error:
            self._connection.sending = None
            self._response.fail(error)
        finally:
            await dispose(self._body)

    async def _send(self) -> None:
        transport = self._connection.transport
        sent = 0
        async for piece in self._body:
            sent += len(piece)
            if self._length is None:
                if piece:
                    transport.writelines((b"%x\r\n" % len(piece), piece, b"\r\n"))
            elif sent > self._length:
                break
            else:
                transport.write(piece)
            if self._connection.full:
                self._room = asyncio.get_running_loop().create_future()
                await self._room
        if self._length is None:
            transport.write(b"0\r\n\r\n")
        elif sent != self._length:
            raise StreamBroken(f"the body of the request is not of the {self._length} bytes that were declared")
        self._connection.sending = None

"""A target that plays a script: each connection it accepts follows the next list of steps, and a test reads as a
conversation. Real loopback sockets; what goes wrong in a script fails the test at its end."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable

from llmroute.upstream import Origin

PATIENCE = 5.0
"""Seconds after which a script that hangs fails its test; nothing is measured by it."""


class Peer:
    """One accepted connection, as the target sees it."""

    def __init__(self, server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer


Step = Callable[[Peer], Awaitable[None]]


def hears(text: str = "", *, body: bytes | None = None) -> Step:
    """Reads a whole request; `text` must be in its head, `body` be its body."""

    async def step(peer: Peer) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        content = await _body(peer.reader, head)
        peer.server.requests.append((head.decode(), content))
        assert text in head.decode(), f"expected {text!r} in {head!r}"
        assert body is None or content == body

    return step


def hears_head(text: str = "") -> Step:
    """Reads the head of a request, and leaves its body unread."""

    async def step(peer: Peer) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        peer.server.requests.append((head.decode(), b""))
        assert text in head.decode(), f"expected {text!r} in {head!r}"

    return step


def says(*pieces: str | bytes) -> Step:
    """Sends pieces, each by itself."""

    async def step(peer: Peer) -> None:
        for piece in pieces:
            peer.writer.write(piece.encode("latin-1") if isinstance(piece, str) else piece)
            await peer.writer.drain()
            await asyncio.sleep(0)

    return step


def floods(*pieces: str | bytes) -> Step:
    """Sends pieces to a client that may hang up in the middle, then sees it gone."""

    async def step(peer: Peer) -> None:
        with contextlib.suppress(ConnectionError):
            await says(*pieces)(peer)
        await hears_end(peer)

    return step


def waits(event: asyncio.Event) -> Step:
    async def step(peer: Peer) -> None:
        await event.wait()

    return step


def tells(event: asyncio.Event) -> Step:
    async def step(peer: Peer) -> None:
        event.set()

    return step


def pauses(seconds: float) -> Step:
    async def step(peer: Peer) -> None:
        await asyncio.sleep(seconds)

    return step


async def resets(peer: Peer) -> None:
    """Closes with RST."""
    sock = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.writer.transport.abort()


async def half_closes(peer: Peer) -> None:
    """Sends FIN and goes on reading."""
    peer.writer.write_eof()


async def closes(peer: Peer) -> None:
    peer.writer.close()


async def hears_close(peer: Peer) -> None:
    """The client closes, and has sent nothing more."""
    assert await peer.reader.read() == b""


async def hears_end(peer: Peer) -> None:
    """The client closes, whatever it sent before; a reset is fine."""
    with contextlib.suppress(ConnectionError):
        while await peer.reader.read(65536):
            pass


def answers(body: str = "ok", status: str = "200 OK", *headers: str) -> Step:
    """Sends a complete answer with a content-length."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return says(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n{body}")


def serves(body: str = "ok") -> Step:
    """Answers whatever is asked, until the client closes."""

    async def step(peer: Peer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await hears()(peer)
                await answers(body)(peer)

    return step


class Server:
    """Plays `scripts`, one a connection in the order of arrival; further ones play `others`, or fail the test."""

    def __init__(self, scripts: Iterable[Iterable[Step]], others: Iterable[Step] | None) -> None:
        self._scripts = [list(script) for script in scripts]
        self._others = list(others) if others is not None else None
        self._peers: list[Peer] = []
        self._plays: list[asyncio.Task[None]] = []
        self.problems: list[str] = []
        self.requests: list[tuple[str, bytes]] = []
        self.connections = 0
        self.origin = Origin("http", "127.0.0.1", 0)

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._listener = await asyncio.start_server(self._accept, host, port, ssl=context, limit=1 << 20)
        port = self._listener.sockets[0].getsockname()[1]
        self.origin = Origin("https" if context else "http", host, port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._plays.append(task)
        peer = Peer(self, reader, writer)
        self._peers.append(peer)
        if self._scripts:
            script = self._scripts.pop(0)
        elif self._others is not None:
            script = self._others
        else:
            self.problems.append("a connection that no script expects")
            return
        for number, step in enumerate(script, 1):
            try:
                await asyncio.wait_for(step(peer), PATIENCE)
            except Exception as error:
                self.problems.append(f"connection {self.connections}, step {number}: {error!r}")
                return

    def stop_listening(self) -> None:
        self._listener.close()

    async def aclose(self) -> list[str]:
        """Ends all, and tells what was not as the scripts had it."""
        self._listener.close()
        _, pending = await asyncio.wait(self._plays, timeout=PATIENCE) if self._plays else (set(), set())
        for task in pending:
            task.cancel()
        for peer in self._peers:
            peer.writer.transport.abort()
        await asyncio.sleep(0)
        if self._scripts:
            self.problems.append(f"{len(self._scripts)} scripts were never played")
        if pending:
            self.problems.append(f"{len(pending)} scripts have not come to their end")
        return self.problems


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return await reader.readexactly(int(line.partition(b":")[2]))
        if line == b"transfer-encoding: chunked":
            parts = []
            while size := int(await reader.readline(), 16):
                parts.append(await reader.readexactly(size))
                assert await reader.readexactly(2) == b"\r\n"
            assert await reader.readline() == b"\r\n"
            return b"".join(parts)
    return b""

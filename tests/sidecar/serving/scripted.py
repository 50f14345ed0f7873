"""A provider that does on the wire exactly what a test tells it to."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"


class Call:
    """One request that came to the provider, and the connection to answer it on."""

    def __init__(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.body = body
        self.writer = writer

    def header(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            field, _, value = line.partition(": ")
            if field.lower() == name:
                return value
        return None

    @property
    def line(self) -> str:
        """Method and request target."""
        return self.head.decode("latin-1").split(" HTTP/")[0]

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def begin(self) -> None:
        """The head of a stream."""
        await self.send(CHUNKED)

    async def piece(self, payload: bytes) -> None:
        """A piece of a stream."""
        await self.send(b"%x\r\n%b\r\n" % (len(payload), payload))

    async def end(self) -> None:
        """The proper end of a stream's HTTP message."""
        await self.send(b"0\r\n\r\n")

    async def answer(self, body: bytes, status: str = "200 OK", headers: str = "") -> None:
        """A whole answer."""
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
        await self.send(head.encode() + body)

    def reset(self) -> None:
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Scripted:
    """Made by `scripted`. `calls` are all requests that came; `reached` is set when a client connects, `left` when one
    has hung up."""

    def __init__(self, host: str, port: int) -> None:
        self.port = port
        self.url = f"http://{host}:{port}/v1"
        self.calls: list[Call] = []
        self.reached = asyncio.Event()
        self.left = asyncio.Event()


Script = Callable[[Call], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Scripted]:
    """A provider that plays `script` for each request."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        provider.reached.set()
        try:
            while True:
                call = await _request(reader, writer)
                provider.calls.append(call)
                await script(call)
        except (asyncio.IncompleteReadError, ConnectionError):
            provider.left.set()
        except asyncio.CancelledError:
            pass
        finally:
            connections.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(serve, host, port)
    provider = Scripted(host, server.sockets[0].getsockname()[1])
    try:
        yield provider
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections)


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call:
    head = await reader.readuntil(b"\r\n\r\n")
    call = Call(head, b"", writer)
    if call.header("transfer-encoding") == "chunked":
        pieces = []
        while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
            pieces.append((await reader.readexactly(size + 2))[:-2])
        await reader.readexactly(2)
        call.body = b"".join(pieces)
    else:
        call.body = await reader.readexactly(int(call.header("content-length") or 0))
    return call


def chunk(*text: str, **delta: Any) -> bytes:
    """A frame of an OpenAI stream: text, or whatever else the delta holds."""
    if text:
        delta["content"] = text[0]
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: %b\n\n" % json.dumps(event).encode()


def finish(reason: str = "stop") -> bytes:
    """The frame that says why the answer stops."""
    choice = {"index": 0, "delta": {}, "finish_reason": reason}
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: %b\n\n" % json.dumps(event).encode()


def completion(content: str = "hello") -> bytes:
    """A whole OpenAI answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(answer).encode()

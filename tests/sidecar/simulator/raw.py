"""A client that sees bytes: what a fault really does on the wire, SDKs hide."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from llmroute.simulator import Member

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
MESSAGE = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}


class Answer:
    """Status, headers and body of one answer; the body without chunked framing."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of each SSE event, decoded; `[DONE]` as it is."""
        lines = [line[6:] for line in self.body.decode().splitlines() if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what the other side of the loop is about to do."""
    while not condition():  # noqa: ASYNC110 - a provider has no event for each of its counters
        await asyncio.sleep(0.001)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None, *, method: str | None = None
    ) -> None:
        payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        fields = {"host": "simulated", "content-length": str(len(payload)), **(headers or {})}
        if path.startswith("/v1/messages"):
            fields.setdefault("anthropic-version", "2023-06-01")
        lines = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + payload)

    async def head(self) -> tuple[int, dict[str, str]]:
        raw = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = raw.rstrip().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, value in pairs}

    async def answer(self) -> Answer:
        """A whole answer. Raises IncompleteReadError if it is cut."""
        status, headers = await self.head()
        if headers.get("transfer-encoding") != "chunked":
            return Answer(status, headers, await self.reader.readexactly(int(headers["content-length"])))
        body = b""
        while chunk := await self.chunk():
            body += chunk
        return Answer(status, headers, body)

    async def chunk(self) -> bytes:
        size = int((await self.reader.readuntil(b"\r\n"))[:-2], 16)
        return (await self.reader.readexactly(size + 2))[:-2]


@asynccontextmanager
async def connected(member: Member) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(member.spec.host, member.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def ask(member: Member, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    async with connected(member) as client:
        client.send(path, body, headers)
        return await client.answer()


async def chat(member: Member, *, index: int | None = None, **fields: Any) -> Answer:
    headers = {} if index is None else {"x-simulator-index": str(index)}
    return await ask(member, "/v1/chat/completions", CHAT | fields, headers)

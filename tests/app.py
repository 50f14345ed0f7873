"""An app that sees bytes: one connection to a sidecar, and the answers that come over it, which SDKs hide."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
LONGEST = 20.0
"""Seconds after which a test is told that nothing came; no test waits that long unless it fails."""


class Answer:
    """Status, headers and body of one answer; the body without its framing. `whole`: it ended as HTTP demands."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, whole: bool = True) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.whole = whole

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.headers} {self.body[:500]!r}{'' if self.whole else ', cut'}>"

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def frames(self) -> list[bytes]:
        """The SSE frames, whole ones only."""
        return [frame for frame in self.body.replace(b"\r\n", b"\n").split(b"\n\n")[:-1] if frame]

    @property
    def events(self) -> list[Any]:
        """The data of each SSE event, decoded; `[DONE]` as it is."""
        data = [line[6:] for line in self.body.decode().splitlines() if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in data]

    @property
    def text(self) -> str:
        """What the model said, in whichever dialect, streamed or not."""
        if not self.headers["content-type"].startswith("text/event-stream"):
            return _text_of(self.json)
        return "".join(_delta_of(event) for event in self.events if isinstance(event, dict))

    @property
    def attempts(self) -> str:
        """`x-llmroute-attempts`: each attempt and how it ended."""
        return self.headers["x-llmroute-attempts"]

    @property
    def target(self) -> str:
        """`x-llmroute-target`: who answered."""
        return self.headers["x-llmroute-target"]

    @property
    def cache(self) -> str:
        """`x-llmroute-cache`: hit, miss or coalesced; "" where the cache was not asked."""
        return self.headers.get("x-llmroute-cache", "")

    @property
    def error(self) -> str:
        """`x-llmroute-error`: the code of an error made by LLMRoute."""
        return self.headers["x-llmroute-error"]

    @property
    def message(self) -> str:
        """The error's message, in whichever dialect."""
        message: str = self.json["error"]["message"]
        return message


def _text_of(body: Any) -> str:
    if "choices" in body:
        return str(body["choices"][0]["message"]["content"])
    return "".join(part["text"] for part in body["content"] if part["type"] == "text")


def _delta_of(event: dict[str, Any]) -> str:
    if event.get("choices"):
        return event["choices"][0]["delta"].get("content") or ""
    return str(event.get("delta", {}).get("text", ""))


class App:
    """One connection of an app."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, raw: bytes) -> None:
        """Raw bytes, whatever they are."""
        self.writer.write(raw)

    def ask(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None, *, method: str | None = None
    ) -> None:
        """One request with everything that a well-behaved app sends."""
        self.send(request(path, body, headers, method=method))

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        async with asyncio.timeout(LONGEST):
            raw = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = raw.rstrip().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, value in pairs}

    async def chunk(self) -> bytes:
        """The next piece of a chunked body; empty at its end. Raises IncompleteReadError if it is cut."""
        async with asyncio.timeout(LONGEST):
            size = int((await self.reader.readuntil(b"\r\n"))[:-2], 16)
            return (await self.reader.readexactly(size + 2))[:-2]

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """A whole answer, or what there is of it when the connection closes."""
        status, headers = await self.head()
        if bodiless or status in (204, 304):
            return Answer(status, headers, b"")
        async with asyncio.timeout(LONGEST):
            if "content-length" in headers:
                return await self._sized(status, headers)
            if headers.get("transfer-encoding") == "chunked":
                return await self._chunked(status, headers)
            return Answer(status, headers, await self.reader.read())

    async def closed(self) -> bool:
        """Waits for the other side to close; False if more bytes come first."""
        async with asyncio.timeout(LONGEST):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True

    def hang_up(self) -> None:
        """Closes at once, by RST, as the kernel does for an app that died."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def _sized(self, status: int, headers: dict[str, str]) -> Answer:
        try:
            return Answer(status, headers, await self.reader.readexactly(int(headers["content-length"])))
        except asyncio.IncompleteReadError as error:
            return Answer(status, headers, error.partial, whole=False)

    async def _chunked(self, status: int, headers: dict[str, str]) -> Answer:
        body: list[bytes] = []
        try:
            while piece := await self.chunk():
                body.append(piece)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return Answer(status, headers, b"".join(body), whole=False)
        return Answer(status, headers, b"".join(body))


def request(
    path: str, body: Any = None, headers: Mapping[str, str] | None = None, *, method: str | None = None
) -> bytes:
    """A request as bytes; `body` is JSON unless it is bytes. A header of "" is left out."""
    payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    fields = {"host": "localhost", "content-type": "application/json", "content-length": str(len(payload))}
    if body is None:
        del fields["content-type"], fields["content-length"]
    if path.startswith(MESSAGES):
        fields["anthropic-version"] = "2023-06-01"
    fields |= headers or {}
    lines = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + payload


@asynccontextmanager
async def connected(port: int, host: str = "127.0.0.1") -> AsyncIterator[App]:
    """An app with a connection to the port."""
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
    try:
        yield App(reader, writer)
    finally:
        writer.transport.abort()

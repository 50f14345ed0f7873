"""Plays an answer on a connection at its pace, with the fault that befell it."""

import asyncio

from llmroute.simulator.answers import Problem, Reply
from llmroute.simulator.connection import Connection, Headers, head
from llmroute.simulator.pace import Pace
from llmroute.simulator.spec import Drip, ErrorEvent, Fault, Malformed, Reset, Stall, Truncate
from llmroute.simulator.wire import Wire

_NEVER = 1 << 60


async def silence() -> None:
    """Waits for ever: until the client hangs up, which cancels the answer."""
    await asyncio.get_running_loop().create_future()


async def play_whole(connection: Connection, wire: Wire, reply: Reply, headers: Headers, fault: Fault | None) -> None:
    """An answer that is not a stream; its pace is over."""
    body = reply.opening
    half = body[: len(body) // 2]
    match fault:
        case ErrorEvent():
            connection.send(200, headers, wire.error_body(Problem(fault.status), ""))
        case Malformed() | Truncate(clean=True):
            connection.send(200, headers, half)
        case Drip():
            framing = (("content-length", str(len(body))),)
            await _drip(connection, head(200, headers, framing, closing=False) + body, fault)
        case Stall() | Truncate() | Reset():
            framing = (("content-length", str(len(body))),)
            connection.write(head(200, headers, framing, closing=False) + half)
            await _break_off(connection, fault)
        case _:
            connection.send(200, headers, body)


class Stream:
    """One streamed answer."""

    def __init__(self, connection: Connection, reply: Reply, fault: Fault | None) -> None:
        self._connection = connection
        self._reply = reply
        self._fault = fault
        self._broken_at = _break_point(fault)

    async def play(self, pace: Pace, headers: Headers, *, early_opening: bool) -> None:
        """From the head to the end, or to where the fault strikes."""
        if not early_opening and self._broken_at > 0:
            await pace.ready(1)
        await self._write(self._connection.stream_head(200, headers) + self._connection.chunk(self._reply.opening))
        if await self._tokens(pace, min(self._broken_at, self._reply.tokens)):
            await pace.ready(self._reply.tokens + 1)
            await self._end(self._reply.closing)
            return
        match self._fault:
            case ErrorEvent():
                event = self._reply.error_event
                await self._end(event(Problem(self._fault.status)) if event is not None else b"")
            case Truncate(clean=True):
                await self._end(b"")
            case _:
                await _break_off(self._connection, self._fault)

    async def _tokens(self, pace: Pace, last: int) -> bool:
        """Writes the tokens up to the last, as many at once as are ready; tells whether the answer goes on."""
        frames = self._frames()
        sent = 0
        while sent < last:
            ready = min(await pace.ready(sent + 1), last)
            await self._write(self._connection.chunk(b"".join(frames[sent:ready])))
            sent = ready
        return self._broken_at == _NEVER

    def _frames(self) -> list[bytes]:
        frames = list(self._reply.frames)
        if isinstance(self._fault, Malformed) and frames:
            number = min(self._fault.after_tokens, len(frames) - 1)
            frames[number] = frames[number].rstrip(b"\n")[:-9] + b"\n\n"
        return frames

    async def _end(self, payload: bytes) -> None:
        await self._write(self._connection.chunk(payload) + self._connection.stream_end())

    async def _write(self, raw: bytes) -> None:
        if isinstance(self._fault, Drip):
            await _drip(self._connection, raw, self._fault)
        else:
            self._connection.write(raw)
            await self._connection.drained()


def _break_point(fault: Fault | None) -> int:
    """After how many tokens the answer breaks off."""
    match fault:
        case Reset(after_tokens=int(tokens)) | ErrorEvent(after_tokens=tokens):
            return tokens
        case Stall(after_tokens=tokens) | Truncate(after_tokens=tokens):
            return tokens
        case _:
            return _NEVER


async def _break_off(connection: Connection, fault: Fault | None) -> None:
    await connection.drained()
    match fault:
        case Reset():
            connection.reset()
        case Truncate():
            connection.close()
        case _:
            await silence()


async def _drip(connection: Connection, raw: bytes, fault: Drip) -> None:
    for position in range(0, len(raw), fault.bytes):
        connection.write(raw[position : position + fault.bytes])
        await connection.drained()
        await asyncio.sleep(fault.interval)

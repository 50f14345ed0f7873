"""Many requests at once to a target that misbehaves by dice: every answer is whole, and is the asker's own."""

import asyncio
import contextlib
import random

from tests.sidecar.upstream.conftest import World, send
from tests.sidecar.upstream.script import Peer, Step, resets

from llmroute.errors import AttemptError
from llmroute.upstream import Pool

REQUESTS = 600
AT_ONCE = 24


class Dice:
    """One answer of a target by the dice: `body` is to be sent, cut at `middle` where that makes a difference."""

    def __init__(self, peer: Peer, body: bytes, rng: random.Random) -> None:
        self.peer = peer
        self.write = peer.writer.write
        self.body = body
        self.middle = rng.randrange(len(body))
        self.pause = rng.random() * 0.003
        self.length = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def whole(self) -> bool:
        self.write(self.length + self.body)
        return True

    async def late(self) -> bool:
        await asyncio.sleep(0.01)
        return await self.whole()

    async def chunked(self) -> bool:
        self.write(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (self.body[: self.middle], self.body[self.middle :]):
            if part:
                self.write(b"%x\r\n%b\r\n" % (len(part), part))
            await asyncio.sleep(0)
        self.write(b"0\r\nX-Trailer: t\r\n\r\n")
        return True

    async def in_two(self) -> bool:
        self.write(self.length + self.body[: self.middle])
        await asyncio.sleep(self.pause)
        self.write(self.body[self.middle :])
        return True

    async def too_much(self) -> bool:
        self.write(self.length + self.body + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen")
        return True

    async def closed_after(self) -> bool:
        await self.whole()
        return await self.closed_before()

    async def ended_by_close(self) -> bool:
        self.write(b"HTTP/1.1 200 OK\r\n\r\n" + self.body)
        return await self.closed_before()

    async def cut(self) -> bool:
        self.write(self.length + self.body[: self.middle])
        return await self.closed_before()

    async def closed_before(self) -> bool:
        self.peer.writer.close()
        return False

    async def reset(self) -> bool:
        self.write(self.length + self.body[: self.middle])
        await resets(self.peer)
        return False


GOOD = [Dice.whole, Dice.chunked, Dice.in_two, Dice.late]
BAD = [Dice.too_much, Dice.closed_after, Dice.ended_by_close, Dice.cut, Dice.closed_before, Dice.reset]


def misbehaves(rng: random.Random) -> Step:
    """Answers each request with its own body repeated, well or badly."""

    async def step(peer: Peer) -> None:
        goes_on = True
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, RuntimeError):  # the client hung up
            while goes_on:
                head = await peer.reader.readuntil(b"\r\n\r\n")
                asked = await peer.reader.readexactly(int(head.rpartition(b"content-length: ")[2]))
                dice = Dice(peer, asked * rng.choice((1, 50, 5000)), rng)
                goes_on = await rng.choice(GOOD if rng.random() < 0.7 else BAD)(dice)

    return step


async def _ask(pool: Pool, number: int, rng: random.Random, outcomes: list[str]) -> None:
    asked = b"<%06d>" % number
    response = await send(pool, asked)
    try:
        if rng.random() < 0.1:
            asyncio.get_running_loop().call_later(rng.random() * 0.002, response.abort)
        body = b""
        if rng.random() < 0.5:
            body = await response.body(rng.choice((100, 1 << 20)))
        elif rng.random() < 0.2:
            await response.head()
            return
        while piece := await response.read():
            body += piece
        assert response.complete
        assert body == asked * (len(body) // len(asked))
        assert body
        outcomes.append("whole")
    except AttemptError as error:
        outcomes.append(error.code)
    finally:
        response.release()


async def test_every_answer_is_whole_and_the_askers_own(world: World) -> None:
    rng = random.Random(20261121)
    target = await world.target(others=[misbehaves(rng)])
    pool = world.pool(target.origin, warm=2)
    outcomes: list[str] = []
    numbers = iter(range(REQUESTS))

    async def asker() -> None:
        for number in numbers:
            task = asyncio.ensure_future(_ask(pool, number, rng, outcomes))
            if rng.random() < 0.1:
                asyncio.get_running_loop().call_later(rng.random() * 0.002, task.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await task

    await asyncio.gather(*[asker() for _ in range(AT_ONCE)])
    assert outcomes.count("whole") > REQUESTS / 3
    assert {"whole", "stream_broken", "cancelled"} == set(outcomes)

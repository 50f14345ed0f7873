"""Requests byte by byte, proper ones and others."""

import asyncio

from tests.app import CHAT, Answer, App
from tests.world import World


def head(*lines: str, start: str = f"POST {CHAT} HTTP/1.1", host: str = "localhost") -> bytes:
    """The head of a request, line by line."""
    hosts = [f"host: {host}"] if host else []
    return "\r\n".join([start, *hosts, "content-type: application/json", *lines, "", ""]).encode()


async def refused(here: World, raw: bytes) -> Answer:
    """The answer to raw bytes; and the next request on another connection is served."""
    async with here.app() as app:
        app.send(raw)
        answer = await app.answer()
    assert (await here.chat()).status == 200
    return answer


async def drip(app: App, raw: bytes) -> Answer:
    """Sends byte by byte until an answer comes."""

    async def send() -> None:
        for byte in raw:
            app.send(bytes([byte]))
            await asyncio.sleep(0.005)

    dripping = asyncio.create_task(send())
    answer = await app.answer()
    dripping.cancel()
    return answer

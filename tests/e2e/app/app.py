"""A user's app: it knows OpenAI's SDK and nothing else. The environment says where the API is, as anywhere.

It serves on port 8000: `POST /ask` with a question answers with the model's words, and `GET /counts` tells what
happened so far. RATE questions a second it asks by itself (default 0), for TOKENS tokens, with STREAM=true as streams,
with STREAM=half every other one. Told to end, it waits for what it has asked, and its last line is what it counted.
"""

import asyncio
import json
import os
import signal
from collections import Counter
from contextlib import suppress
from itertools import cycle

import httpx2
import openai
from aiohttp import web

MODEL = os.environ.get("MODEL", "chat")
RATE = float(os.environ.get("RATE", "0"))
STREAMS = cycle({"true": (True,), "half": (False, True)}.get(os.environ.get("STREAM", ""), (False,)))
TOKENS = int(os.environ.get("TOKENS", "8"))

counts: Counter[str] = Counter()
client = openai.AsyncOpenAI(max_retries=0)


async def ask(question: str, stream: bool = False) -> str:
    counts["asked"] += 1
    try:
        words = await (streamed(question) if stream else answered(question))
    except openai.APIError as error:
        counts["failed"] += 1
        counts[f"failed: {str(error)[:200]}"] += 1
        raise
    counts["answered"] += 1
    return words


async def answered(question: str) -> str:
    answer = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": question}], max_tokens=TOKENS
    )
    return answer.choices[0].message.content or ""


async def streamed(question: str) -> str:
    words, end = "", None
    stream = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": question}], max_tokens=TOKENS, stream=True
    )
    with suppress(httpx2.HTTPError):  # the SDK lets it through; the end is missing then
        async for chunk in stream:
            for choice in chunk.choices:
                words += choice.delta.content or ""
                end = choice.finish_reason or end
    if end is None:
        counts["broken"] += 1
    return words


async def asking(stop: asyncio.Event) -> None:
    """RATE questions a second, whether or not the earlier ones have been answered; those asked are waited for."""
    async with asyncio.TaskGroup() as questions:
        while not stop.is_set():
            questions.create_task(one_of_many())
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1 / RATE)


async def one_of_many() -> None:
    with suppress(openai.APIError):  # counted
        await ask("How are you?", next(STREAMS))


async def post_ask(request: web.Request) -> web.Response:
    try:
        return web.Response(text=await ask(await request.text(), "stream" in request.query))
    except openai.APIStatusError as error:
        return web.Response(status=error.status_code, text=error.message)
    except openai.APIError as error:
        return web.Response(status=502, text=error.message)


async def get_counts(_: web.Request) -> web.Response:
    return web.json_response(counts)


async def main() -> None:
    server = web.Application()
    server.add_routes([web.post("/ask", post_ask), web.get("/counts", get_counts)])
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, port=8000).start()
    print("serving", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if RATE:
        await asking(stop)
    await stop.wait()
    await runner.cleanup()
    print(json.dumps(counts), flush=True)


asyncio.run(main())

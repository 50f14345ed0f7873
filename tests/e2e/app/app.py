"""A user's app: it knows OpenAI's SDK and nothing else. The environment says where the API is, as anywhere.

It serves on port 8000: `POST /ask` with a question answers with the model's words, and `GET /counts` tells what
happened so far. RATE questions a second it asks by itself (default 0), with STREAM=true as streams of TOKENS tokens.
"""

import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress

import openai
from aiohttp import web

MODEL = os.environ.get("MODEL", "chat")
RATE = float(os.environ.get("RATE", "0"))
STREAM = os.environ.get("STREAM", "") == "true"
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
    async for chunk in await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": question}], max_tokens=TOKENS, stream=True
    ):
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
        await ask("How are you?", STREAM)


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
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if RATE:
        await asking(stop)
    await stop.wait()
    await runner.cleanup()


asyncio.run(main())

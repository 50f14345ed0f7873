"""One call with an SDK, as an app makes it. Whatever the SDK raises is what the app sees."""

from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import NamedTuple

from anthropic import AsyncAnthropic
from examples.demo.ledger import Ask, Call
from openai import AsyncOpenAI

MODEL = "chat"
MOST_TOKENS = 60


class Answer(NamedTuple):
    """What came back: when its first content came (or the whole of it, if it came in one piece), and its headers."""

    at: float
    headers: Mapping[str, str]


Speak = Callable[[Ask], Awaitable[Answer]]
"""Sends one request and takes the whole answer."""


class Incomplete(Exception):
    """A stream ended without saying that it was over."""


async def call(asked: str, speak: Speak, ask: Ask) -> Call:
    """Makes a call and notes how it went."""
    started = monotonic()
    try:
        answer = await speak(ask)
    except Exception as error:
        return Call(ask, asked, ended=monotonic(), error=f"{type(error).__name__}: {error}")
    said = answer.headers.get
    return Call(
        ask,
        asked,
        ended=monotonic(),
        wait=answer.at - started,
        target=said("x-llmroute-target", asked),
        reason=said("x-llmroute-reason", ""),
        attempts=said("x-llmroute-attempts", ""),
    )


async def openai_stream(client: AsyncOpenAI, ask: Ask) -> Answer:
    """A streamed answer through the OpenAI SDK."""
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": ask.prompt}],
        max_tokens=MOST_TOKENS,
        stream=True,
        extra_headers=luck(ask),
    )
    first, finished = None, False
    async for chunk in stream:
        for choice in chunk.choices:
            if first is None and choice.delta.content:
                first = monotonic()
            finished = finished or choice.finish_reason is not None
    if first is None or not finished:
        raise Incomplete("the stream ended without an end")
    return Answer(first, stream.response.headers)


async def openai_whole(client: AsyncOpenAI, ask: Ask) -> Answer:
    """An answer in one piece through the OpenAI SDK."""
    answer = await client.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=[{"role": "user", "content": ask.prompt}],
        max_tokens=MOST_TOKENS,
        extra_headers=luck(ask),
    )
    if not answer.parse().choices[0].message.content:
        raise Incomplete("the answer is empty")
    return Answer(monotonic(), answer.headers)


async def anthropic_stream(client: AsyncAnthropic, ask: Ask) -> Answer:
    """A streamed answer through the Anthropic SDK."""
    stream = await client.messages.create(
        model=MODEL,
        messages=[{"role": "user", "content": ask.prompt}],
        max_tokens=MOST_TOKENS,
        stream=True,
        extra_headers=luck(ask),
    )
    first, finished = None, False
    async for event in stream:
        if first is None and event.type == "content_block_delta":
            first = monotonic()
        finished = finished or event.type == "message_stop"
    if first is None or not finished:
        raise Incomplete("the stream ended without an end")
    return Answer(first, stream.response.headers)


def luck(ask: Ask) -> dict[str, str]:
    """Has a simulated provider draw the same luck for a request and its probe, so that only the way differs."""
    return {"x-simulator-index": str(ask.number)}

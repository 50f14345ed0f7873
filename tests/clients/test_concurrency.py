"""Many apps at once, some of which hang up: everybody gets his own answer, whole."""

import asyncio
import contextlib
import json
from random import Random

import anthropic
import openai
from tests.clients.programs import Sidecar

APPS = 90


def asks_for(number: int) -> dict[str, object]:
    """A schema that only one answer fits."""
    return {
        "type": "object",
        "properties": {"number": {"const": number}, "text": {"type": "string"}},
        "required": ["number", "text"],
        "additionalProperties": False,
    }


async def from_openai(app: openai.AsyncOpenAI, number: int, stream: bool) -> str:
    model = ("openai", "anthropic")[number % 2]
    schema = {"name": "answer", "strict": True, "schema": asks_for(number)}
    wanted = {"response_format": {"type": "json_schema", "json_schema": schema}}
    if not stream:
        answer = await app.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}], extra_body=wanted
        )
        return answer.choices[0].message.content or ""
    pieces = [
        chunk.choices[0].delta.content or ""
        async for chunk in await app.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}], extra_body=wanted, stream=True
        )
    ]
    return "".join(pieces)


async def from_anthropic(app: anthropic.AsyncAnthropic, number: int) -> str:
    async with app.messages.stream(
        model=("openai", "anthropic")[number % 2],
        max_tokens=100,
        messages=[{"role": "user", "content": "Hello"}],
        extra_body={"output_config": {"format": {"type": "json_schema", "schema": asks_for(number)}}},
    ) as stream:
        return await stream.get_final_text()


async def test_everybody_gets_his_own_answer(sidecar: Sidecar) -> None:
    rng = Random(7)
    leaving = set(rng.sample(range(APPS), APPS // 3))
    async with (
        openai.AsyncOpenAI(base_url=sidecar.openai_url, api_key="key-of-the-app", max_retries=0) as one,
        anthropic.AsyncAnthropic(base_url=sidecar.anthropic_url, api_key="key-of-the-app", max_retries=0) as other,
    ):

        async def ask(number: int) -> None:
            if number % 3 == 0:
                answer = await from_anthropic(other, number)
            else:
                answer = await from_openai(one, number, stream=number % 3 == 1)
            assert json.loads(answer)["number"] == number

        async def stay_or_leave(number: int) -> None:
            if number not in leaving:
                await ask(number)
                return
            task = asyncio.create_task(ask(number))
            await asyncio.sleep(rng.uniform(0, 0.3))
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        await asyncio.gather(*map(stay_or_leave, range(APPS)))
        for number in range(6):
            await ask(number)

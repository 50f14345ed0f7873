"""Apps that hang up in the middle of an answer: the target is told at once."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import anthropic
import httpx2
import openai
import pytest
from tests.clients.programs import Sidecar

PATIENCE = 20.0
"""Seconds until an answer that nobody wants counts as going on; whole it would take 40."""


class Provider:
    """A simulated provider's own counters."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = f"{parts.scheme}://{parts.netloc}/simulator/stats"

    def cancelled(self) -> int:
        """Answers during which the client hung up."""
        return int(httpx2.get(self._url).json()["cancelled"])

    @contextmanager
    def is_told(self) -> Iterator[None]:
        """What is done inside ends one answer of the provider."""
        before = self.cancelled()
        yield
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.cancelled() == before:
            time.sleep(0.01)
        assert self.cancelled() == before + 1


@pytest.fixture
def slow(providers: dict[str, str], target: str) -> Provider:
    return Provider(providers[f"slow-{target}"])


def test_a_chat_that_is_left_ends_at_the_target(openai_app: openai.OpenAI, target: str, slow: Provider) -> None:
    with (
        slow.is_told(),
        openai_app.chat.completions.create(
            model=f"slow-{target}", messages=[{"role": "user", "content": "Hello"}], stream=True
        ) as stream,
    ):
        for chunk in stream:
            if chunk.choices[0].delta.content:
                break


def test_messages_that_are_left_end_at_the_target(
    anthropic_app: anthropic.Anthropic, target: str, slow: Provider
) -> None:
    with (
        slow.is_told(),
        anthropic_app.messages.stream(
            model=f"slow-{target}", max_tokens=5000, messages=[{"role": "user", "content": "Hello"}]
        ) as stream,
    ):
        next(stream.text_stream)


def test_an_app_that_loses_patience_ends_its_request_at_the_target(
    openai_app: openai.OpenAI, target: str, slow: Provider
) -> None:
    with slow.is_told(), pytest.raises(openai.APITimeoutError):
        openai_app.with_options(timeout=0.2, max_retries=0).chat.completions.create(
            model=f"slow-{target}", messages=[{"role": "user", "content": "Hello"}]
        )


async def test_a_task_that_is_cancelled_ends_its_request_at_the_target(
    sidecar: Sidecar, target: str, slow: Provider
) -> None:
    async def chat(begun: Callable[[], None]) -> None:
        async with openai.AsyncOpenAI(base_url=sidecar.openai_url, api_key="key-of-the-app") as app:
            async for chunk in await app.chat.completions.create(
                model=f"slow-{target}", messages=[{"role": "user", "content": "Hello"}], stream=True
            ):
                if chunk.choices[0].delta.content:
                    begun()

    begun = asyncio.Event()
    with slow.is_told():
        task = asyncio.create_task(chat(begun.set))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

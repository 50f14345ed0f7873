"""The app: calls at random moments, most of them streams of the OpenAI SDK; and the probes beside some of them."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from random import Random
from typing import Any

from anthropic import AsyncAnthropic
from examples.demo.acts import Play
from examples.demo.calls import Speak, anthropic_stream, call, openai_stream, openai_whole
from examples.demo.ledger import APP, Ask, Kind, Ledger
from examples.demo.stage import Stage
from openai import AsyncOpenAI

RATE = 16.0
"""Calls of the app in a second, on average."""
MIX: dict[Kind, float] = {"stream": 0.8, "whole": 0.12, "anthropic": 0.08}
PROBED = 0.16
"""Share of the streams that are also sent to each provider directly, at the same moment."""
MOST_AT_ONCE = 48
"""Calls in flight; on a machine that is too slow for the rate the app calls less often."""
PATIENCE = 20.0
"""Seconds after which the app gives up."""
QUESTIONS = (
    "What is a sidecar?",
    "Why is a tail latency worse than it looks?",
    "Write a limerick about a router that never waits.",
    "Summarise the last incident for somebody who was asleep.",
    "Which of two slow things is slower, and how would you know?",
)


class Traffic:
    """Calls until the play is over. `in_flight`: calls of the app that have not ended."""

    def __init__(self, stage: Stage, ledger: Ledger, play: Play, rng: Random) -> None:
        self.in_flight = 0
        self._ledger = ledger
        self._play = play
        self._rng = rng
        app = _openai(f"{stage.app_url}/v1")
        self._app: dict[Kind, Speak] = {
            "stream": partial(openai_stream, app),
            "whole": partial(openai_whole, app),
            "anthropic": partial(anthropic_stream, _anthropic(stage.app_url)),
        }
        self._direct: dict[str, Speak] = {
            provider.name: partial(openai_stream, _openai(provider.url))
            if provider.dialect == "openai"
            else partial(anthropic_stream, _anthropic(provider.url))
            for provider in stage.providers
        }
        self._warming: list[Speak] = [
            *self._direct.values(),
            *(partial(openai_whole, _openai(each.url)) for each in stage.providers if each.dialect == "openai"),
        ]

    async def warm_up(self) -> None:
        """Has the SDKs load and connect, with calls that do not count and that no sidecar learns from."""
        ask = Ask(0, "stream", QUESTIONS[0], 0, probed=False)
        for speak in self._warming:
            await call(APP, speak, ask)

    async def run(self) -> None:
        """Makes calls until the play is over, and waits for their ends."""
        async with asyncio.TaskGroup() as group:
            number = 0
            while not self._play.over.is_set():
                if self.in_flight < MOST_AT_ONCE:
                    for one in self._calls(number):
                        group.create_task(one)
                    number += 1
                await asyncio.sleep(self._rng.expovariate(RATE))

    def _calls(self, number: int) -> list[Coroutine[Any, Any, None]]:
        (kind,) = self._rng.choices(list(MIX), list(MIX.values()))
        probed = kind == "stream" and self._rng.random() < PROBED
        ask = Ask(number, kind, self._rng.choice(QUESTIONS), self._play.act, probed)
        probes = [self._call(name, speak, ask) for name, speak in self._direct.items()] if probed else []
        calls = [self._call(APP, self._app[kind], ask), *probes]
        self._rng.shuffle(calls)  # this process makes one after the other: nobody shall always be first
        return calls

    async def _call(self, asked: str, speak: Speak, ask: Ask) -> None:
        self.in_flight += asked == APP
        try:
            self._ledger.calls.append(await call(asked, speak, ask))
        finally:
            self.in_flight -= asked == APP


def _openai(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key="unused", max_retries=0, timeout=PATIENCE)


def _anthropic(url: str) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=url, api_key="unused", max_retries=0, timeout=PATIENCE)

"""What befalls the providers, in five acts. Who is hit is whoever is used most at that moment."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, NamedTuple

from examples.demo.ledger import APP, Ledger, share
from examples.demo.stage import Stage

SLOWER = 6
"""Factor by which a provider's first token comes later in its brownout."""
RESETS = 2.0
"""Seconds for which a dying provider still takes connections and resets them; then it refuses them."""
SECONDS = 70.0
"""Length of the whole play, unless told otherwise."""
FAST = 12.0
"""The same for the impatient."""
SHORTEST = 8.0
"""Seconds; shorter, and trouble begins before anything was learned."""


class Play:
    """How far the play is, as everything else sees it."""

    def __init__(self, stage: Stage, ledger: Ledger, seconds: float) -> None:
        self.seconds = seconds
        self.act = 0
        self.story = ""
        """What happens in this act, in a few words."""
        self.slowed = ""
        self.killed = ""
        self.over = asyncio.Event()
        self._stage = stage
        self._ledger = ledger
        self._started = monotonic()

    @property
    def providers(self) -> list[str]:
        """Their names, the fastest of calm days first."""
        return [provider.name for provider in self._stage.providers]

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return monotonic() - self._started

    async def perform(self) -> None:
        """All acts, one after the other."""
        self._started = monotonic()
        ends = 0.0
        for number, act in enumerate(ACTS):
            self.story = await act.begin(self)
            self.act = number
            ends += act.share * self.seconds
            await asyncio.sleep(ends - self.elapsed)
        self.over.set()

    async def calm(self) -> str:
        """Nothing happens."""
        return "nobody knows yet who is fast: LLMRoute tries, and learns"

    async def brown_out(self) -> str:
        """The most used one becomes slow."""
        self.slowed = self._busiest()
        await self._tell(self.slowed, {"latency": SLOWER})
        return f"{self.slowed}, the one used most, becomes {SLOWER} times slower"

    async def kill(self) -> str:
        """The one that took over dies. Answers that it has begun may end: words that an app has read, no router can
        take back, so every router must pass on the end of those."""
        self.killed = self._busiest()
        death = [{"type": "reset"}, {"type": "refused", "t0": RESETS}]
        await self._tell(self.killed, {"faults": death})
        return f"{self.killed}, which took over, dies: resets, then refuses"

    async def relieve(self) -> str:
        """The slow one is fast again."""
        await self._tell(self.slowed, {"clear": True})
        return f"{self.slowed} is fast again: LLMRoute has to find out"

    async def revive(self) -> str:
        """The dead one is back."""
        await self._tell(self.killed, {"clear": True})
        return f"{self.killed} is back, and on trial once its time out is over"

    async def _tell(self, name: str, command: dict[str, Any]) -> None:
        bystander = next(each for each in self._stage.providers if each.name not in (name, self.slowed, self.killed))
        await self._stage.tell(bystander, name, command)

    def _busiest(self) -> str:
        shares = share(self._ledger.recent(APP, monotonic(), self.seconds / 10))
        return max((name for name in self.providers if name != self.slowed), key=lambda name: shares.get(name, 0.0))


class Act(NamedTuple):
    """A part of the play; `begin` makes it so and tells the story."""

    name: str
    share: float
    begin: Callable[[Play], Awaitable[str]]


ACTS = (
    Act("calm", 0.17, Play.calm),
    Act("brownout", 0.17, Play.brown_out),
    Act("outage", 0.16, Play.kill),
    Act("recovery", 0.2, Play.relieve),
    Act("return", 0.3, Play.revive),
)
CALM, BROWNOUT, OUTAGE, RECOVERY, RETURN = range(len(ACTS))

"""A target with all that choosing looks at."""

from typing import Protocol

from llmroute.health import Health
from llmroute.latency import Latency
from llmroute.spec import Target

HIGHEST_TIER = 5


class Load(Protocol):
    """How busy a target is from here."""

    in_flight: int

    @property
    def full(self) -> bool:
        """Whether the next attempt would have to wait."""


class Candidate:
    """One target of a route: what was declared, compiled to floats, beside what was learned.

    `missing_key`: where the target's key was looked for in vain, empty if it is there; whoever re-reads keys keeps it
    up to date. `declared_as`: the target's name in the spec, which is another than its own where each address is a
    target.
    """

    __slots__ = (
        "cost_in",
        "cost_out",
        "declared_as",
        "health",
        "latency",
        "load",
        "missing_key",
        "name",
        "quality",
        "target",
    )

    def __init__(self, target: Target, latency: Latency, health: Health, load: Load) -> None:
        self.target = target
        self.name: str = target.name
        self.declared_as = self.name
        self.latency = latency
        self.health = health
        self.load = load
        self.missing_key = ""
        self.quality = (target.quality_tier - 1) / (HIGHEST_TIER - 1)
        cost = target.cost
        self.cost_in = None if cost is None else float(cost.input_per_million) / 1e6
        self.cost_out = 0.0 if cost is None else float(cost.output_per_million) / 1e6

    def price(self, prompt_tokens: int, output_tokens: int) -> float | None:
        """Dollars for so many tokens; None where no cost is declared."""
        if self.cost_in is None:
            return None
        return prompt_tokens * self.cost_in + output_tokens * self.cost_out

    def __repr__(self) -> str:
        return f"Candidate({self.name})"

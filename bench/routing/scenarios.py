"""Scenario files (format: the header of `bench/scenarios/public.yaml`) as values. Seconds, tokens, requests per s."""

import math
from pathlib import Path
from typing import Literal

import msgspec
import yaml
from msgspec import Struct


class Mod(Struct, frozen=True, forbid_unknown_fields=True):
    """A factor on a target's slowness over time."""

    type: Literal["step", "ramp", "sine", "flap"]
    t0: float = 0.0
    t1: float = math.inf
    x: float = 1.0
    frac: float = 1.0
    """Share of the requests that a step hits."""
    batch_x: float = 1.0
    """Factor of a step on `max_batch`."""
    period: float = 1.0
    amp_log: float = 0.0
    phase: float = 0.0
    duty: float = 0.5

    def at(self, now: float) -> float:
        """The factor at an instant, for requests that it hits."""
        if self.type == "sine":
            return math.exp(self.amp_log * math.sin(2.0 * math.pi * (now / self.period + self.phase)))
        if self.type == "ramp":
            return float(self.x ** min(max((now - self.t0) / (self.t1 - self.t0), 0.0), 1.0))
        if not self.t0 <= now < self.t1:
            return 1.0
        if self.type == "flap":
            return self.x if (now - self.t0) % self.period < self.duty * self.period else 1.0
        return self.x


class Fail(Struct, frozen=True, forbid_unknown_fields=True):
    """Requests between t0 and t1 fail with probability p."""

    type: Literal["5xx", "refused", "hang", "stall"]
    t0: float
    t1: float
    p: float
    delay: float = 0.0


class RateLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """A token bucket; beyond it 429 with Retry-After."""

    rps: float
    burst: float
    retry_after: float


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """A provider (`saas`), or a model server with finite capacity (`selfhosted`)."""

    kind: Literal["saas", "selfhosted"]
    tps: float
    rtt: float
    sigma: float
    a: float = 0.0
    b_per_1k: float = 0.0
    max_batch: int = 0
    knee: float = 1.0
    prefill_work_per_token: float = 0.0
    base_work: float = 0.0
    mods: tuple[Mod, ...] = ()
    fails: tuple[Fail, ...] = ()
    rate_limit: RateLimit | None = None
    appears_at: float = 0.0


class Prompts(Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens of prompts."""

    p_long: float = 0.2
    short: float = 200.0
    long: float = 8000.0
    sigma: float = 0.4


class Outputs(Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens of answers."""

    median: float = 150.0
    sigma: float = 0.7


class Burst(Struct, frozen=True, forbid_unknown_fields=True):
    """Two-state arrivals: mean lengths in seconds, and how much denser the one state is."""

    factor: float
    on: float
    off: float


class Event(Struct, frozen=True, forbid_unknown_fields=True):
    """What leaving and returning are measured at."""

    target: int
    t0: float
    t1: float


class Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    """One bad day."""

    id: str
    seed: int
    sidecars: int
    rate: float
    duration: float
    warmup: float
    slo: float
    targets: tuple[Target, ...]
    goal: dict[str, float] = {}
    prompts: Prompts = Prompts()
    outputs: Outputs = Outputs()
    burst: Burst | None = None
    event: Event | None = None
    objective: Literal["ttft", "total"] = "ttft"


def read(path: Path) -> tuple[Scenario, ...]:
    """The scenarios of a file.

    Raises:
        msgspec.ValidationError: it is not of this format; the message names the field.
    """
    document = yaml.safe_load(path.read_text())
    return msgspec.convert(document["scenarios"], tuple[Scenario, ...])

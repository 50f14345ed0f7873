"""All randomness of a run: arrivals by the seed, and an attempt's noise by (seed, request, target, try)."""

import math
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from bench.routing.scenarios import Burst, Scenario


class Arrival(NamedTuple):
    """One request of an app."""

    number: int
    at: float
    sidecar: int
    prompt: int
    output: int


class Luck(NamedTuple):
    """An attempt's noise: two standard normals (first token, speed) and two uniforms (failure, which mods hit)."""

    first: float
    speed: float
    failure: float
    hit: float


def luck(seed: int, request: int, target: int, attempt: int) -> Luck:
    """The same for every policy."""
    rng = Random(((seed * 1_000_003 + request) * 256 + target) * 16 + attempt)
    return Luck(rng.gauss(0.0, 1.0), rng.gauss(0.0, 1.0), rng.random(), rng.random())


def arrivals(scenario: Scenario, seed: int) -> Iterator[Arrival]:
    """In order of time."""
    rng = Random(seed)
    prompts, outputs = scenario.prompts, scenario.outputs
    for index, at in enumerate(_instants(scenario, rng)):
        middle = prompts.long if rng.random() < prompts.p_long else prompts.short
        prompt = max(1, round(middle * math.exp(prompts.sigma * rng.gauss(0.0, 1.0))))
        output = max(1, round(outputs.median * math.exp(outputs.sigma * rng.gauss(0.0, 1.0))))
        yield Arrival(index, at, rng.randrange(scenario.sidecars), prompt, output)


def _instants(scenario: Scenario, rng: Random) -> Iterator[float]:
    burst = scenario.burst
    if burst is None:
        at = rng.expovariate(scenario.rate)
        while at < scenario.duration:
            yield at
            at += rng.expovariate(scenario.rate)
        return
    yield from _bursts(scenario, burst, rng)


def _bursts(scenario: Scenario, burst: Burst, rng: Random) -> Iterator[float]:
    """A Markov-modulated Poisson process: memoryless, so a draw across a change of state is drawn anew."""
    slow = scenario.rate * (burst.on + burst.off) / (burst.factor * burst.on + burst.off)
    now, on = 0.0, False
    ends = rng.expovariate(1.0 / burst.off)
    while now < scenario.duration:
        at = now + rng.expovariate(slow * burst.factor if on else slow)
        if at >= ends:
            now, on = ends, not on
            ends = now + rng.expovariate(1.0 / (burst.on if on else burst.off))
            continue
        now = at
        if now < scenario.duration:
            yield now

"""Scores of candidates, and the pick: argmax of the score on sampled latencies (Thompson), near-ties to the least busy.

    score = w_latency x (1 - norm_latency) + w_cost x (1 - norm_cost) + w_quality x quality
    norm_x = 1 - min/x over the candidates, an unknown x being their median

Drawing the latency from what is believed, instead of taking its mean, explores by itself, and keeps many sidecars
that decide alone on the same facts from moving all at once.
"""

from math import exp
from random import Random
from statistics import NormalDist, median
from typing import NamedTuple

from llmroute.routing.ask import Ask
from llmroute.routing.candidate import Candidate
from llmroute.routing.policy import Terms

NEAR = 0.02
"""Scores closer than this share of the latency's weight are equal: the less busy candidate is taken."""
_BITS = 10
_NORMAL = [NormalDist().inv_cdf((rank + 0.5) / 2**_BITS) for rank in range(2**_BITS)]
"""A standard normal deviate for each of 1024 equal parts: drawing from it costs a tenth of `rng.gauss`."""
_CROWDED = 0.5
"""What each attempt in flight adds to the drawn latency of a target that has not answered yet: no stampede."""


class Picked(NamedTuple):
    """The winner; `explored` if others were expected to be faster."""

    candidate: Candidate
    explored: bool


class Latencies(NamedTuple):
    """Seconds by the terms' metric, one each candidate."""

    expected: list[float]
    drawn: list[float]


def pick(candidates: list[Candidate], ask: Ask, terms: Terms, now: float, rng: Random) -> Picked:
    """The best of at least one candidate."""
    expected, drawn = latencies(candidates, ask, terms, now, rng)
    weight = terms.mix.latency
    if weight == 1.0:
        fastest = min(drawn)
        bound = fastest / (1.0 - NEAR)
        chosen = drawn.index(fastest)
        near = [index for index, seconds in enumerate(drawn) if seconds <= bound]
    else:
        scores = weigh(candidates, drawn, ask, terms)
        best = max(scores)
        chosen = scores.index(best)
        near = [index for index, score in enumerate(scores) if score >= best - NEAR * weight]
    if len(near) > 1:
        loads = [candidates[index].load.in_flight for index in near]
        least = min(loads)
        idle = [index for index, load in zip(near, loads, strict=True) if load == least]
        chosen = idle[rng.getrandbits(16) % len(idle)]
    explored = weight == 1.0 and expected[chosen] > min(expected) / (1.0 - NEAR)
    return Picked(candidates[chosen], explored)


def latencies(candidates: list[Candidate], ask: Ask, terms: Terms, now: float, rng: Random) -> Latencies:
    """What each candidate is believed to need. One that never answered is taken for a median one, with wide doubt."""
    operation, stream, output_tokens, z = ask.operation, ask.stream, ask.output_tokens, terms.z
    metric = terms.metric_of(stream)
    bits = rng.getrandbits
    expected: list[float] = []
    drawn: list[float] = []
    proven = True
    for candidate in candidates:
        track = candidate.latency.track(operation, stream)
        seconds, draw = track.sample(metric, output_tokens, z, now, _NORMAL[bits(_BITS)])
        expected.append(seconds)
        drawn.append(draw)
        if not track.level.proven:
            proven = False
    if not proven:
        _suppose(candidates, Latencies(expected, drawn), ask, now, rng)
    return Latencies(expected, drawn)


def _suppose(candidates: list[Candidate], seconds: Latencies, ask: Ask, now: float, rng: Random) -> None:
    """Fill in those that have never answered: neither always nor never picked."""
    tracks = [candidate.latency.track(ask.operation, ask.stream) for candidate in candidates]
    known = [mean for mean, track in zip(seconds.expected, tracks, strict=True) if track.level.proven]
    middle = median(known) if known else None
    for index, track in enumerate(tracks):
        if not track.level.proven:
            if middle is not None:
                seconds.expected[index] = middle * track.failing.penalty(now)
            crowd = 1.0 + _CROWDED * candidates[index].load.in_flight
            seconds.drawn[index] = seconds.expected[index] * exp(_NORMAL[rng.getrandbits(_BITS)]) * crowd


def weigh(candidates: list[Candidate], seconds: list[float], ask: Ask, terms: Terms) -> list[float]:
    """Scores in [0, 1]."""
    mix = terms.mix
    fastest = min(seconds)
    scores = [mix.latency * fastest / each for each in seconds]
    if mix.cost:
        for index, share in enumerate(_cheapness(candidates, ask)):
            scores[index] += mix.cost * share
    if mix.quality:
        for index, candidate in enumerate(candidates):
            scores[index] += mix.quality * candidate.quality
    return scores


def _cheapness(candidates: list[Candidate], ask: Ask) -> list[float]:
    """1 - norm_cost: least price over price; a free target has 1, and beside it all others 0."""
    prices = [candidate.price(ask.prompt_tokens, ask.output_tokens) for candidate in candidates]
    known = [price for price in prices if price is not None]
    if not known:
        return [1.0] * len(prices)
    least = min(known)
    middle = median(known) if len(known) < len(prices) else least
    return [1.0 if (price := middle if each is None else each) <= least else least / price for each in prices]

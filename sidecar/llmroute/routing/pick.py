"""Scores of candidates, and the pick: argmax of the score on sampled latencies (Thompson), near-ties to the least busy.

    score = w_latency x (1 - norm_latency) + w_cost x (1 - norm_cost) + w_quality x quality
    norm_x = 1 - min/x over the candidates, an unknown x being their median

times the likelihood of success: what fails is neither cheap nor good.

Drawing the latency from what is believed, instead of taking its mean, explores by itself, and keeps many sidecars
that decide alone on the same facts from moving all at once.
"""

from math import exp, inf
from random import Random
from statistics import NormalDist, median

from llmroute.latency import Track
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


def pick(
    candidates: list[Candidate], tracks: list[Track], ask: Ask, terms: Terms, now: float, rng: Random
) -> tuple[Candidate, bool]:
    """The best of at least one candidate, and whether it was explored: others were expected to be faster."""
    tokens, bits = 1.0 * ask.output_tokens, rng.getrandbits
    normal, when = _NORMAL, now
    if terms.metric != "auto" or terms.z:
        when = inf  # not what the tracks keep ready
    expected: list[float] = []
    drawn: list[float] = []
    all_known, soonest, best = True, inf, inf
    for track in tracks:
        if when < track.plain_until or (when < inf and track.settle(now)):
            seconds = track.fixed + tokens * track.each
            draw = seconds * exp(track.spread * normal[bits(_BITS)])
        else:
            metric = terms.metric_of(ask.stream)
            seconds, draw = track.sample(metric, ask.output_tokens, terms.z, now, normal[bits(_BITS)])
            if not track.level.proven:
                all_known, seconds = False, inf  # what never answered is expected to take for ever
        if seconds < soonest:
            soonest = seconds
        if draw < best:
            best = draw
        expected.append(seconds)
        drawn.append(draw)
    if not all_known:
        _suppose(candidates, tracks, (expected, drawn), now, rng)
        best = min(drawn)
    weight = terms.mix.latency
    if weight != 1.0:
        losses = [-score for score in weigh(candidates, tracks, drawn, ask, terms, now)]
        return candidates[_least_busy(candidates, losses, min(losses) + NEAR * weight, rng)], False
    chosen = _least_busy(candidates, drawn, best / (1.0 - NEAR), rng)
    return candidates[chosen], expected[chosen] * (1.0 - NEAR) > soonest


def _least_busy(candidates: list[Candidate], losses: list[float], bound: float, rng: Random) -> int:
    """Of those within the bound the one with the fewest attempts in flight; among equals by lot."""
    chosen, least, equals = 0, inf, 0
    for index, loss in enumerate(losses):
        if loss <= bound:
            load = candidates[index].load.in_flight
            if load < least:
                chosen, least, equals = index, load, 1
            elif load == least:
                equals += 1
                if not rng.getrandbits(16) % equals:
                    chosen = index
    return chosen


def _suppose(
    candidates: list[Candidate], tracks: list[Track], seconds: tuple[list[float], list[float]], now: float, rng: Random
) -> None:
    """Draw for those that never answered, as for a median one with wide doubt: neither always nor never picked."""
    expected, drawn = seconds
    known = [each for each in expected if each < inf]
    middle = median(known) if known else 1.0
    for index, track in enumerate(tracks):
        if not track.level.proven:
            crowd = 1.0 + _CROWDED * candidates[index].load.in_flight
            drawn[index] = middle * crowd * track.failing.penalty(now) * exp(_NORMAL[rng.getrandbits(_BITS)])


def weigh(
    candidates: list[Candidate], tracks: list[Track], seconds: list[float], ask: Ask, terms: Terms, now: float
) -> list[float]:
    """Scores in [0, 1]."""
    by_latency, by_cost, by_quality, _ = terms.mix
    fastest = by_latency * min(seconds)
    prices = _prices(candidates, ask)
    least = min(prices)
    cheapest = by_cost * least
    scores = []
    for candidate, track, each, price in zip(candidates, tracks, seconds, prices, strict=True):
        score = fastest / each + by_quality * candidate.quality + (by_cost if price <= least else cheapest / price)
        failing = track.failing
        scores.append(score * failing.reliability(now) if failing.share else score)
    return scores


def _prices(candidates: list[Candidate], ask: Ask) -> list[float]:
    """Dollars, one each candidate; an unknown price is taken for the median, and for nothing if none is known."""
    prompt, answer = ask.prompt_tokens, ask.output_tokens
    prices = []
    for candidate in candidates:
        cost = candidate.cost_in
        if cost is not None:
            prices.append(prompt * cost + answer * candidate.cost_out)
    if len(prices) < len(candidates):
        middle = median(prices) if prices else 0.0
        known = [candidate.price(prompt, answer) for candidate in candidates]
        prices = [middle if price is None else price for price in known]
    return prices

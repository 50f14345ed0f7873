"""Numbers of many sidecars as one, and as text that does not change for nothing. Pure."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from llmroute.spec import Duration
from llmroute_operator.reports import Quantiles

NONE = "-"
"""Stands in a column for a number that there is none of."""
P95 = 0.95
SHORTEST = 1e-6
"""Seconds: there is no logarithm of nothing."""
NOTABLE = 0.20
"""A number is written anew when it has changed by more than this part of what is written."""
NOTABLE_SHARE = 0.02
"""And a share only when it has changed by this much of the whole: from 1 % to 2 % is no news."""


def merged_p95(parts: Sequence[Quantiles]) -> float | None:
    """The 95th percentile, in seconds, of all requests behind the parts together; None if there are none.

    An estimate. Percentiles cannot be averaged: a mean of p95s is the p95 of nothing. What can be added up is the part
    of the requests below a given time. Each part's distribution is drawn through what it tells (p50, p95, p99; a
    straight line between in log time, nothing below p50 / 2, all below 2 p99 - p95), weighted by its number of requests
    (a sidecar's window holds at most 512 a target, so a very busy one counts less than it should), and the time is
    sought below which 95 % of all lie. Parts that agree give their own p95; no result lies outside the parts' p95s.
    """
    if not parts:
        return None
    low, high = min(part.p95 for part in parts), max(part.p95 for part in parts)
    total = sum(part.count for part in parts)
    # One sweep over the ends of all straight pieces: the sum of the curves is straight in between.
    ends = sorted(end for part in parts for end in _ends(part, part.count / total))
    at, below, slope = -math.inf, 0.0, 0.0
    for time, jump, bend in ends:
        reached = below + slope * (time - at) if slope else below
        if reached >= P95:
            return min(high, max(low, math.exp(at + (P95 - below) / slope)))
        at, below, slope = time, reached + jump, max(0.0, slope + bend)
        if below >= P95:
            return min(high, max(low, math.exp(at)))
    return high


def _ends(part: Quantiles, weight: float) -> Iterator[tuple[float, float, float]]:
    """Where the curve of a part begins, bends and ends: log time, jump there, change of the slope there."""
    p50, p95, p99 = (max(seconds, SHORTEST) for seconds in sorted((part.p50, part.p95, part.p99)))
    times = [math.log(seconds) for seconds in (p50 / 2, p50, p95, p99, 2 * p99 - p95)]
    for (begin, end), share in zip(pairwise(times), (0.50, 0.45, 0.04, 0.01), strict=True):
        if end > begin:
            slope = weight * share / (end - begin)
            yield begin, 0.0, slope
            yield end, 0.0, -slope
        else:
            yield begin, weight * share, 0.0


def written_seconds(seconds: float | None) -> str | None:
    """`430ms`, `1.25s`: a duration as the spec spells it."""
    if seconds is None:
        return None
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.2f}s"


def written_share(share: float | None) -> str | None:
    """`71%`."""
    return None if share is None else f"{share * 100:.0f}%"


def notable(before: str | None, after: str | None) -> bool:
    """Whether a written number has changed enough to be written anew."""
    if before == after:
        return False
    was, now = _number(before), _number(after)
    if was is None or now is None:
        return True
    least = NOTABLE_SHARE if after is not None and after.endswith("%") else 0.0
    return abs(now - was) > max(NOTABLE * was, least)


def _number(text: str | None) -> float | None:
    if text is None or text == NONE:
        return None
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(Duration.parse(text))
    except ValueError:
        return None


def printable(text: str, most: int) -> str:
    """What somebody else wrote, on one line, without control characters, and not longer than `most`."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"

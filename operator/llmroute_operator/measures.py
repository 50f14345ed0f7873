"""Numbers of many sidecars as one, and as text that does not change for nothing. Pure."""

import math
from collections.abc import Sequence

from llmroute.spec import Duration
from llmroute_operator.reports import Quantiles

NONE = "-"
"""Stands in a column for a number that there is none of."""
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
    curves = [(part.count / total, _curve(part)) for part in parts]
    for _ in range(40):
        middle = (low + high) / 2
        if sum(weight * _below(curve, middle) for weight, curve in curves) < 0.95:
            low = middle
        else:
            high = middle
    return high


def _curve(part: Quantiles) -> list[tuple[float, float]]:
    """`(log time, part of the requests below it)`, both ascending."""
    p50, p95, p99 = sorted((part.p50, part.p95, part.p99))
    points = ((p50 / 2, 0.0), (p50, 0.50), (p95, 0.95), (p99, 0.99), (2 * p99 - p95, 1.0))
    return [(math.log(max(seconds, 1e-6)), share) for seconds, share in points]


def _below(curve: list[tuple[float, float]], seconds: float) -> float:
    at = math.log(max(seconds, 1e-6))
    before, reached = curve[0]
    if at < before:
        return 0.0
    for time, share in curve[1:]:
        if at < time:
            return reached + (share - reached) * (at - before) / (time - before)
        before, reached = time, share
    return reached


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

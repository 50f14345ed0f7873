"""The one place where numbers that came from outside are made fit for arithmetic."""

import math

SHORTEST = 1e-4
"""Seconds. Nothing answers sooner; a smaller number is a clock's or a provider's mistake."""
LONGEST = 3600.0
"""Seconds. Longer waits say nothing more."""
MOST_TOKENS = 10_000_000
SLOWEST = 0.01
"""Tokens per second."""
FASTEST = 100_000.0
"""Tokens per second."""


def seconds(value: float | None) -> float | None:
    """The value within [SHORTEST, LONGEST]; None for what cannot be a duration: absent, NaN, infinite, negative.

    Zero can be one: a clock may be coarser than the answer was fast.
    """
    if value is None or not 0.0 <= value < math.inf:
        return None
    if value < SHORTEST:
        return SHORTEST
    return value if value < LONGEST else LONGEST


def tokens(value: int | None) -> int:
    """The value within [0, MOST_TOKENS]; absent counts as none."""
    if value is None or value <= 0:
        return 0
    return value if value < MOST_TOKENS else MOST_TOKENS


def rate(value: float | None) -> float | None:
    """Tokens per second within [SLOWEST, FASTEST]; None for what cannot be a speed: absent, NaN, not positive."""
    if value is None or not value > 0.0:
        return None
    return min(max(value, SLOWEST), FASTEST)


def speed(count: int, duration: float | None) -> float | None:
    """Tokens per second within [SLOWEST, FASTEST]; None where it cannot be told."""
    clean = seconds(duration)
    if clean is None or count <= 0:
        return None
    return rate(tokens(count) / clean)

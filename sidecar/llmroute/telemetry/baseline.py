"""How long a route's attempts usually take: a number that a brownout of minutes or an hour hardly moves."""

import math

ENOUGH = 20
"""Attempts before there is a number, and between two looks that move it."""
APART = 30.0
"""Seconds between two looks that move it."""
SETTLED = 200
"""Attempts after which the number only moves slowly; before, it is the mean of all."""
A_MINUTE = 0.01
"""How far it may move in a minute, as a part of itself: 10 % in ten minutes, tenfold in four hours."""
AT_ONCE = 300.0
"""Seconds that a step may be for, at most: the look after a night without requests is no leap."""


class Baseline:
    """A slow median over time: each look takes the mean duration since the one before, and the number steps towards
    it, however far away that is. The mean within a look, not a median, since it stands for what is in flight: arrivals
    times mean duration (Little's law); with a few long answers among many short ones, a median would be far below.
    """

    __slots__ = ("_at", "_count", "_seconds", "_value")

    def __init__(self) -> None:
        self._at = -math.inf
        self._count = 0
        self._seconds = 0.0
        self._value: float | None = None

    def look(self, now: float, seconds: float, count: int) -> float | None:
        """`seconds` and `count` of all attempts that went well so far. In seconds; None until there are enough."""
        new, spent = count - self._count, seconds - self._seconds
        if new < 0 or spent < 0:  # a target and its counts are gone: start counting from here
            self._at, self._count, self._seconds = now, count, seconds
        elif new >= ENOUGH and now - self._at >= APART and spent > 0:
            if self._value is None or count < SETTLED:
                self._value = seconds / count
            else:
                step = A_MINUTE * min(now - self._at, AT_ONCE) / 60
                towards = math.log(spent / new / self._value)
                self._value *= math.exp(max(-step, min(step, towards)))
            self._at, self._count, self._seconds = now, count, seconds
        return self._value

"""Evidence beside the answers themselves: recent failures, and silence where an answer is overdue."""

import math

from llmroute.latency.numbers import LONGEST

_FAILURE_RATE = 0.25
"""How far one failure moves the failing share towards 1, and one success towards 0."""
_FAILURE_MEMORY = 5.0 / math.log(2.0)
"""Seconds in which the failing share falls to 1/e without evidence: a half-life of 5 s."""
_FAILURE_COST = 8.0
"""Penalty factor = 1 + this x odds of failing: one failure makes a target look 3.7 times as slow."""
_MOST_FAILING = 0.9
_FORGOTTEN = 0.01


class Failing:
    """Share of recent attempts that failed, as a factor on every prediction."""

    __slots__ = ("_at", "share")

    def __init__(self) -> None:
        self.share = 0.0
        self._at = 0.0

    def penalty(self, now: float) -> float:
        """1.0 while nothing failed lately."""
        if not self.share:
            return 1.0
        share = self._share(now)
        return 1.0 + _FAILURE_COST * share / (1.0 - share)

    def reliability(self, now: float) -> float:
        """1 - share: how likely the next attempt is to succeed."""
        return 1.0 - self._share(now)

    def succeeded(self, now: float) -> None:
        """A success takes a quarter of the share away."""
        if self.share:
            share = self._share(now) * (1.0 - _FAILURE_RATE)
            self.share = share if share > _FORGOTTEN else 0.0
            self._at = max(now, self._at)

    def failed(self, now: float) -> None:
        """A failure adds a quarter of what is missing to certainty."""
        share = self._share(now)
        self.share = min(share + (1.0 - share) * _FAILURE_RATE, _MOST_FAILING)
        self._at = max(now, self._at)

    def _share(self, now: float) -> float:
        age = now - self._at
        return self.share * math.exp(-age / _FAILURE_MEMORY) if age > 0.0 else self.share


class Silence:
    """Attempts that were sent and have not answered yet, and since when nothing was heard of any of them."""

    __slots__ = ("since", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.since = 0.0
        """When the present silence began; meaningful while any waits."""

    def sent(self, now: float) -> None:
        """One more waits; the silence begins with the first."""
        if not self.waiting:
            self.since = now
        self.waiting += 1

    def answered(self, now: float) -> None:
        """One answered; for those that still wait the silence begins anew."""
        if self.waiting:
            self.waiting -= 1
            self.since = now

    def given_up(self) -> None:
        """One ended without an answer, which breaks no silence."""
        if self.waiting:
            self.waiting -= 1

    def lasts(self, now: float) -> float:
        """Seconds of silence; 0 while nothing waits."""
        if not self.waiting:
            return 0.0
        silence = now - self.since
        if silence > LONGEST:  # longer than any attempt may last: the end of one was never told
            self.waiting = 0
            return 0.0
        return silence

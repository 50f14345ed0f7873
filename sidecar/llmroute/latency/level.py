"""Belief about the mean of one logarithmic quantity that drifts: a decayed mean over a slowly moving base.

The decayed mean follows the last ~16 samples and the last minutes. What it forgets is replaced by `base`, the
long-run level of successes (at first: what was declared, or a neutral guess), so that a target that was slow a while
ago becomes worth another look by itself. Constants from the routing simulations: the optimum is flat.
"""

from math import exp, inf, log, log2, sqrt

SPREAD = 0.6
"""Standard deviation of a logarithmic sample before any was seen (p99/p50 of about 4)."""
LEAST_VARIANCE, MOST_VARIANCE = 0.05**2, 1.5**2
"""Bounds of what is learned."""
MEMORY = 60.0 / log(2.0)
"""Seconds in which the weight of the evidence falls to 1/e: a half-life of one minute."""
MOST_WEIGHT = 16.0
"""Samples that the mean remembers at most."""
BASE_WEIGHT = 1.0
"""Weight of the base against the evidence, in samples."""
BASE_RATE = 0.02
"""Slowest rate at which a success moves the base."""
DECLARED_WEIGHT = 3.0
"""Samples that a declared prior is worth."""
EXPLORE = 0.3
"""Scale of the posterior's standard deviation in a draw; Thompson sampling at full scale explores too much."""
STALE_AFTER = 30.0
"""Seconds without evidence from which on a draw widens."""
STALE_SPREAD = 0.25
"""Widening of a draw each time that the age doubles."""
RECOVERY = 120.0
"""Seconds after which a target that was worse than usual is as it used to be with probability 1 - 1/e."""
STALE_WEIGHT = 2.0
"""Samples that stale evidence is worth at most against fresh one."""

OVERDUE = 2.0
"""Standard deviations above the expected value from which on silence counts as evidence."""
FRESH = 0.05
"""Seconds for which a belief is good enough without being worked out anew: it drifts over minutes."""
NEVER = -inf


class Level:
    """Mean and variance of `log(value)`; values must be positive and finite. What is believed stands in plain
    attributes, good until `fresh_until`: they are read for every candidate of every request."""

    __slots__ = (
        "_pseudo",
        "at",
        "base",
        "deviation",
        "doubt",
        "expected",
        "fresh_until",
        "mean",
        "overdue",
        "proven",
        "samples",
        "spread",
        "variance",
        "weight",
    )

    def __init__(self, declared: float | None, neutral: float) -> None:
        self.base = self.mean = log(neutral if declared is None else declared)
        self.variance = SPREAD * SPREAD
        self.weight = 0.0
        self.at = NEVER
        self.samples = 0
        """Successes seen, ever."""
        self.proven = declared is not None
        """Whether there is anything to go by: a success, or a declared prior."""
        self._pseudo = 0.0 if declared is None else DECLARED_WEIGHT
        self.fresh_until = NEVER
        """When the next five have to be worked out anew, by `refresh`."""
        self.expected = 0.0
        """Median of the value."""
        self.deviation = SPREAD
        """Standard deviation of its logarithm; the quantile at z is `expected * exp(z * deviation)`."""
        self.spread = 0.0
        """Standard deviation that a draw of the logarithm's mean should have."""
        self.doubt = 0.0
        """The same for a scout, who finds out whether what was learned long ago still holds."""
        self.overdue = 0.0
        """A value that is hardly ever exceeded."""

    def evidence(self, now: float) -> float:
        """Samples that still count."""
        age = now - self.at
        return self.weight * exp(-age / MEMORY) if age > 0.0 else self.weight

    def refresh(self, now: float) -> None:
        """Work out what is believed, for the next 50 ms or until the next evidence."""
        age, base, variance = now - self.at, self.base, self.variance
        weight = self.weight * exp(-age / MEMORY) if age > 0.0 else self.weight
        total = weight + BASE_WEIGHT
        middle = base + (self.mean - base) * weight / total
        self.deviation = deviation = sqrt(variance)
        self.expected = expected = exp(middle)
        self.overdue = expected * exp(OVERDUE * deviation)
        self.spread = self.doubt = spread = EXPLORE * sqrt(variance / total)
        if age > STALE_AFTER and self.weight:
            self.doubt = spread + STALE_SPREAD * log2(age / STALE_AFTER)
            if middle > base:
                recovered = 1.0 - exp(-age / RECOVERY)
                self.doubt += (middle - base) * sqrt(recovered * (1.0 - recovered))
        self.fresh_until = now + FRESH

    def learn(self, value: float, now: float) -> None:
        """Take in the value of a success."""
        sample = log(value)
        stale = now - self.at > STALE_AFTER
        self._move(sample, now, STALE_WEIGHT if stale else MOST_WEIGHT - 1.0)
        self.samples = samples = self.samples + 1
        self.proven = True
        rate = 1.0 / (samples + self._pseudo)
        base = self.base
        self.base = base + (sample - base) * (rate if rate > BASE_RATE else BASE_RATE)

    def censor(self, value: float, now: float) -> None:
        """Take in that the value would have been at least this: evidence only where more was not expected anyway, and
        never for a value below what the evidence so far says, nor for less spread."""
        self.refresh(now)
        if value > self.expected:
            variance = self.variance
            self._move(max(log(value), self.mean), now, MOST_WEIGHT - 1.0)
            self.variance = variance

    def _move(self, sample: float, now: float, most_kept: float) -> None:
        """Towards the sample; the evidence so far weighs as `most_kept` samples at most."""
        age = now - self.at
        kept = held = self.weight
        if age > 0.0:
            kept *= exp(-age / MEMORY)
            self.at = now
        if held:
            weight = 1.0 + (kept if kept < most_kept else most_kept)
            mean, variance = self.mean, self.variance
            surprise = sample - mean
            self.mean = mean + surprise / weight
            self.weight = weight
            square = surprise * surprise
            bounded = square if square < 9.0 * variance else 9.0 * variance  # one outlier is no spread
            variance += (bounded - variance) / (weight + DECLARED_WEIGHT)
            self.variance = LEAST_VARIANCE if variance < LEAST_VARIANCE else min(variance, MOST_VARIANCE)
        else:
            self.mean = sample
            self.weight = 1.0
        self.fresh_until = NEVER

"""Predictions for one target, one operation, streams apart from the rest.

A stream is learned as two levels, time to first token and tokens per second. Of any other answer only the total is
seen, so its level is the ratio of the total to what a reference (declared prior, or a typical target) would have
needed for as many tokens: answers of all lengths teach the same number.

Failures never look fast. A timeout is evidence that the answer would have taken at least that long; and each failure
raises a penalty factor that successes and a few seconds' time take away again, so that one timeout cannot spoil a
target for long. Silence counts as well: once it is far longer than the expected answer, the answer is expected to take
at least as long.

Choosing looks at every track for every request, and mostly nothing is special: nothing failed lately, nothing is
overdue. For that the answer is a line, `fixed + tokens * each` seconds with `spread` as the draw's standard deviation:
what `sample` says of the median, of the time to first token or of a whole answer's total, before `plain_until`.
Whatever changes it sets that back, and `settle` works it out anew.
"""

from math import exp
from typing import Literal

from llmroute.latency import numbers
from llmroute.latency.lengths import TYPICAL_TOKENS
from llmroute.latency.level import NEVER, Level
from llmroute.latency.symptoms import Failing, Silence
from llmroute.request import Estimate, Observation, Outcome

Metric = Literal["ttft", "total", "throughput"]
"""What targets are compared by: seconds to first token, seconds in all, or seconds per token."""

TYPICAL_TTFT = 0.6
"""Seconds; the middle of what hosted models take."""
TYPICAL_SPEED = 50.0
"""Tokens per second."""
FEWEST_TOKENS = 4
"""An answer shorter than this says nothing of the speed."""
_USUAL_RATE = 0.1
_OK, _RATE_LIMITED = Outcome.OK, Outcome.RATE_LIMITED  # an attribute of a member is slow to reach
_CENSORED = frozenset({Outcome.FIRST_TOKEN_TIMEOUT, Outcome.TOTAL_TIMEOUT, Outcome.CANCELLED})
"""Ends that say only that the answer would have taken longer."""


def _blames(observation: Observation) -> bool:
    """Whether the target failed; a limit with its Retry-After is kept elsewhere, and needs no penalty besides."""
    outcome = observation.outcome
    return outcome.is_failure and not (outcome is _RATE_LIMITED and observation.retry_after is not None)


class StreamTrack:
    """One target's streams of one operation."""

    __slots__ = ("each", "failing", "fixed", "level", "plain_until", "silence", "speed", "spread")

    def __init__(self, prior_ttft: float | None, prior_speed: float | None) -> None:
        self.fixed = self.each = self.spread = 0.0
        self.plain_until = NEVER
        self.level = Level(prior_ttft, TYPICAL_TTFT)
        """The time to first token: it decides whether the target is known."""
        self.speed = Level(prior_speed, TYPICAL_SPEED)
        self.failing = Failing()
        self.silence = Silence()

    def declare(self, prior_ttft: float | None, prior_speed: float | None) -> None:
        """Other priors hold for what nothing has been seen of."""
        self.plain_until = NEVER
        if not self.level.weight:
            self.level = Level(prior_ttft, TYPICAL_TTFT)
        if not self.speed.weight:
            self.speed = Level(prior_speed, TYPICAL_SPEED)

    def settle(self, now: float) -> bool:
        """Work out the plain case anew; False where the case is not plain."""
        level, silence = self.level, self.silence
        if now >= level.fresh_until:
            level.refresh(now)
        self.fixed = level.expected
        until = level.fresh_until
        if silence.waiting:
            self.spread = level.spread
            overdue = silence.since + level.overdue
            until = overdue if overdue < until else until
        else:
            self.spread = level.doubt
        if not level.proven or self.failing.share:
            return False
        self.plain_until = until
        return now < until

    def sample(self, metric: Metric, output_tokens: int, z: float, now: float, noise: float) -> tuple[float, float]:
        """Seconds by the metric at the quantile `z`: expected, and drawn with a standard normal `noise`."""
        level, silence = self.level, self.silence
        if now >= level.fresh_until:
            level.refresh(now)
        ttft = level.expected
        if silence.waiting and now - silence.since > level.overdue:
            ttft = max(ttft, silence.lasts(now))
        if z:
            ttft *= exp(z * level.deviation)
        if self.failing.share:
            ttft *= self.failing.penalty(now)
        spread = level.spread if silence.waiting else level.doubt  # one scout at a time
        if metric == "ttft":
            return ttft, ttft * exp(noise * spread)
        per_token = self._per_token(z, now)
        jitter = exp(noise * self.speed.spread)
        if metric == "throughput":
            return per_token, per_token * jitter
        generation = output_tokens * per_token
        return ttft + generation, ttft * exp(noise * spread) + generation * jitter

    def estimate(self, output_tokens: int, z: float, now: float) -> Estimate:
        """The same prediction in all its parts."""
        ttft = self.sample("ttft", 0, z, now, 0.0)[0]
        per_token = self._per_token(z, now)
        return Estimate(
            ttft=ttft,
            total=ttft + output_tokens * per_token,
            tokens_per_second=1.0 / per_token,
            samples=self.level.evidence(now),
        )

    def _per_token(self, z: float, now: float) -> float:
        """Seconds."""
        speed = self.speed
        if now >= speed.fresh_until:
            speed.refresh(now)
        return self.failing.penalty(now) * exp(z * speed.deviation) / speed.expected

    def sent(self, now: float) -> None:
        """An attempt's request has been written."""
        if not self.silence.waiting:
            self.plain_until = NEVER
        self.silence.sent(now)

    def first_content(self, ttft: float, at: float) -> None:
        """The first content came after `ttft` seconds."""
        self.plain_until = NEVER
        self.silence.answered(at)
        clean = numbers.seconds(ttft)
        if clean is not None:
            self.level.learn(clean, at)

    def ended(self, observation: Observation) -> None:
        """An attempt ended, in whatever way."""
        self.plain_until = NEVER
        at, outcome, timings = observation.at, observation.outcome, observation.timings
        if timings.ttft is None:
            self.silence.given_up()
        if outcome is _OK:
            if self.failing.share:
                self.failing.succeeded(at)
            count = observation.output_tokens
            speed = numbers.speed(count - 1, timings.generation) if count >= FEWEST_TOKENS else None
            if speed is not None:
                self.speed.learn(speed, at)
            return
        if _blames(observation):
            self.failing.failed(at)
        waited = numbers.seconds(observation.waited)
        if timings.ttft is None and waited is not None and outcome in _CENSORED:
            self.level.censor(waited, at)


class WholeTrack:
    """One target's answers of one operation that come in one piece."""

    __slots__ = (
        "_per_token",
        "_ttft",
        "_usual",
        "each",
        "failing",
        "fixed",
        "level",
        "plain_until",
        "silence",
        "spread",
    )

    def __init__(self, prior_ttft: float | None, prior_speed: float | None) -> None:
        self.failing = Failing()
        self.silence = Silence()
        self.fixed = self.each = self.spread = 0.0
        self._refer(prior_ttft, prior_speed)

    def _refer(self, prior_ttft: float | None, prior_speed: float | None) -> None:
        self.plain_until = NEVER
        self._ttft = TYPICAL_TTFT if prior_ttft is None else prior_ttft
        self._per_token = 1.0 / (TYPICAL_SPEED if prior_speed is None else prior_speed)
        self._usual = self._ttft + TYPICAL_TOKENS * self._per_token
        """Mean reference of the answers so far: what one that never came is measured by."""
        self.level = Level(None if prior_ttft is None and prior_speed is None else 1.0, 1.0)

    def declare(self, prior_ttft: float | None, prior_speed: float | None) -> None:
        """Other priors hold as long as nothing has been seen: what was is told in terms of those before."""
        if not self.level.weight:
            self._refer(prior_ttft, prior_speed)

    def settle(self, now: float) -> bool:
        """Work out the plain case anew; False where the case is not plain."""
        level, silence = self.level, self.silence
        if now >= level.fresh_until:
            level.refresh(now)
        ratio, until = level.expected, level.fresh_until
        self.fixed, self.each = ratio * self._ttft, ratio * self._per_token
        if silence.waiting:
            self.spread = level.spread
            overdue = silence.since + level.overdue * self._ttft  # that of an answer without a token
            until = overdue if overdue < until else until
        else:
            self.spread = level.doubt
        if not level.proven or self.failing.share:
            return False
        self.plain_until = until
        return now < until

    def sample(self, metric: Metric, output_tokens: int, z: float, now: float, noise: float) -> tuple[float, float]:
        """Seconds by the metric at the quantile `z`: expected, and drawn with a standard normal `noise`."""
        level, silence = self.level, self.silence
        reference = self._ttft + output_tokens * self._per_token
        if now >= level.fresh_until:
            level.refresh(now)
        ratio = level.expected
        if silence.waiting and now - silence.since > level.overdue * reference:
            ratio = max(ratio, silence.lasts(now) / reference)
        if z:
            ratio *= exp(z * level.deviation)
        if self.failing.share:
            ratio *= self.failing.penalty(now)
        if metric != "total":
            reference = self._ttft if metric == "ttft" else self._per_token
        expected = ratio * reference
        return expected, expected * exp(noise * (level.spread if silence.waiting else level.doubt))

    def estimate(self, output_tokens: int, z: float, now: float) -> Estimate:
        """The same prediction in all its parts."""
        total = self.sample("total", output_tokens, z, now, 0.0)[0]
        ratio = total / (self._ttft + output_tokens * self._per_token)
        return Estimate(
            ttft=ratio * self._ttft,
            total=total,
            tokens_per_second=1.0 / (ratio * self._per_token),
            samples=self.level.evidence(now),
        )

    def sent(self, now: float) -> None:
        """An attempt's request has been written."""
        if not self.silence.waiting:
            self.plain_until = NEVER
        self.silence.sent(now)

    def first_content(self, ttft: float, at: float) -> None:
        """Says nothing here: an answer in one piece is judged by its end."""

    def ended(self, observation: Observation) -> None:
        """An attempt ended, in whatever way."""
        self.plain_until = NEVER
        at, outcome = observation.at, observation.outcome
        if outcome is _OK:
            self.silence.answered(at)
            if self.failing.share:
                self.failing.succeeded(at)
            total = numbers.seconds(observation.timings.total)
            if total is not None:
                reference = self._ttft + numbers.tokens(observation.output_tokens) * self._per_token
                self._usual += (reference - self._usual) * _USUAL_RATE
                self.level.learn(total / reference, at)
            return
        self.silence.given_up()
        if _blames(observation):
            self.failing.failed(at)
        waited = numbers.seconds(observation.waited)
        if waited is not None and outcome in _CENSORED:
            self.level.censor(waited / self._usual, at)

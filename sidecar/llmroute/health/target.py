"""One target's health: a breaker with a growing back-off, its careful return, and its rate limit."""

from random import Random

from llmroute.health.limit import Limit
from llmroute.health.state import NEXT, Event, State, Transition
from llmroute.request import Observation, Outcome

IN_A_ROW = 3
"""Failures without a success between them that eject."""
WINDOW = 10.0
"""Seconds of one counting window; the share of failures is taken over the present and the last one."""
FEWEST_FAILURES = 5
"""Failures within the windows below which their share says nothing; with it, more than half ejects."""
BACKOFF, LONGEST_BACKOFF = 5.0, 300.0
"""Seconds; doubles with each ejection."""
REFUSED_BACKOFF, LONGEST_REFUSED_BACKOFF = 60.0, 900.0
"""Seconds; for key, billing and model: somebody must act first."""
FORGOTTEN = 300.0
"""Seconds of health after which the back-off starts anew."""
TRIALS = 2
"""Successes on probation that make a target healthy."""
TRIAL_EVERY = 1.0
"""Seconds between trials on probation, besides the random ones."""
TRIAL_SHARE = 0.05
PARDONS = 5
"""Failures pardoned since the last success; a target that only ever fails is not innocent."""

_HEALTHY, _OK = State.HEALTHY, Outcome.OK  # a member of an Enum class is slow to reach, and so is what it has
_BUSY = frozenset({Outcome.OVERLOADED, Outcome.SERVER_ERROR})
"""With a Retry-After a limit as well as a failure: 503 and 529."""
_NOT_COUNTED = frozenset({Outcome.RATE_LIMITED, Outcome.CREDENTIAL_MISSING})
_THE_REQUESTS_OWN = frozenset(
    {
        Outcome.SERVER_ERROR,
        Outcome.BROKEN,
        Outcome.FIRST_TOKEN_TIMEOUT,
        Outcome.BETWEEN_TOKENS_TIMEOUT,
        Outcome.TOTAL_TIMEOUT,
    }
)


def alike(first: Observation, second: Observation) -> bool:
    """Whether two targets failed in a way that makes the request itself suspect: then pardon both."""
    return (
        first.target != second.target
        and first.outcome is second.outcome
        and first.outcome in _THE_REQUESTS_OWN
        and first.status == second.status
    )


class Health:
    """One target's state; outlives reloads. What changes comes back from `observe`, `advance`, `pardon`.

    `clear` is True while the target is healthy and not limited: choosing reads it for every candidate.
    """

    __slots__ = (
        "_before",
        "_counts",
        "_ejected_at",
        "_ejections",
        "_healthy_since",
        "_last_trial",
        "_limit",
        "_pardons",
        "_state",
        "_streak",
        "_told",
        "_trials",
        "_until",
        "_window_ends",
        "clear",
        "name",
        "reason",
        "refused",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.clear = True
        self.reason = ""
        """Why the target is or was last ejected: an outcome."""
        self.refused = False
        """Ejected because key, billing or model is wrong."""
        self._state = State.HEALTHY
        self._told = State.HEALTHY
        self._limit = Limit()
        self._streak: list[Observation] = []
        self._counts = [0, 0, 0, 0]  # attempts and failures of this window, and of the last
        self._window_ends = 0.0
        self._ejections = 0
        self._ejected_at = 0.0
        self._until = 0.0
        self._healthy_since = 0.0
        self._before = (State.HEALTHY, 0)
        self._trials = 0
        self._last_trial = 0.0
        self._pardons = 0

    @property
    def limited_until(self) -> float:
        """When the rate limit ends; in the past, or 0, if there is none."""
        return self._limit.until

    def ejected_since(self, instant: float) -> bool:
        """Whether the target is ejected now and was ejected at the instant or later."""
        return self._state is State.EJECTED and self._ejected_at >= instant

    def state(self, now: float) -> State:
        """As shown to people: a rate limit hides healthy and probation."""
        state = self._state
        if state is State.EJECTED and now < self._until:
            return state
        if now < self._limit.until:
            return State.LIMITED
        return State.PROBATION if state is State.EJECTED else state

    def admits(self, now: float, rng: Random) -> bool:
        """Whether the target may be used by a request now: on probation only a trickle."""
        if self.clear:
            return True
        state = self.state(now)
        if state is State.HEALTHY:
            self.clear = True
            return True
        if state is State.PROBATION:
            return now - self._last_trial >= TRIAL_EVERY or rng.random() < TRIAL_SHARE
        return False

    def tried(self, now: float) -> None:
        """The target was picked: on probation the trickle waits for the next turn."""
        self._last_trial = now

    def observe(self, observation: Observation, now: float) -> Transition | None:
        """An attempt ended. Returns the change of the shown state, if any; a renewed ejection is one, too."""
        outcome = observation.outcome
        if outcome is _OK and self.clear and self._told is _HEALTHY:
            self._succeeded(observation, now)
            return None
        if outcome is not _OK and not outcome.is_failure:
            return None
        shown, until = self.state(now), self._until
        if outcome is _OK:
            self._succeeded(observation, now)
        else:
            self._failed(observation, now)
        renewed = self._state is State.EJECTED and self._until != until
        return self._tell(shown, outcome.word, now, renewed)

    def advance(self, now: float) -> Transition | None:
        """Let time pass: ejections and limits end by themselves, and this says so, once."""
        shown = self.state(now)
        if self._state is State.EJECTED and now >= self._until:
            self._change(Event.RETURNING, now)
        return self._tell(shown, Event.RETURNING.value, now)

    def reprieve(self, now: float) -> None:
        """What caused the ejection was changed, a new key for example: it ends now, as if its time were over."""
        self._until = min(self._until, now)

    def pardon(self, observation: Observation, now: float) -> Transition | None:
        """Take back what an observed failure did: the same request failed alike elsewhere. See `alike`."""
        kept = [failure for failure in self._streak if failure is not observation]
        if len(kept) == len(self._streak) or self._pardons >= PARDONS:
            return None
        shown = self.state(now)
        self._pardons += 1
        self._streak = kept
        self._counts[1] = max(self._counts[1] - 1, 0)
        if not self.refused:
            self._change(Event.PARDONED, now)
        return self._tell(shown, Event.PARDONED.value, now)

    def _tell(self, shown: State, reason: str, now: float, renewed: bool = False) -> Transition | None:
        """What changed since it was last told; `shown` is the state just before."""
        after, told = self.state(now), self._told
        self._told = after
        self.clear = after is State.HEALTHY
        if after is told and shown is after and not renewed:
            return None
        before = told if shown is after else shown
        ends = self._until if after is State.EJECTED else self._limit.until if after is State.LIMITED else now
        return Transition(self.name, before, after, reason, ends - now)

    def _succeeded(self, observation: Observation, now: float) -> None:
        self._limit.succeeded()
        self._pardons = 0
        if self._streak:
            self._streak.clear()
        if now >= self._window_ends:
            self._turn(now)
        self._counts[0] += 1
        if self._state is _HEALTHY or observation.at - observation.waited < self._ejected_at:
            return  # an answer to a question of before the ejection proves nothing
        self._change(Event.TRIAL_PASSED, now)
        self._trials += 1
        if self._trials >= TRIALS:
            self._change(Event.RECOVERED, now)

    def _failed(self, observation: Observation, now: float) -> None:
        outcome = observation.outcome
        if outcome is Outcome.RATE_LIMITED or (outcome in _BUSY and observation.retry_after is not None):
            self._limit.limited(observation.retry_after, now)
        if outcome in _NOT_COUNTED:
            return
        if self._state is State.EJECTED and now >= self._until:
            self._change(Event.RETURNING, now)
        if observation.refused:
            if not self.refused:
                self._eject(Event.REFUSED, outcome, now)
            return
        self._count_failure(observation, now)
        if self._state is State.HEALTHY:
            if self._is_failing():
                self._eject(Event.FAILING, outcome, now)
        elif observation.at - observation.waited >= self._ejected_at:  # else the trouble that led to the ejection
            self._eject(Event.TRIAL_FAILED, outcome, now)

    def _count_failure(self, observation: Observation, now: float) -> None:
        if now >= self._window_ends:
            self._turn(now)
        self._counts[0] += 1
        self._counts[1] += 1
        if len(self._streak) < IN_A_ROW + PARDONS:
            self._streak.append(observation)

    def _is_failing(self) -> bool:
        counts = self._counts
        attempts, failures = counts[0] + counts[2], counts[1] + counts[3]
        return len(self._streak) >= IN_A_ROW or (failures >= FEWEST_FAILURES and 2 * failures > attempts)

    def _turn(self, now: float) -> None:
        """Begin a new counting window."""
        counts = self._counts
        fresh = now < self._window_ends + WINDOW
        self._counts = [0, 0, counts[0], counts[1]] if fresh else [0, 0, 0, 0]
        self._window_ends = now + WINDOW

    def _change(self, event: Event, now: float) -> bool:
        """The only place where the state changes: by the table. False if the event changes nothing."""
        following = NEXT.get((self._state, event))
        if following is None:
            return False
        if not isinstance(following, State):
            following, self._ejections = self._before
        self._state = following
        self._trials = 0
        self.refused = event is Event.REFUSED
        if following is State.HEALTHY:
            self._healthy_since = now
            self._counts = [0, 0, 0, 0]
        return True

    def _eject(self, event: Event, outcome: Outcome, now: float) -> None:
        """For longer each time, until a while of health."""
        before = (self._state, self._ejections)
        if not self._change(event, now):
            return
        if before[0] is not State.EJECTED:
            self._before = before
        if before[0] is State.HEALTHY and now - self._healthy_since > FORGOTTEN:
            self._ejections = 0
        base, longest = (REFUSED_BACKOFF, LONGEST_REFUSED_BACKOFF) if self.refused else (BACKOFF, LONGEST_BACKOFF)
        self._until = now + min(base * 2.0 ** min(self._ejections, 16), longest)
        self._ejections += 1
        self._ejected_at = now
        self.reason = outcome.word

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

_REFUSALS = frozenset({Outcome.AUTHENTICATION, Outcome.BILLING, Outcome.MODEL_NOT_FOUND})
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
    """One target's state; outlives reloads. All changes go through `observe`, `advance`, `pardon` and `reprieve`.

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

    @property
    def ejected_until(self) -> float:
        """When an ejected target comes on probation."""
        return self._until if self._state is State.EJECTED else 0.0

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
        """An attempt ended. Returns the change of the shown state, if any."""
        outcome = observation.outcome
        if outcome is Outcome.OK:
            return self._succeeded(observation, now)
        if not outcome.is_failure:
            return None
        before = self.state(now)
        if outcome is Outcome.RATE_LIMITED or (outcome is Outcome.OVERLOADED and observation.retry_after is not None):
            self._limit.limited(observation.retry_after, now)
            self.clear = False
        if outcome in _REFUSALS:
            return None if self.refused else self._change(Event.REFUSED, outcome.value, now)
        if outcome not in _NOT_COUNTED:
            change = self._failed(observation, now)
            if change is not None:
                return change
        after = self.state(now)
        if after is before:
            return None
        return Transition(self.name, before, after, outcome.value, max(self._limit.until - now, 0.0))

    def advance(self, now: float) -> Transition | None:
        """Let time pass: an ejection that is over becomes probation."""
        if self._state is State.EJECTED and now >= self._until:
            return self._change(Event.RETURNING, Event.RETURNING.value, now)
        return None

    def reprieve(self, now: float) -> Transition | None:
        """What caused the ejection was changed, a new key for example: try again now."""
        if self._state is State.EJECTED:
            return self._change(Event.RETURNING, Event.RETURNING.value, now)
        return None

    def pardon(self, observation: Observation, now: float) -> Transition | None:
        """Take back what an observed failure did: the same request failed alike elsewhere. See `alike`."""
        kept = [failure for failure in self._streak if failure is not observation]
        if len(kept) == len(self._streak) or self._pardons >= PARDONS:
            return None
        self._pardons += 1
        self._streak = kept
        self._counts[1] = max(self._counts[1] - 1, 0)
        if self._state is State.EJECTED and not self.refused:
            return self._change(Event.PARDONED, Event.PARDONED.value, now)
        return None

    def _succeeded(self, observation: Observation, now: float) -> Transition | None:
        self._limit.succeeded()
        self._pardons = 0
        if self._streak:
            self._streak.clear()
        if now >= self._window_ends:
            self._turn(now)
        self._counts[0] += 1
        if self._state is State.HEALTHY:
            return None
        if observation.at - observation.waited < self._ejected_at:
            return None  # an answer to an older question
        change = self.advance(now) or self._change(Event.TRIAL_PASSED, Event.TRIAL_PASSED.value, now)
        self._trials += 1
        if self._trials >= TRIALS:
            return self._change(Event.RECOVERED, Event.RECOVERED.value, now)
        return change

    def _failed(self, observation: Observation, now: float) -> Transition | None:
        if now >= self._window_ends:
            self._turn(now)
        counts = self._counts
        counts[0] += 1
        counts[1] += 1
        if len(self._streak) < IN_A_ROW + PARDONS:
            self._streak.append(observation)
        reason = observation.outcome.value
        if self._state is State.HEALTHY:
            attempts, failures = counts[0] + counts[2], counts[1] + counts[3]
            mostly = failures >= FEWEST_FAILURES and 2 * failures > attempts
            return self._change(Event.FAILING, reason, now) if mostly or len(self._streak) >= IN_A_ROW else None
        if observation.at - observation.waited < self._ejected_at:
            return None  # the same trouble that led to the ejection
        self.advance(now)
        return self._change(Event.TRIAL_FAILED, reason, now)

    def _turn(self, now: float) -> None:
        """Begin a new counting window."""
        counts = self._counts
        fresh = now < self._window_ends + WINDOW
        self._counts = [0, 0, counts[0], counts[1]] if fresh else [0, 0, 0, 0]
        self._window_ends = now + WINDOW

    def _change(self, event: Event, reason: str, now: float) -> Transition | None:
        """The only place where the state changes."""
        following = NEXT.get((self._state, event))
        if following is None:
            return None
        shown = self.state(now)
        if following is State.EJECTED:
            self._eject(event, reason, now)
        elif isinstance(following, State):
            self._enter(following, now)
        else:
            state, self._ejections = self._before
            self._enter(state, now)
        self.clear = self._state is State.HEALTHY and now >= self._limit.until
        after = self.state(now)
        if after is shown:
            return None
        return Transition(self.name, shown, after, reason, max(self.ejected_until - now, 0.0))

    def _eject(self, event: Event, reason: str, now: float) -> None:
        if self._state is not State.EJECTED:
            self._before = (self._state, self._ejections)
        if self._state is State.HEALTHY and now - self._healthy_since > FORGOTTEN:
            self._ejections = 0
        self.refused = event is Event.REFUSED
        base, longest = (REFUSED_BACKOFF, LONGEST_REFUSED_BACKOFF) if self.refused else (BACKOFF, LONGEST_BACKOFF)
        self._until = now + min(base * 2.0 ** min(self._ejections, 16), longest)
        self._ejections += 1
        self._ejected_at = now
        self._state = State.EJECTED
        self.reason = reason

    def _enter(self, state: State, now: float) -> None:
        self._state = state
        self._trials = 0
        self.refused = False
        if state is State.HEALTHY:
            self._healthy_since = now
            self._counts = [0, 0, 0, 0]

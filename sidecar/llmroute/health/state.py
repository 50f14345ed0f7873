"""The life of a target as a table.

    state      | failing | refused | returning | trial-failed | trial-passed | recovered | pardoned
    -----------+---------+---------+-----------+--------------+--------------+-----------+---------
    healthy    | ejected | ejected |           |              |              |           |
    ejected    |         | ejected | probation |              | probation    |           | (before)
    probation  |         | ejected |           | ejected      |              | healthy   |

`(before)` is the state from which the target was ejected. An empty cell: the event changes nothing there. `limited`
is no row: a rate limit is kept apart, and is shown as the state of a target that is not ejected while it lasts.
"""

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """What a target is, as shown in /status and in metrics."""

    HEALTHY = "healthy"
    LIMITED = "limited"
    EJECTED = "ejected"
    PROBATION = "probation"


class Event(StrEnum):
    """What can happen to a target."""

    FAILING = "failing"
    """Three failures in a row, or most of the recent attempts failed."""
    REFUSED = "refused"
    """It told us that key, billing or model is wrong: no attempt can succeed until somebody mends that."""
    RETURNING = "returning"
    """The time of the ejection is over, or what caused it was changed."""
    TRIAL_FAILED = "trial-failed"
    """An attempt that began after the ejection failed."""
    TRIAL_PASSED = "trial-passed"
    """An attempt that began after the ejection succeeded: while ejected, one in panic."""
    RECOVERED = "recovered"
    """Enough trials passed."""
    PARDONED = "pardoned"
    """The failure that tipped the scales turned out to be the request's own."""


BEFORE = "(before)"

NEXT: dict[tuple[State, Event], State | str] = {
    (State.HEALTHY, Event.FAILING): State.EJECTED,
    (State.HEALTHY, Event.REFUSED): State.EJECTED,
    (State.EJECTED, Event.REFUSED): State.EJECTED,
    (State.EJECTED, Event.RETURNING): State.PROBATION,
    (State.EJECTED, Event.TRIAL_PASSED): State.PROBATION,
    (State.EJECTED, Event.PARDONED): BEFORE,
    (State.PROBATION, Event.REFUSED): State.EJECTED,
    (State.PROBATION, Event.TRIAL_FAILED): State.EJECTED,
    (State.PROBATION, Event.RECOVERED): State.HEALTHY,
}


class Transition(NamedTuple):
    """A change that somebody may want to log. `reason`: the outcome that caused it, or the event's name."""

    target: str
    before: State
    after: State
    reason: str
    seconds: float = 0.0
    """How long the new state lasts at least; 0 where no time is set."""

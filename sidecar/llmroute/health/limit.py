"""Rate limits: when a target that said 429 may be asked again. Kept apart from the breaker: no success clears them."""

import math
from collections.abc import Callable
from email.utils import parsedate_to_datetime

LONGEST = 3600.0
"""Seconds; a longer Retry-After is taken as this."""
FIRST_GUESS = 1.0
"""Seconds to wait after a 429 that does not say; doubles with each further one in a row."""
LONGEST_GUESS = 30.0


def parse_retry_after(header: Callable[[bytes], bytes | None], wall_now: float) -> float | None:
    """Seconds to wait, in [0, 3600]; None where no header says so in a readable form.

    `header` gives a response header's value by lower-case name; `wall_now` is Unix time, for the form with a date.
    The forms with milliseconds (OpenAI, Azure) are finer and win over `retry-after` (RFC 9110, seconds or date).
    """
    for name in (b"retry-after-ms", b"x-ms-retry-after-ms"):
        value = header(name)
        milliseconds = _number(value) if value is not None else None
        if milliseconds is not None:
            return min(milliseconds / 1000.0, LONGEST)
    value = header(b"retry-after")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is None:
        seconds = _until(value, wall_now)
    return None if seconds is None else min(seconds, LONGEST)


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return max(number, 0.0) if math.isfinite(number) else None


def _until(value: bytes, wall_now: float) -> float | None:
    try:
        return max(parsedate_to_datetime(value.decode("ascii")).timestamp() - wall_now, 0.0)
    except (ValueError, OverflowError):
        return None


class Limit:
    """One target's rate limit: attempts before `until` are pointless."""

    __slots__ = ("_guess", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self._guess = FIRST_GUESS

    def limited(self, retry_after: float | None, now: float) -> None:
        """The target said 429 (or 503 with Retry-After). A longer wait that is already known stays."""
        if retry_after is None:
            wait = self._guess
            if now >= self.until:  # those in flight together count once
                self._guess = min(wait * 2.0, LONGEST_GUESS)
        else:
            wait = min(max(retry_after, 0.0), LONGEST)
        self.until = max(self.until, now + wait)

    def succeeded(self) -> None:
        """Makes the next guess short again; never ends a limit."""
        self._guess = FIRST_GUESS

"""How long one attempt may wait for its target, and what it is called when that was too long."""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from llmroute.errors import AttemptError, BetweenTokensTimeout, ConnectTimeout, FirstTokenTimeout, TotalTimeout
from llmroute.request import InferenceRequest
from llmroute.spec import Timeouts

if TYPE_CHECKING:
    from llmroute.upstream import Response

AFTER_END = 1.0
"""Seconds that a stream may stay open behind its end mark: its connection is worth keeping, but not worth a wait."""

EARLY = 0.002
"""Seconds that a timer may fire before its time: uvloop's count whole milliseconds."""


class Patience:
    """The one timer of an attempt. Its deadline moves on with the answer; the timer itself is set anew only when it
    fires, or when the deadline has come nearer.

    `reading`: the target is being waited for; otherwise it is the app that is slow, and silence means nothing.
    """

    __slots__ = (
        "_committed",
        "_deadline",
        "_loop",
        "_request",
        "_response",
        "_silence",
        "_target",
        "_timeouts",
        "_timer",
        "reading",
    )

    def __init__(self, request: InferenceRequest, target: str, timeouts: Timeouts) -> None:
        self.reading = False
        self._request = request
        self._target = target
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._response: Response | None = None
        self._deadline = 0.0
        self._silence = 0.0
        self._committed = False

    def within(self, limit: float) -> float:
        """Seconds that a wait may last which may last `limit` by itself: the app's deadline cuts it short."""
        deadline = self._request.deadline
        return limit if deadline is None else max(0.0, min(limit, deadline - monotonic()))

    def begin(self, response: "Response") -> None:
        """The request is written: wait for the first content of a stream, for the end of anything else."""
        self._response = response
        written = response.written_at
        limit = written + self._timeouts.total
        if self._request.stream:
            limit = min(limit, written + self._timeouts.first_token)
        if self._request.deadline is not None:
            limit = min(limit, self._request.deadline)
        self._deadline = limit
        self._timer = self._loop.call_later(limit - written, self._expire)

    def commit(self) -> None:
        """Nothing can be repeated any more; from here on only silence is a failure."""
        self._committed = True
        if not self._silence:
            self._bear(self._timeouts.between_tokens)

    def said_all(self) -> None:
        """The end mark has come; only the end of the HTTP message is missing."""
        self._bear(AFTER_END)

    def end(self) -> None:
        """The attempt is over."""
        if self._timer is not None:
            self._timer.cancel()

    def cut_short(self, error: AttemptError, since: float) -> bool:
        """Whether the app's own deadline ended a wait that began at `since`, before the route's limits did: no fault of
        the target."""
        deadline, now = self._request.deadline, monotonic()
        if deadline is None or now < deadline - EARLY:
            return False
        if isinstance(error, ConnectTimeout):
            return now - since < self._timeouts.connect
        return isinstance(error, TotalTimeout) and now - since < self._timeouts.total

    def _bear(self, silence: float) -> None:
        assert self._response is not None
        self._silence = silence
        limit, self._deadline = self._deadline, self._response.last_byte_at + silence
        if self._deadline < limit and self._timer is not None:
            self._timer.cancel()
            self._timer = self._loop.call_later(max(0.0, self._deadline - monotonic()), self._expire)

    def _expire(self) -> None:
        """The timer fired: either a wait is over its limit, or the answer moved on and the timer is set anew."""
        response = self._response
        assert response is not None
        now = monotonic()
        if self._committed:
            self._deadline = (response.last_byte_at if self.reading else now) + self._silence
        if now < self._deadline:
            self._timer = self._loop.call_later(self._deadline - now, self._expire)
            return
        self._timer = None
        response.abort(self._error(now - response.written_at))

    def _error(self, waited: float) -> AttemptError:
        timeouts = self._timeouts
        if self._committed:
            return BetweenTokensTimeout(f"{self._target} went silent for {self._silence:g} s in mid-answer")
        if self._request.stream and waited >= timeouts.first_token:
            return FirstTokenTimeout(f"{self._target} sent no content within {timeouts.first_token:g} s")
        return TotalTimeout(f"{self._target} did not answer within {waited:.3g} s")

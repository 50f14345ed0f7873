"""How long one attempt may wait for its target, and what it is called when that was too long."""

from time import monotonic
from typing import TYPE_CHECKING

from llmroute.errors import AttemptError, BetweenTokensTimeout, ConnectTimeout, FirstTokenTimeout, TotalTimeout
from llmroute.request import InferenceRequest
from llmroute.spec import Timeouts

if TYPE_CHECKING:
    from llmroute.target import LiveTarget
    from llmroute.upstream import Response

AFTER_END = 1.0
"""Seconds that a stream may stay open behind its end mark: its connection is worth keeping, but not worth a wait."""

EARLY = 0.002
"""Seconds that a timer may fire before its time: uvloop's count whole milliseconds."""


class Patience:
    """The deadline of an attempt. It moves on with the answer: looked at anew only when it has passed, or when it has
    come nearer.

    `reading`: the target is being waited for; otherwise it is the app that is slow, and silence means nothing.
    """

    __slots__ = (
        "_committed",
        "_request",
        "_response",
        "_silence",
        "_target",
        "_timeouts",
        "deadline",
        "reading",
    )

    def __init__(self, request: InferenceRequest, target: "LiveTarget", timeouts: Timeouts) -> None:
        self.deadline = 0.0
        self.reading = False
        self._request = request
        self._target = target
        self._timeouts = timeouts
        self._response: Response | None = None
        self._silence = 0.0
        self._committed = False

    def within(self, limit: float) -> float:
        """Seconds that a wait may last which may last `limit` by itself: the app's deadline cuts it short."""
        deadline = self._request.deadline
        return limit if deadline is None else max(0.0, min(limit, deadline - monotonic()))

    def begin(self, response: "Response") -> None:
        """The request is written: wait for the first content of a stream, for the end of anything else."""
        self._response = response
        request, timeouts = self._request, self._timeouts
        limit: float = timeouts.total
        if request.peek.stream and timeouts.first_token < limit:
            limit = timeouts.first_token
        limit += response.written_at
        if request.deadline is not None and request.deadline < limit:
            limit = request.deadline
        self.deadline = limit
        self._target.watch.add(self)

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
        self._target.watch.drop(self)

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
        limit, self.deadline = self.deadline, self._response.last_byte_at + silence
        if self.deadline < limit:
            self._target.watch.add(self)

    def overdue(self, now: float) -> None:
        """The deadline has passed: either a wait is over its limit, or the answer moved on and so does the deadline."""
        response = self._response
        assert response is not None
        if self._committed:
            self.deadline = (response.last_byte_at if self.reading else now) + self._silence
            if now < self.deadline:
                return
        self._target.watch.drop(self)
        response.abort(self._error(now - response.written_at))

    def _error(self, waited: float) -> AttemptError:
        timeouts = self._timeouts
        if self._committed:
            return BetweenTokensTimeout(f"{self._target.name} went silent for {self._silence:g} s in mid-answer")
        if self._request.stream and waited >= timeouts.first_token:
            return FirstTokenTimeout(f"{self._target.name} sent no content within {timeouts.first_token:g} s")
        return TotalTimeout(f"{self._target.name} did not answer within {waited:.3g} s")

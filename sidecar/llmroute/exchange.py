"""One attempt: request out, frames in, translation, first content, and exactly one Observation at its end."""

import time
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import msgspec

from llmroute import dialects
from llmroute.buffers import Share
from llmroute.errors import (
    AttemptError,
    BetweenTokensTimeout,
    ConnectFailed,
    ConnectTimeout,
    CredentialMissing,
    FirstTokenTimeout,
    Rejected,
    StreamBroken,
    TotalTimeout,
)
from llmroute.health import parse_retry_after
from llmroute.observed import observation_of
from llmroute.patience import Patience
from llmroute.request import FirstContent, InferenceRequest, Observation, Outcome
from llmroute.spec import Timeouts
from llmroute.upstream import ALL, SOME

if TYPE_CHECKING:
    from llmroute.target import LiveTarget
    from llmroute.upstream import Response

HOLD_LIMIT = 256 * 1024
"""Bytes of a stream held back while no content has been seen; beyond it the stream is committed."""
UNCOUNTED = 256 * 1024
"""Bytes of a non-stream that are awaited without being counted as buffered: as many as a stream may hold back."""
ANSWER_LIMIT = 8 * 1024 * 1024
"""Bytes of a non-stream that are awaited before it is committed."""
TRANSLATED_LIMIT = 64 * 1024 * 1024
"""Bytes of a non-stream that must be complete to be translated."""
ERROR_LIMIT = 256 * 1024
"""Bytes of an error answer that are read; the rest says nothing more."""

_OK = Outcome.OK
_OUTCOMES: dict[type[AttemptError], Outcome] = {
    ConnectFailed: Outcome.CONNECT_FAILED,
    ConnectTimeout: Outcome.CONNECT_TIMEOUT,
    FirstTokenTimeout: Outcome.FIRST_TOKEN_TIMEOUT,
    BetweenTokensTimeout: Outcome.BETWEEN_TOKENS_TIMEOUT,
    TotalTimeout: Outcome.TOTAL_TIMEOUT,
    StreamBroken: Outcome.BROKEN,
    CredentialMissing: Outcome.CREDENTIAL_MISSING,
}


class Observer(Protocol):
    """Who learns from attempts."""

    def first_content(self, target: "LiveTarget", event: FirstContent) -> None:
        """An attempt's first content has arrived."""

    def attempt_ended(self, target: "LiveTarget", observation: Observation) -> None:
        """An attempt has ended, however it did."""


class Exchange:
    """One attempt at one target, which holds a slot there.

    `await start()` returns the first bytes for the app once the answer is committed, `await more()` the next ones
    and `b""` at the clean end. Both raise a leaf of AttemptError when the attempt fails; `failure` then tells what
    the target said, if it said anything. Every life ends in `finish()`, which gives the connection and the slot back
    and emits the one Observation: `start()` and `more()` see to it when they raise or the answer is complete,
    the caller when it stops early.
    """

    __slots__ = (
        "_body",
        "_observer",
        "_patience",
        "_share",
        "_timeouts",
        "_unread",
        "complete",
        "failure",
        "first_content_at",
        "observation",
        "queued",
        "reader",
        "request",
        "response",
        "stalled",
        "target",
        "waits_since",
    )

    def __init__(
        self,
        request: InferenceRequest,
        target: "LiveTarget",
        body: bytes,
        timeouts: Timeouts,
        share: Share,
        observer: Observer,
    ) -> None:
        self.request = request
        self.target = target
        self._body = body
        """The request as the target wants it."""
        self.queued = 0.0
        """Seconds that the request waited for the slot."""
        self.stalled = 0.0
        """Seconds that the app's back-pressure took of the generation; the relay adds to it."""
        self.response: Response | None = None
        self.failure: dialects.Failure | None = None
        self.observation: Observation | None = None
        self.complete = False
        self._timeouts = timeouts
        self._share = share
        self._observer = observer
        self._patience = Patience(request, target, timeouts)
        self.reader = dialects.answer_reader(request, target.profile)
        self.first_content_at: float | None = None
        """Instant of a stream's first content."""
        self._unread = False
        """A large non-stream that is relayed without being looked at: its tokens are not known."""
        self.waits_since = 0.0
        """Instant from which the target is waited for."""

    @property
    def sent_at(self) -> float:
        """Instant from which an ended attempt waited for its target."""
        ended = self.observation
        return monotonic() if ended is None else ended.at - ended.waited

    @property
    def elapsed(self) -> float:
        """Seconds that an ended attempt waited: for a slot, a connection and the target."""
        ended = self.observation
        return 0.0 if ended is None else ended.timings.queue + ended.timings.connect + ended.waited

    async def start(self) -> bytes:
        """Send, and wait for the commit point. Raises AttemptError leaves and Overloaded."""
        try:
            response = self._sent() or await self._dialled()
            if self.request.peek.stream:
                return await self._first_frames(response)
            # A non-stream commits when complete, or at ANSWER_LIMIT where its bytes can pass through unread.
            while (body := response.whole(UNCOUNTED)) is None:
                await response.news(ALL)
            if response.status != 200:
                raise self._rejected(response, body)
            return self._complete(response, body) if response.complete else await self._large_answer(response, body)
        except AttemptError as error:
            self.finish(self._outcome_of(error), error.retry_after)
            raise
        except BaseException:
            self.finish(Outcome.CANCELLED)
            raise

    async def more(self) -> bytes:
        """The next bytes for the app, `b""` at the clean end. Raises AttemptError leaves."""
        if self.complete:
            return b""
        assert self.response is not None
        try:
            while True:
                if self.reader.failure is not None:
                    raise self._rejected(self.response, b"")
                out = await self._read(self.response)
                if self.reader.failure is not None:
                    if out:
                        return out  # what came before the error; the error is raised next time
                elif self.complete:
                    self.finish(_OK)
                    return out
                elif out:
                    return out
        except AttemptError as error:
            self.finish(self._outcome_of(error), error.retry_after)
            raise
        except BaseException:
            self.finish(Outcome.CANCELLED)
            raise

    def _sent(self) -> "Response | None":
        """The request, written on a connection that is ready; None if there is none."""
        target, patience = self.target, self._patience
        self.waits_since = monotonic()
        head = target.head(self.request)
        response = target.pool.send_at_once(head, self._body, patience.within(self._timeouts.connect))
        if response is not None:
            self._begin(response)
        return response

    async def _dialled(self) -> "Response":
        """The request, written on a connection that is dialled for it."""
        target, within = self.target, self._patience.within(self._timeouts.connect)
        response = await target.pool.send(target.head(self.request), self._body, connect_timeout=within)
        self._begin(response)
        return response

    def _begin(self, response: "Response") -> None:
        self.response = response
        self.waits_since = response.written_at
        self._patience.begin(response)

    async def _large_answer(self, response: "Response", body: bytes) -> bytes:
        """Go on from the beginning `body`, counting as buffered what comes. Raises Overloaded besides."""
        same_dialect = self.request.operation.dialect is self.target.profile.dialect
        limit = ANSWER_LIMIT if same_dialect else TRANSLATED_LIMIT
        pieces, size = [body], 0
        while pieces[-1] and size <= limit:
            size += len(pieces[-1])
            self._share.take(len(pieces[-1]))
            pieces.append(await response.read())
        body = b"".join(pieces)
        if response.complete:
            return self._complete(response, body)
        if not same_dialect:
            raise StreamBroken(f"{self.target.name}'s answer has more than {limit} bytes")
        self._unread = True
        self._patience.commit()
        return body

    def _complete(self, response: "Response", body: bytes) -> bytes:
        """All of a non-stream is there."""
        out = self._understood(body)
        self.complete = True
        out += self._understood(b"")
        if self.reader.failure is not None:
            raise self._rejected(response, body)
        self.finish(_OK)
        return out

    async def _first_frames(self, response: "Response") -> bytes:
        """A stream commits at its first content, at HOLD_LIMIT, or at its clean end."""
        await response.head()
        if response.status != 200:
            raise self._rejected(response, await response.body(ERROR_LIMIT))
        held: list[bytes] = []
        size = 0
        while True:
            out = await self._read(response)
            if out:
                held.append(out)
                size += len(out)
            reader = self.reader
            if reader.failure is not None:
                raise self._rejected(response, b"")
            if reader.first_content or self.complete or size > HOLD_LIMIT:
                break
        if self.complete:
            self.finish(_OK)
        else:
            self._patience.commit()
        return held[0] if len(held) == 1 else b"".join(held)

    async def _read(self, response: "Response") -> bytes:
        """One read through the reader; notes the first content and the end."""
        reader, patience = self.reader, self._patience
        patience.reading = True
        try:
            while (chunk := response.some()) is None:
                await response.news(SOME)
        except AttemptError:
            if not reader.ended:
                raise
            chunk = b""  # all has been said: how the connection ends is no matter
        patience.reading = False
        if self._unread:
            self.complete = not chunk
            return chunk
        if chunk:
            out = self._understood(chunk)
            if reader.ended and not response.ended:
                patience.said_all()
        else:
            out = self._understood(b"")
            self.complete = reader.failure is None
        if self.first_content_at is None and reader.first_content and self.request.peek.stream:
            self._note_first_content(response)
        return out

    def _understood(self, chunk: bytes) -> bytes:
        """What the app gets of a read, or at the end. An answer that no reader foresaw is the target's fault."""
        try:
            return self.reader.feed(chunk) if chunk else self.reader.close()
        except AttemptError:
            raise
        except Exception as error:  # not in full: it may quote what the target said
            raise StreamBroken(f"{self.target.name}'s answer makes no sense: {type(error).__name__}") from error

    def _note_first_content(self, response: "Response") -> None:
        self.first_content_at = at = response.last_byte_at
        request = self.request
        prompt_tokens, ttft = request.peek.prompt_tokens, at - response.written_at
        event = FirstContent(self.target.name, request.operation, True, prompt_tokens, ttft, at)
        self._observer.first_content(self.target, event)

    def _rejected(self, response: "Response", body: bytes) -> AttemptError:
        """What an error status, or an error inside a 200, means. Whatever it is, the target's key does not go on."""
        credential = self.target.credential
        body = credential.redact(body)
        failure = self.reader.failure or dialects.classify(self.target.profile, response.status, body)
        message = credential.redact(failure.message.encode("utf-8", "replace")).decode()
        self.failure = failure = msgspec.structs.replace(failure, message=message)
        status = response.status if response.status != 200 else 0
        retry_after = parse_retry_after(response.header, time.time())  # noqa: TID251 - HTTP-date is wall time
        return Rejected(
            f"{self.target.name} answered {status or 'with an error event'}: {failure.message}",
            upstream_status=status,
            retry_after=retry_after,
            body=body,
        )

    def _outcome_of(self, error: AttemptError) -> Outcome:
        if isinstance(error, Rejected):
            assert self.failure is not None
            return self.failure.outcome
        if self._patience.cut_short(error, self.waits_since):
            return Outcome.CANCELLED
        return _OUTCOMES[type(error)]

    def finish(self, outcome: Outcome, retry_after: float | None = None) -> None:
        """Give everything back and emit the Observation; only the first call counts."""
        if self.observation is not None:
            return
        self._patience.end()
        now = monotonic()
        response = self.response
        if response is not None:
            response.release()
        self.target.slots.release()
        self.observation = observation = observation_of(self, outcome, now, retry_after)
        self._observer.attempt_ended(self.target, observation)

"""Choose → exchange → observe → again, before the commit point only."""

import asyncio
from contextlib import suppress
from random import Random
from time import monotonic

import msgspec

from llmroute import dialects
from llmroute.buffers import Share
from llmroute.errors import AttemptError, ClientError, DeadlineExceeded, NoCandidate, Overloaded, Rejected
from llmroute.exchange import Exchange
from llmroute.health import RetryBudget
from llmroute.learning import Learner
from llmroute.patience import EARLY
from llmroute.request import Decision, InferenceRequest, Outcome
from llmroute.routing import NOTHING_TRIED, choose, in_question
from llmroute.runtime import LiveRoute
from llmroute.slots import Slots
from llmroute.target import LiveTarget

PAUSE = 0.1
"""Seconds, times the attempts so far, before a target is asked once more by the same request."""


class Attempts:
    """All attempts of one request, one after the other, until one is committed."""

    __slots__ = (
        "_ask",
        "_budget",
        "_learner",
        "_request",
        "_rng",
        "_route",
        "_share",
        "decision",
        "exchange",
        "failed",
    )

    def __init__(
        self,
        request: InferenceRequest,
        route: LiveRoute,
        learner: Learner,
        budget: RetryBudget,
        share: Share,
        rng: Random,
    ) -> None:
        self.exchange: Exchange | None = None
        """The latest attempt."""
        self.decision: Decision | None = None
        self.failed: list[Exchange] = []
        self._request = request
        self._route = route
        self._ask = route.ask(request)
        self._learner = learner
        self._budget = budget
        self._share = share
        self._rng = rng

    @property
    def committed(self) -> Exchange:
        """The latest attempt, where there must be one."""
        assert self.exchange is not None
        return self.exchange

    @property
    def trail(self) -> str:
        """`openai-east:first-token-timeout, azure:ok`: each attempt and how it ended, or stands."""
        last, failed = self.exchange, self.failed
        if not failed:
            return "" if last is None else _step(last)
        steps = [*failed, last] if last is not None and last not in failed else failed
        return ", ".join(map(_step, steps))

    async def begin(self) -> bytes:
        """The first bytes for the app, from the first attempt that gets as far as its commit point.

        Raises the last attempt's AttemptError when no further attempt is allowed or nobody is left to try, RateLimited
        when all who are left are limited, another RoutingError or ClientError when no attempt could be made.
        """
        now = monotonic()
        self._budget.request(now)
        last: AttemptError | None = None
        while True:
            try:
                target, body = self._pick(now)
            except NoCandidate:
                if last is None:
                    raise
                raise last from None  # what a target said tells the app more
            if last is not None and any(target is failed.target for failed in self.failed):
                await asyncio.sleep(PAUSE * len(self.failed) * self._rng.uniform(0.5, 1.0))
                now = monotonic()
            queued = 0.0
            if not target.slots.take():
                target, body = await self._in_turn(target, body, now)
                queued, now = monotonic() - now, monotonic()
            exchange = self._attempt(target, body, now)
            exchange.queued = queued
            try:
                return await exchange.start()
            except AttemptError as error:
                last = error
                self.failed.append(exchange)
                self._learner.pardon_poison(self.failed)
                if failure_of(exchange) is Outcome.CONTEXT_TOO_LONG:
                    window = exchange.target.spec.context_window or self._ask.prompt_tokens
                    self._ask = msgspec.structs.replace(self._ask, window_above=window)
                now = monotonic()
                if not self._may_go_on(exchange, error, now):
                    raise

    def give_up(self) -> None:
        """End what is under way: nobody will take the answer."""
        if self.exchange is not None:
            self.exchange.finish(Outcome.CANCELLED)

    def _pick(self, now: float) -> tuple[LiveTarget, bytes]:
        """The next target, and the request as it wants it. A target is asked whether it can express the request when
        it is picked, not before: for one of the other dialect the answer takes a whole translation."""
        request, route = self._request, self._route
        tried = [exchange.target.name for exchange in self.failed] if self.failed else NOTHING_TRIED
        while True:
            self.decision = decision = choose(route.candidates, self._ask, now, self._rng, tried)
            target = route.targets[decision.target]
            try:
                return target, dialects.encode(request, target.profile, target.spec)
            except ClientError as error:
                self._ask = route.ask_without(self._ask, target.profile, error.param or "body")

    async def _in_turn(self, target: LiveTarget, body: bytes, now: float) -> tuple[LiveTarget, bytes]:
        """The chosen target is full: wait in the route's line until it, or another that would do, has a slot, and take
        that: within the app's deadline, and no longer than the answer, or a stream's start, may take. Raises besides
        what choosing raises DeadlineExceeded and Overloaded."""
        request, line = self._request, self._route.line
        timeouts = self._route.declared.spec.failover.timeouts
        longest: float = timeouts.first_token if request.stream else timeouts.total
        within = longest if request.deadline is None else max(0.0, min(longest, request.deadline - now))
        place, declined = line.join(), set[Slots]()
        try:
            async with asyncio.timeout(within):
                while True:
                    slots = await place.turn(self._would_do(declined))
                    slots.in_flight -= 1  # given back for a moment, so that it can be chosen
                    try:
                        with suppress(NoCandidate):  # nobody is left: the choice stands, and its failure says why
                            target, body = self._pick(monotonic())
                        if target.slots.take():
                            return target, body
                        declined.add(slots)  # else those in line would hand it round for ever
                    finally:
                        slots.wake()
        except TimeoutError:
            if within < longest:
                raise DeadlineExceeded("the deadline given by x-llmroute-max-latency passed in the queue") from None
            raise Overloaded(f"no slot came free within {within:g} s", retry_after=1.0) from None
        finally:
            line.leave(place)

    def _would_do(self, declined: set[Slots]) -> set[Slots]:
        """Slots of the full target that was chosen, and of those that might be instead: but for the ones that were
        offered, and could not be chosen although they had room."""
        assert self.decision is not None
        route, tried = self._route, [exchange.target.name for exchange in self.failed]
        others = {route.targets[name].slots for name in in_question(route.candidates, self._ask, tried)}
        return others - declined | {route.targets[self.decision.target].slots}

    def _attempt(self, target: LiveTarget, body: bytes, now: float) -> Exchange:
        timeouts = self._route.declared.spec.failover.timeouts
        try:
            self.exchange = exchange = Exchange(self._request, target, body, timeouts, self._share, self._learner)
        except BaseException:
            target.slots.release()
            raise
        assert self.decision is not None
        self._learner.chosen(exchange, self.decision, self.failed, now)
        return exchange

    def _may_go_on(self, exchange: Exchange, error: AttemptError, now: float) -> bool:
        """Whether another attempt is allowed. Raises DeadlineExceeded if the app's own deadline has passed."""
        request, failure = self._request, exchange.failure
        if request.deadline is not None and now >= request.deadline - EARLY:
            raise DeadlineExceeded("the deadline given by x-llmroute-max-latency has passed") from error
        if failure is not None and not failure.failover:
            return False
        if request.peek.stateful or len(self.failed) >= self._route.declared.spec.failover.max_attempts:
            return False
        # Those who were in flight to a target when it was ejected move on together: that is no retry storm.
        overtaken = len(self.failed) == 1 and exchange.target.learned.health.ejected_since(exchange.sent_at)
        return self._budget.may_retry(now, exempt=overtaken)

    def is_apps_own(self, error: Rejected) -> bool:
        """Whether the target's answer is a verdict on the app's request, to be handed back unchanged."""
        failure = self.committed.failure
        return failure is not None and not failure.outcome.is_failure and error.upstream_status >= 400


def failure_of(exchange: Exchange) -> Outcome | None:
    """How the target put its failure, if it said anything."""
    return exchange.failure.outcome if exchange.failure is not None else None


def _step(exchange: Exchange) -> str:
    ended = exchange.observation
    return f"{exchange.target.name}:{'ok' if ended is None else ended.outcome.word}"

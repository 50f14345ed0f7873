"""What one attempt teaches, and in which order: what people look at, the estimate, the target's health, the metrics."""

from typing import TYPE_CHECKING

from llmroute.health import Transition, alike
from llmroute.request import Decision, FirstContent, Observation, Outcome

if TYPE_CHECKING:
    from llmroute.exchange import Exchange
    from llmroute.target import LiveTarget
    from llmroute.telemetry import Telemetry

_OK = Outcome.OK  # compared by identity, which costs a tenth of reading an attribute of a member


class Tally:
    """What was used of one target so far."""

    __slots__ = ("attempts", "cached_tokens", "errors", "input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.attempts = 0
        self.errors = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cached_tokens = 0

    def count(self, observation: Observation) -> None:
        """One more attempt."""
        self.attempts += 1
        if observation.outcome is not _OK and observation.outcome.is_failure:
            self.errors += 1
        usage = observation.usage
        if usage is not None:
            self.input_tokens += usage.input
            self.output_tokens += usage.output
            self.cached_tokens += usage.cached_input


class Learner:
    """Told of every attempt, by the attempt itself."""

    def __init__(self, telemetry: "Telemetry") -> None:
        self._telemetry = telemetry

    def first_content(self, target: "LiveTarget", event: FirstContent) -> None:
        """Learn at once: the next request is chosen before this one ends."""
        target.learned.latency.first_content(event)

    def attempt_ended(self, target: "LiveTarget", observation: Observation) -> None:
        """The one Observation of an attempt."""
        learned = target.learned
        learned.tally.count(observation)
        learned.window.record(observation)
        learned.latency.observe(observation)
        if observation.outcome is _OK:
            target.lengths.learn(observation.operation, observation.output_tokens)
        transition = learned.health.observe(observation, observation.at)
        self._telemetry.attempt_ended(target.route, observation)
        if transition is not None:
            self._telemetry.state_changed(target.route, transition)

    def chosen(self, exchange: "Exchange", decision: Decision, failed: "list[Exchange]", now: float) -> None:
        """A target was picked for an attempt, whose silence counts from now on; after failed ones it is a failover."""
        target, request = exchange.target, exchange.request
        target.learned.latency.sent(request.operation, request.peek.stream, now)
        self._telemetry.chosen(target.route, target.name, decision.reason)
        if failed:
            last = failed[-1].observation
            assert last is not None
            self._telemetry.failed_over(target.route, last, target.name)

    def pardon_poison(self, failed: "list[Exchange]") -> None:
        """A request that fails alike on two targets counts against neither: the request may be the poison."""
        last = failed[-1]
        assert last.observation is not None
        for earlier in failed[:-1]:
            assert earlier.observation is not None
            if alike(earlier.observation, last.observation):
                for exchange in (earlier, last):
                    assert exchange.observation is not None
                    self._tell(
                        exchange.target,
                        exchange.target.learned.health.pardon(exchange.observation, exchange.observation.at),
                    )

    def _tell(self, target: "LiveTarget", transition: Transition | None) -> None:
        if transition is not None:
            self._telemetry.state_changed(target.route, transition)

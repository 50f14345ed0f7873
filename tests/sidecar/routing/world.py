"""A route's targets with what is known of them, and requests to choose for."""

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

from llmroute.health import Health
from llmroute.latency import Latency
from llmroute.request import Decision, FirstContent, Observation, Operation, Outcome, Timings
from llmroute.routing import Ask, Candidate, Candidates, Policy, choose, explain
from llmroute.spec import LLMRouteSpec, Target

Spec = Mapping[str, Any]


class Queue:
    """How busy a target is."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.full = False


_REFUSALS = (Outcome.AUTHENTICATION, Outcome.BILLING, Outcome.MODEL_NOT_FOUND)


class World:
    """`World(east={...}, west={...}, spec={...})`: each keyword is a target, `spec` the rest of the route's."""

    def __init__(
        self, *, seed: int = 1, spec: Spec | None = None, targets: Mapping[str, Spec] | None = None, **named: Spec
    ) -> None:
        fields_of = {**(targets or {}), **named}
        self.now = 1000.0
        self.rng = Random(seed)
        declared = tuple(
            Target(**{"name": name, "provider": "openai", "model": "m", **fields}) for name, fields in fields_of.items()
        )
        policy = Policy(LLMRouteSpec(targets=declared, **(spec or {})))
        self.queues = {target.name: Queue() for target in declared}
        self.by_name = {
            target.name: Candidate(target, latency(target), Health(target.name), self.queues[target.name])
            for target in declared
        }
        self.candidates = Candidates(policy, self.by_name.values())

    def __getitem__(self, name: str) -> Candidate:
        return self.by_name[name]

    def knows(self, times: int = 20, **seconds: float) -> "World":
        """The targets have answered so fast, as streams and otherwise (whole answers: 100 tokens)."""
        for name, ttft in seconds.items():
            for _ in range(times):
                self.answers(name, ttft)
                self.answers(name, ttft + 2.0, stream=False)
        return self

    def answers(self, name: str, ttft: float, *, stream: bool = True) -> None:
        if stream:
            self[name].latency.first_content(FirstContent(name, Operation.CHAT, True, 10, ttft, self.now))
        timings = Timings(ttft=ttft, generation=2.0, total=ttft + 2.0) if stream else Timings(total=ttft)
        self.ends(name, Outcome.OK, timings=timings, waited=ttft, stream=stream)

    def ends(
        self,
        name: str,
        outcome: Outcome,
        *,
        timings: Timings = Timings(),  # noqa: B008  # frozen
        waited: float = 0.05,
        stream: bool = True,
        retry_after: float | None = None,
    ) -> "World":
        observation = Observation(
            target=name,
            operation=Operation.CHAT,
            stream=stream,
            prompt_tokens=10,
            outcome=outcome,
            timings=timings,
            at=self.now,
            output_tokens=100 if outcome is Outcome.OK else 0,
            waited=waited,
            retry_after=retry_after,
            refused=outcome in _REFUSALS,
        )
        self[name].latency.observe(observation)
        self[name].health.observe(observation, self.now)
        return self

    def ejects(self, *names: str) -> "World":
        for name in names:
            for _ in range(3):
                self.ends(name, Outcome.CONNECT_FAILED)
        return self

    def choose(self, *tried: str, **asked: Any) -> Decision:
        return choose(self.candidates, ask(**asked), self.now, self.rng, tried)

    def chosen(self, *tried: str, **asked: Any) -> str:
        return self.choose(*tried, **asked).target

    def picks(self, times: int = 300, **asked: Any) -> Counter[str]:
        """How often each target is chosen when nothing new is learned."""
        return Counter(self.chosen(**asked) for _ in range(times))

    def dropped(self, **asked: Any) -> dict[str, str | None]:
        return {each.target: each.dropped_by for each in explain(self.candidates, ask(**asked), self.now)}


def latency(target: Target) -> Latency:
    prior = target.prior
    return Latency(prior.ttft, prior.tokens_per_second) if prior else Latency(None, None)


def ask(**fields: Any) -> Ask:
    return Ask(**{"operation": Operation.CHAT, "stream": True, "prompt_tokens": 1000, "output_tokens": 100, **fields})

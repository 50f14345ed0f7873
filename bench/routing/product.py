"""The product's own choosing, run by the simulation: `choose`, `Latency` and `Health` as a sidecar composes them."""

from random import Random

from bench.routing.fleet import Attempt, Request
from bench.routing.scenarios import Scenario
from llmroute.errors import NoCandidate, RateLimited
from llmroute.health import Health
from llmroute.latency import Latency, Lengths
from llmroute.request import FirstContent, Observation, Operation, Outcome, Timings, Usage
from llmroute.routing import Ask, Candidate, Candidates, Policy, choose
from llmroute.slots import Line, Slots
from llmroute.spec import LLMRouteSpec, Target

FIRST_TOKEN_TIMEOUT, TOTAL_TIMEOUT = 30.0, 600.0
"""Defaults of `failover.timeouts`."""
OPERATION = Operation.CHAT
_OUTCOMES = {
    "ok": Outcome.OK,
    "5xx": Outcome.SERVER_ERROR,
    "refused": Outcome.CONNECT_FAILED,
    "429": Outcome.RATE_LIMITED,
    "timeout": Outcome.FIRST_TOKEN_TIMEOUT,
    "stalled": Outcome.BETWEEN_TOKENS_TIMEOUT,
    "cancelled": Outcome.CANCELLED,
}


class Sidecar:
    """What one sidecar has learned."""

    def __init__(self, spec: LLMRouteSpec) -> None:
        line = Line()
        self.candidates = Candidates(
            Policy(spec),
            [Candidate(target, Latency(None, None), Health(target.name), Slots(line)) for target in spec.targets],
        )
        self.lengths = Lengths()


class Product:
    """A route with the scenario's targets, in every sidecar. Today's engine knows nothing of the other sidecars."""

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        targets = tuple(
            Target(name=f"t{index}", provider="openai-compatible", model="m", url="http://target/v1")
            for index in range(len(scenario.targets))
        )
        spec = LLMRouteSpec(targets=targets)
        self._sidecars = [Sidecar(spec) for _ in range(scenario.sidecars)]
        self._streams = scenario.objective == "ttft"
        self._rng = rng

    def pick(self, request: Request, now: float) -> int:
        sidecar = self._sidecars[request.arrival.sidecar]
        ask = Ask(
            operation=OPERATION,
            stream=self._streams,
            prompt_tokens=request.arrival.prompt,
            output_tokens=sidecar.lengths.expected(OPERATION, None, None),
        )
        tried = [f"t{target}" for target in request.tried]
        try:
            return int(choose(sidecar.candidates, ask, now, self._rng, tried).target[1:])
        except (NoCandidate, RateLimited):  # the simulation has no way to answer without a target
            return request.arrival.number % len(sidecar.candidates.all)

    def timeout(self, attempt: Attempt, now: float) -> float:
        return FIRST_TOKEN_TIMEOUT if self._streams else TOTAL_TIMEOUT

    def hedge_after(self, attempt: Attempt, now: float) -> float | None:
        return None

    def hedge(self, attempt: Attempt, now: float) -> int | None:
        return None

    def sent(self, attempt: Attempt, now: float) -> None:
        candidate = self._candidate(attempt)
        candidate.load.in_flight += 1
        candidate.latency.sent(OPERATION, self._streams, now)

    def first(self, attempt: Attempt, now: float) -> None:
        candidate = self._candidate(attempt)
        prompt, ttft = attempt.request.arrival.prompt, now - attempt.sent
        candidate.latency.first_content(FirstContent(candidate.name, OPERATION, True, prompt, ttft, now))

    def ended(self, attempt: Attempt, now: float) -> None:
        candidate, arrival = self._candidate(attempt), attempt.request.arrival
        candidate.load.in_flight -= 1
        ok = attempt.outcome == "ok"
        first, taken = attempt.first, now - attempt.sent
        streamed = self._streams and first is not None
        observation = Observation(
            target=candidate.name,
            operation=OPERATION,
            stream=self._streams,
            prompt_tokens=arrival.prompt,
            outcome=_OUTCOMES[attempt.outcome or "cancelled"],
            timings=Timings(
                ttft=first - attempt.sent if streamed and first is not None else None,
                generation=now - first if ok and streamed and first is not None else None,
                total=taken if ok else None,
            ),
            at=now,
            usage=Usage(input=arrival.prompt, output=arrival.output) if ok else None,
            output_tokens=arrival.output if ok else 0,
            waited=taken,
            retry_after=attempt.retry_after or None,
        )
        candidate.latency.observe(observation)
        if ok:
            self._sidecars[attempt.sidecar].lengths.learn(OPERATION, arrival.output)
        candidate.health.observe(observation, now)

    def exchange(self, now: float) -> None:
        for sidecar in self._sidecars:
            for candidate in sidecar.candidates.all:
                candidate.health.advance(now)

    def _candidate(self, attempt: Attempt) -> Candidate:
        return self._sidecars[attempt.sidecar].candidates.all[attempt.target]

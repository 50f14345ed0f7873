"""One target, told what happened to it."""

from llmroute.latency import Latency
from llmroute.request import Estimate, FirstContent, Observation, Operation, Outcome, Timings, Usage


class Target:
    """A target of whom stories are told in seconds; the clock only moves forward."""

    def __init__(self, prior_ttft: float | None = None, prior_tps: float | None = None, stream: bool = True) -> None:
        self.latency = Latency(prior_ttft, prior_tps)
        self.now = 1000.0
        self.stream = stream

    def later(self, seconds: float) -> "Target":
        self.now += seconds
        return self

    def answers(self, seconds: float, *, tokens: int = 100, speed: float = 50.0, times: int = 1) -> "Target":
        """A stream's first content, or a whole answer, comes after `seconds`."""
        for _ in range(times):
            generation = tokens / speed
            ttft = seconds if self.stream else None
            total = seconds + generation if self.stream else seconds
            if self.stream:
                self.latency.first_content(FirstContent("t", Operation.CHAT, True, 10, seconds, self.now))
            timings = Timings(ttft=ttft, generation=generation if self.stream else None, total=total)
            self.ends(Outcome.OK, waited=total, timings=timings, tokens=tokens)
        return self

    def ends(
        self,
        outcome: Outcome,
        *,
        waited: float = 0.05,
        timings: Timings = Timings(),  # noqa: B008  # frozen
        tokens: int = 0,
        retry_after: float | None = None,
    ) -> "Target":
        self.latency.observe(
            Observation(
                target="t",
                operation=Operation.CHAT,
                stream=self.stream,
                prompt_tokens=10,
                outcome=outcome,
                timings=timings,
                at=self.now,
                usage=Usage(10, tokens) if tokens else None,
                output_tokens=tokens,
                waited=waited,
                retry_after=retry_after,
            )
        )
        return self

    def is_asked(self) -> "Target":
        self.latency.sent(Operation.CHAT, self.stream, self.now)
        return self

    def estimate(self, *, tokens: int = 100, percentile: int = 50) -> Estimate:
        return self.latency.estimate(Operation.CHAT, self.stream, tokens, percentile, self.now)

    @property
    def ttft(self) -> float:
        return self.estimate().ttft

    @property
    def total(self) -> float:
        return self.estimate().total

    def drawn(self, noise: float) -> float:
        """TTFT as a draw of exploration sees it."""
        return self.latency.track(Operation.CHAT, self.stream).sample("ttft", 100, 0.0, self.now, noise)[1]

"""One target's health, told what happened to it."""

from random import Random

from llmroute.health import Health, State, Transition
from llmroute.request import Observation, Operation, Outcome, Timings


class Patient:
    """A target whose clock only moves forward; `events` keeps every transition."""

    def __init__(self) -> None:
        self.health = Health("east")
        self.now = 1000.0
        self.events: list[Transition] = []
        self.rng = Random(7)

    def later(self, seconds: float) -> "Patient":
        self.now += seconds
        return self

    def ends(
        self,
        outcome: Outcome,
        *,
        times: int = 1,
        waited: float = 0.0,
        retry_after: float | None = None,
        refused: bool = False,
    ) -> "Patient":
        for _ in range(times):
            self.last = self.observation(outcome, waited=waited, retry_after=retry_after, refused=refused)
            self.note(self.health.observe(self.last, self.now))
        return self

    def observation(
        self,
        outcome: Outcome,
        *,
        waited: float = 0.0,
        retry_after: float | None = None,
        status: int = 0,
        refused: bool = False,
    ) -> Observation:
        return Observation(
            target="east",
            operation=Operation.CHAT,
            stream=True,
            prompt_tokens=10,
            outcome=outcome,
            timings=Timings(),
            at=self.now,
            waited=waited,
            retry_after=retry_after,
            status=status,
            refused=refused,
        )

    def note(self, transition: Transition | None) -> None:
        if transition is not None:
            self.events.append(transition)

    @property
    def state(self) -> State:
        return self.health.state(self.now)

    @property
    def ejected_until(self) -> float:
        assert self.state is State.EJECTED
        return self.health._until

    @property
    def admitted(self) -> bool:
        return self.health.admits(self.now, self.rng)

    @property
    def changes(self) -> list[str]:
        return [f"{event.before}->{event.after}: {event.reason}" for event in self.events]

"""Every call of the demo and how it ended. No clock: instants are given, on the monotonic clock."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

Kind = Literal["stream", "whole", "anthropic"]
"""A stream of the OpenAI SDK, an answer in one piece of the OpenAI SDK, a stream of the Anthropic SDK."""
APP = "app"
"""Whom the app asks: LLMRoute. Probes ask a provider, by its name."""


class Ask(NamedTuple):
    """One request of the app, before it is sent."""

    number: int
    kind: Kind
    prompt: str
    act: int
    """When in the play it was asked; counted from 0."""
    probed: bool
    """Sent to every provider directly as well."""


class Call(NamedTuple):
    """One call, however it ended. Seconds."""

    ask: Ask
    asked: str
    """APP or a provider's name."""
    ended: float
    wait: float | None = None
    """To the first token of a stream, to the end of any other answer; None where it did not come to that."""
    target: str = ""
    reason: str = ""
    attempts: str = ""
    error: str = ""
    """Why it failed; empty if it did not."""


class Ledger:
    """The calls in the order in which they ended."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def app(self, *, act: int | None = None) -> list[Call]:
        """Calls of the app, of one act or of all."""
        return [call for call in self.calls if call.asked == APP and act in (None, call.ask.act)]

    def recent(self, asked: str, now: float, seconds: float = 10.0) -> list[Call]:
        """Calls that ended in the last seconds."""
        found = []
        for call in reversed(self.calls):
            if now - call.ended > seconds:
                break
            if call.asked == asked:
                found.append(call)
        return found[::-1]

    @property
    def errors(self) -> list[Call]:
        """What the app saw fail."""
        return [call for call in self.app() if call.error]


def share(calls: Iterable[Call]) -> dict[str, float]:
    """Which part of the answers came from which target."""
    counts = Counter(call.target for call in calls if call.target and not call.error)
    return {target: count / counts.total() for target, count in counts.items()}


def waits(calls: Iterable[Call], wanted: Callable[[Call], bool] = lambda call: call.ask.kind != "whole") -> list[float]:
    """Seconds waited by those that were answered; of streams, unless told otherwise."""
    return [call.wait for call in calls if call.wait is not None and not call.error and wanted(call)]


def percentile(values: Iterable[float], rank: int) -> float | None:
    """Nearest rank; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * rank / 100) - 1)] if ordered else None

"""Which target made an answer that may be asked for again: what continues it must go to the same place."""

from collections import OrderedDict

MOST = 10_000
"""Answers remembered for a route; the oldest are forgotten first. About 2 MB when full; 5 MB with the longest ids."""
LONGEST = 256
"""Characters of an answer's id that is remembered."""


class Owners:
    """Answer id → target name; outlives reloads."""

    __slots__ = ("_targets",)

    def __init__(self) -> None:
        self._targets: OrderedDict[str, str] = OrderedDict()

    def note(self, answer: str, target: str) -> None:
        """The target made the answer."""
        if len(answer) > LONGEST:
            return
        self._targets[answer] = target
        self._targets.move_to_end(answer)
        if len(self._targets) > MOST:
            self._targets.popitem(last=False)

    def of(self, answer: str) -> str | None:
        """The target that made the answer, None if that is not known (any more)."""
        return self._targets.get(answer)

"""How long a route's answers usually are."""

from llmroute.latency import numbers
from llmroute.request import Operation

TYPICAL_TOKENS = 200
"""Output tokens expected before any answer was seen."""
_RATE = 0.05
"""Weight of the newest answer once twenty were seen."""


class Lengths:
    """Mean output tokens of one route's answers, by operation; the caller's limit and wish win over it."""

    __slots__ = ("_means", "_seen")

    def __init__(self) -> None:
        self._means: dict[str, float] = {}
        self._seen: dict[str, int] = {}

    def expected(self, operation: Operation, at_most: int | None = None, wished: int | None = None) -> int:
        """Output tokens to expect: `wished` (x-llmroute-expected-tokens) if given, never more than `at_most`."""
        if operation is Operation.EMBEDDINGS:
            return 0
        count = round(self._means.get(operation.label, TYPICAL_TOKENS)) if wished is None else numbers.tokens(wished)
        return count if at_most is None or count <= at_most else numbers.tokens(at_most)

    def learn(self, operation: Operation, output_tokens: int) -> None:
        """A complete answer had so many output tokens."""
        count = numbers.tokens(output_tokens)
        if not count:
            return
        label = operation.label
        seen = self._seen.get(label, 0) + 1
        self._seen[label] = seen
        mean = self._means.get(label, 0.0)
        self._means[label] = mean + (count - mean) * max(1.0 / seen, _RATE)

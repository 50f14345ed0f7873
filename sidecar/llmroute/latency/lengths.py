"""How long a route's answers usually are."""

from llmroute.latency import numbers
from llmroute.request import Operation

TYPICAL_TOKENS = 200
"""Output tokens expected before any answer was seen."""
_MOST_SEEN = 20.0
"""Answers that the mean remembers."""
_EMBEDDINGS = Operation.EMBEDDINGS  # a member of an Enum class is slow to reach


class Lengths:
    """Mean output tokens of one route's answers, by operation; the caller's limit and wish win over it."""

    __slots__ = ("_learned",)

    def __init__(self) -> None:
        self._learned: dict[str, list[float]] = {}
        """Mean and number of answers, by the operation's label."""

    def expected(self, operation: Operation, at_most: int | None = None, wished: int | None = None) -> int:
        """Output tokens to expect: `wished` (x-llmroute-expected-tokens) if given, never more than `at_most`."""
        if wished is not None:
            count = numbers.tokens(wished)
        else:
            learned = self._learned.get(operation.label)
            count = int(learned[0]) if learned is not None else 0 if operation is _EMBEDDINGS else TYPICAL_TOKENS
        return count if at_most is None or count <= at_most else numbers.tokens(at_most)

    def learn(self, operation: Operation, output_tokens: int) -> None:
        """A complete answer had so many output tokens."""
        if output_tokens <= 0:
            return
        count = output_tokens if output_tokens < numbers.MOST_TOKENS else numbers.MOST_TOKENS
        learned = self._learned.get(operation.label)
        if learned is None:
            self._learned[operation.label] = [float(count), 1.0]
            return
        learned[1] = seen = learned[1] + 1.0
        learned[0] += (count - learned[0]) * (1.0 / seen if seen < _MOST_SEEN else 1.0 / _MOST_SEEN)

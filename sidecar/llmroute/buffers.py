"""Bytes that requests and held answers may take at once, over all requests; each gives its own back at its end."""

from llmroute.errors import Overloaded


class BufferBudget:
    """The bound, and what is used of it."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def exhausted(self) -> Overloaded:
        """What to raise when the bound is reached."""
        return Overloaded(f"{self.limit} bytes are buffered already (--max-buffer)", retry_after=1.0)


class Share:
    """What one request has taken of the budget."""

    __slots__ = ("_budget", "_taken")

    def __init__(self, budget: BufferBudget) -> None:
        self._budget = budget
        self._taken = 0

    def take(self, size: int) -> None:
        """Take more. Raises Overloaded when the bound is reached."""
        budget = self._budget
        if budget.used + size > budget.limit:
            raise budget.exhausted()
        budget.used += size
        self._taken += size

    def give(self, size: int) -> None:
        """Give some back early."""
        self._budget.used -= size
        self._taken -= size

    def give_all(self) -> None:
        """The request is over."""
        self._budget.used -= self._taken
        self._taken = 0

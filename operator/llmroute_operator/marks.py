"""Which namespaces are to be looked at, and when: the operator's queue. Pure, `now` is an argument.

A namespace is in the queue once, however many events marked it. One worker has it at a time. Events that come while it
is being worked on put it in again.
"""

import random

import msgspec

DEBOUNCE = 0.1
"""Seconds that a first event waits for others."""
APART = 0.5
"""Least seconds between two turns of a namespace."""
LONGEST_BACK_OFF = 60.0


class Turn(msgspec.Struct, frozen=True):
    """A namespace to be worked on now."""

    namespace: str
    fresh: bool
    """Something changed: what is known of the namespace must be read again."""
    waited: float
    """Seconds since it was due."""


class _Entry(msgspec.Struct):
    due: float | None = None
    dirty: bool = False
    working: float | None = None
    """Since when a worker has it."""
    ended: float = float("-inf")
    failures: int = 0
    held_until: float = float("-inf")


class Marks:
    """The queue."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._entries: dict[str, _Entry] = {}

    def mark(self, namespace: str, now: float) -> None:
        """Something in the namespace changed."""
        entry = self._entries.setdefault(namespace, _Entry())
        if not entry.dirty:
            entry.dirty = True
            entry.due = max(now + DEBOUNCE, entry.ended + APART, entry.held_until)

    def later(self, namespace: str, at: float) -> None:
        """Look at the namespace again, though nothing may have changed."""
        entry = self._entries.setdefault(namespace, _Entry())
        at = max(at, entry.ended + APART, entry.held_until)
        if entry.due is None or (at < entry.due and not entry.dirty):
            entry.due = at

    def take(self, now: float) -> Turn | None:
        """The namespace that is due and has waited longest."""
        due = [
            (entry.due, name)
            for name, entry in self._entries.items()
            if entry.due is not None and entry.due <= now and entry.working is None
        ]
        if not due:
            return None
        since, namespace = min(due)
        entry = self._entries[namespace]
        turn = Turn(namespace, entry.dirty, now - since)
        entry.due, entry.dirty, entry.working = None, False, now
        return turn

    def next(self) -> float | None:
        """When the next namespace is due; None if none is."""
        return min(
            (entry.due for entry in self._entries.values() if entry.due is not None and entry.working is None),
            default=None,
        )

    def done(self, namespace: str, now: float, again: float | None) -> None:
        """A turn ended well. `again`: seconds until the next look; None: forget the namespace if nothing marked it."""
        entry = self._entries[namespace]
        entry.working, entry.ended, entry.failures = None, now, 0
        entry.held_until = float("-inf")
        if entry.dirty:
            entry.due = max(entry.due or now, now + APART)
        elif again is not None:
            self.later(namespace, now + again)
        elif entry.due is None:
            del self._entries[namespace]

    def failed(self, namespace: str, now: float) -> float:
        """A turn failed: it is repeated after a back-off, whose seconds are returned."""
        entry = self._entries[namespace]
        entry.working, entry.ended = None, now
        entry.failures += 1
        wait = min(LONGEST_BACK_OFF, 2.0 ** (entry.failures - 1)) * self._rng.uniform(0.75, 1.25)
        entry.dirty, entry.held_until = True, now + wait
        entry.due = entry.held_until
        return wait

    def depth(self, now: float) -> int:
        """Namespaces that are due and have no worker."""
        return sum(
            1
            for entry in self._entries.values()
            if entry.due is not None and entry.due <= now and entry.working is None
        )

    def stuck(self, now: float) -> float:
        """Seconds that the oldest turn, or the oldest namespace without a worker, has been waiting to end."""
        return max(
            (
                now - (entry.working if entry.working is not None else entry.due)  # type: ignore[operator]
                for entry in self._entries.values()
                if entry.working is not None or (entry.due is not None and entry.due < now)
            ),
            default=0.0,
        )

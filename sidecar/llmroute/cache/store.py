"""Complete answers in memory, bounded in bytes and in age."""

from collections import OrderedDict

import msgspec

from llmroute.request import Usage

ENTRY_OVERHEAD = 512
"""Bytes that an entry takes besides its body: key, node and slot of the ordered table, the Entry itself, its Usage and
numbers: 420 to 460 by tracemalloc on CPython 3.11; the rest is the slack of the allocator."""

SWEEP_EVERY = 1.0
"""Seconds between looks for answers that are too old."""

LARGEST_SHARE = 4
"""An entry may take at most one part in this many of the bound, so that a single answer cannot empty the store."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One complete, successful answer in the app's dialect. `stored_at` is monotonic seconds."""

    body: bytes
    stream: bool
    """Whether `body` is a whole SSE stream; otherwise it is a JSON document."""
    target: str
    usage: Usage | None
    stored_at: float

    @property
    def size(self) -> int:
        """Bytes that the store accounts for the entry."""
        return len(self.body) + ENTRY_OVERHEAD


class Store:
    """Least recently used goes first; what is older than `ttl` seconds is never served."""

    __slots__ = ("_entries", "_sweep_at", "bytes", "hits", "max_bytes", "misses", "ttl")

    def __init__(self, *, max_bytes: int, ttl: float) -> None:
        self.max_bytes = max_bytes
        self.ttl = ttl
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._sweep_at = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Store {len(self)} entries, {self.bytes} of {self.max_bytes} bytes>"

    def get(self, key: bytes, now: float) -> Entry | None:
        """The answer, if it is there and young enough; counts a hit or a miss."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        if now - entry.stored_at >= self.ttl:
            self._drop(key)
            self.misses += 1
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return entry

    def put(self, key: bytes, entry: Entry) -> bool:
        """Keep the answer, in place of an older one with the same key; False if it is too large to be kept."""
        entries, most = self._entries, self.max_bytes
        if key in entries:
            self._drop(key)
        size = entry.size
        if size * LARGEST_SHARE > most:
            return False
        entries[key] = entry
        self.bytes = taken = self.bytes + size
        while taken > most:
            self.bytes = taken = taken - entries.popitem(last=False)[1].size
        now = entry.stored_at
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_EVERY
            self._sweep(now)
        return True

    def _sweep(self, now: float) -> None:
        # The eldest in order of use is not always the eldest of all, but what nobody asks for ends up here; so that
        # stale answers do not hold memory until the bound is reached.
        while self._entries:
            key, eldest = next(iter(self._entries.items()))
            if now - eldest.stored_at < self.ttl:
                return
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        self.bytes -= self._entries.pop(key).size

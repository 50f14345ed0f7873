"""Lines to a file descriptor, written by a thread of its own: a reader that stalls never stalls a request."""

import os
import threading
from collections import deque

STDOUT = 1
EVERY = 0.1
"""Seconds that a line may wait for others."""
CHUNK = 64 * 1024
"""Bytes that are written at once without waiting any longer."""
MOST_WAITING = 4 * 1024 * 1024
"""Bytes kept for a reader that stalls; lines beyond them are dropped and counted."""
LONGEST_CLOSE = 1.0
"""Seconds that closing waits for the last lines."""


class Writer:
    """Collects lines and writes them together. Any thread may write; lines are never torn or mixed.

    Without a lock: appending to and popping from a deque are atomic, and the two byte counters are each written by one
    side (several writing threads may miscount a little, which only blurs the bound).
    """

    def __init__(self, descriptor: int = STDOUT) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._taken = self._given = 0
        """Bytes accepted, and bytes written, ever."""
        self._dropped = 0
        self._some = threading.Event()
        self._many = threading.Event()
        self._called = False
        """The thread knows that there is something to write."""
        self._hurried = False
        """It knows, too, that there is much: telling it costs as much as the rest of taking a line, and more."""
        self._closing = False
        self._broken = False
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Take a line, with its line end; returns at once."""
        waiting = self._taken - self._given
        if waiting > CHUNK:
            if self._broken or waiting > MOST_WAITING:
                self._dropped += 1
                return
            if not self._hurried:
                self._hurried = True
                self._many.set()
        self._taken += len(line)
        self._lines.append(line)
        if not self._called:
            self._called = True
            self._some.set()

    def close(self) -> None:
        """Write what is left, as far as the reader takes it within a second."""
        self._closing = True
        self._some.set()
        self._many.set()
        self._thread.join(LONGEST_CLOSE)

    def _run(self) -> None:
        while not self._broken:
            self._some.wait()
            self._many.wait(EVERY)
            closing = self._closing
            self._some.clear()
            self._many.clear()
            self._called = self._hurried = False  # from here on a new line calls again
            self._flush()
            if closing:
                return

    def _flush(self) -> None:
        while self._lines and not self._broken:
            chunk, size = [], 0
            while self._lines and size < CHUNK:
                line = self._lines.popleft()
                chunk.append(line)
                size += len(line)
            dropped, self._dropped = self._dropped, 0
            if dropped:
                chunk.append(b'{"level":"warning","message":"%d log lines were dropped: nobody read them"}\n' % dropped)
            try:
                _write_all(self._descriptor, b"".join(chunk))
            except OSError:  # the reader is gone: nobody can be told
                self._broken = True
                self._lines.clear()
            self._given += size


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]

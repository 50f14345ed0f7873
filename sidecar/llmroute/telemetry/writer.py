"""Lines to a file descriptor, written by a thread of its own: a reader that stalls never stalls a request."""

import os
import threading

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
    """Collects lines and writes them together. Any thread may write; lines are never torn or mixed."""

    def __init__(self, descriptor: int = STDOUT) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self._some = threading.Event()
        self._many = threading.Event()
        self._closing = False
        self._broken = False
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Take a line, with its line end; returns at once."""
        with self._lock:
            if self._broken:
                return
            if self._size > MOST_WAITING:
                self._dropped += 1
                return
            first = not self._lines
            self._lines.append(line)
            before = self._size
            self._size = size = before + len(line)
        if first:
            self._some.set()
        if before < CHUNK <= size:
            self._many.set()

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
            self._flush()
            if closing:
                return

    def _flush(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
            self._size = 0
            dropped, self._dropped = self._dropped, 0
            self._some.clear()
            self._many.clear()
        if dropped:
            lines.append(b'{"level":"warning","message":"%d log lines were dropped: nobody read them"}\n' % dropped)
        try:
            _write_all(self._descriptor, b"".join(lines))
        except OSError:  # the reader is gone: nobody can be told
            self._broken = True


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]

"""What a provider remembers of what arrived, for tests and demos to look at. No credential leaves through it."""

import hashlib
from collections import deque
from typing import Any

from msgspec import Struct

from llmroute.simulator.connection import Request

_KEPT_REQUESTS = 100
_KEPT_BYTES = 64 * 1024 * 1024
_CREDENTIALS = {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie", b"proxy-authorization"}


class Stats(Struct, rename="camel"):
    """Counters since the start of the fleet."""

    requests: int = 0
    in_flight: int = 0
    serving: int = 0
    """Requests in a slot of the batch engine."""
    queued: int = 0
    """Requests that wait for one."""
    cancelled: int = 0
    """Answers during which the client hung up."""
    bodies: int = 0
    body_bytes: int = 0
    connections_opened: int = 0
    connections_open: int = 0
    statuses: dict[str, int] = {}
    """HTTP status to count of answers begun."""
    last_headers: tuple[tuple[str, str], ...] = ()


class Records:
    """The counters and the last requests of one provider."""

    def __init__(self) -> None:
        self.stats = Stats()
        self._last: deque[Request] = deque()
        self._kept = 0

    def arrived(self, request: Request) -> None:
        """Counts a request and keeps it among the last."""
        self.stats.requests += 1
        if request.size:
            self.stats.bodies += 1
            self.stats.body_bytes += request.size
        self._last.append(request)
        self._kept += len(request.body)
        while self._kept > _KEPT_BYTES or len(self._last) > _KEPT_REQUESTS:
            self._kept -= len(self._last.popleft().body)

    def began(self, status: int) -> None:
        """An answer with this status begins."""
        name = str(status)
        self.stats.statuses[name] = self.stats.statuses.get(name, 0) + 1

    @property
    def last(self) -> list[Request]:
        """The last requests as they came, oldest first; credentials included."""
        return list(self._last)

    def report(self) -> Stats:
        """The counters, with the headers of the last request."""
        if self._last:
            self.stats.last_headers = redacted(self._last[-1])
        return self.stats

    def last_requests(self, count: int) -> list[dict[str, Any]]:
        """The last requests, oldest first, to be written as JSON; a body that is not UTF-8 loses what is not."""
        return [
            {
                "method": request.method,
                "path": request.path,
                "query": request.query,
                "headers": redacted(request),
                "body": request.body.decode(errors="replace"),
                "size": request.size,
            }
            for request in list(self._last)[-count:]
        ]


def redacted(request: Request) -> tuple[tuple[str, str], ...]:
    """Headers; of credentials only what tells one from another."""
    return tuple(
        (name.decode("latin-1"), fingerprint(value) if name in _CREDENTIALS else value.decode("latin-1"))
        for name, value in request.fields
    )


def fingerprint(credential: bytes) -> str:
    """`***` and 8 hex digits of the value's SHA-256: enough to see that a key was rotated, too little to find it."""
    return f"*** {hashlib.sha256(credential).hexdigest()[:8]}"

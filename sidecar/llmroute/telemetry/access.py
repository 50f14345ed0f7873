"""The access log: one JSON line a request. Never a prompt, never a key: the fields are these and no others."""

import math
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from llmroute.request import RequestEnded
from llmroute.telemetry.meter import outcome_of
from llmroute.telemetry.writer import Writer

TICK = 0.001
"""Seconds within which all lines bear the same time: asking for it costs as much as a quarter of the line."""
LONGEST = 256
"""Characters kept of what a client chose: model name and request id."""
KINDS = 1024
"""Most lines differ from others in their numbers only: of so many kinds the rest is remembered, half of the price."""

_encode = msgspec.json.Encoder().encode


class Kind(msgspec.Struct, omit_defaults=True):
    """What many requests have in common; absent where it does not apply."""

    level: str
    event: str
    outcome: str
    status: int
    route: str = ""
    model: str = ""
    operation: str = ""
    stream: bool = False
    target: str = ""
    reason: str = ""
    attempts: str = ""
    error: str = ""
    cache: str = ""


class Line(msgspec.Struct, omit_defaults=True):
    """What is logged of one request besides its time and kind. Milliseconds; absent where it does not apply."""

    request_id: str
    total_ms: float
    ttft_ms: float | None = None
    overhead_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None


class AccessLog:
    """Writes one line a request."""

    def __init__(self, writer: Writer) -> None:
        self._write = writer.write
        self._time = b""
        self._until = -math.inf

    def record(self, ended: RequestEnded) -> None:
        """One request has ended."""
        if not self._until - TICK <= ended.at < self._until:
            self._time = _encode(datetime.now(UTC))
            self._until = ended.at + TICK
        operation = ended.operation
        kind = _kind(
            (
                ended.status,
                ended.route,
                ended.model[:LONGEST],
                "" if operation is None else operation.label,
                ended.stream,
                ended.target,
                ended.reason,
                ended.attempts,
                ended.error,
                ended.cache,
            )
        )
        total, ttft, overhead, usage = ended.total, ended.ttft, ended.overhead, ended.usage
        line = Line(
            ended.id[:LONGEST],
            (total * 1e6 + 0.5) // 1.0 / 1e3,  # milliseconds with three digits
            None if ttft is None else (ttft * 1e6 + 0.5) // 1.0 / 1e3,
            None if overhead is None else (overhead * 1e6 + 0.5) // 1.0 / 1e3,
            None if usage is None else usage.input,
            None if usage is None else usage.output,
            None if usage is None else usage.cached_input,
        )
        try:
            numbers = _encode(line)
        except UnicodeEncodeError:
            line.request_id = _printable(line.request_id)
            numbers = _encode(line)
        self._write(b'{"time":%b,%b,%b\n' % (self._time, kind, numbers[1:]))


@lru_cache(KINDS)
def _kind(fields: tuple[int, str, str, str, bool, str, str, str, str, str]) -> bytes:
    """A Kind from its status on, as members of a JSON object."""
    status, error = fields[0], fields[8]
    level = "error" if status >= 500 or (status < 400 and error) else "info"  # cut, after it had begun
    kind = Kind(level, "request", outcome_of(status, error), *fields)
    try:
        return _encode(kind)[1:-1]
    except UnicodeEncodeError:
        kind.model = _printable(kind.model)
        return _encode(kind)[1:-1]


def _printable(text: str) -> str:
    """Half a surrogate pair can come out of JSON, and cannot go into it."""
    return text.encode("utf-8", "backslashreplace").decode()

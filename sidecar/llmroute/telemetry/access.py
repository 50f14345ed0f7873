"""The access log: one JSON line a request. Never a prompt, never a key: the fields are these and no others."""

import math
from datetime import UTC, datetime

import msgspec

from llmroute.request import RequestEnded
from llmroute.telemetry.writer import Writer

TICK = 0.001
"""Seconds within which all lines bear the same time: asking for it costs as much as a quarter of the line."""
LONGEST = 256
"""Characters kept of what a client chose: model name and request id."""


class Line(msgspec.Struct, omit_defaults=True):
    """What is logged of one request. Milliseconds; absent where it does not apply."""

    time: datetime
    level: str
    event: str
    request_id: str
    outcome: str
    status: int
    total_ms: float
    route: str = ""
    model: str = ""
    operation: str = ""
    stream: bool = False
    target: str = ""
    reason: str = ""
    attempts: str = ""
    error: str = ""
    cache: str = ""
    ttft_ms: float | None = None
    overhead_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None


class AccessLog:
    """Writes one line a request."""

    def __init__(self, writer: Writer) -> None:
        self._write = writer.write
        self._encode = msgspec.json.Encoder().encode
        self._time = datetime.now(UTC)
        self._until = -math.inf

    def record(self, ended: RequestEnded, outcome: str) -> None:
        """One request has ended, as `outcome_of` says."""
        operation, usage, status = ended.operation, ended.usage, ended.status
        ttft, overhead = ended.ttft, ended.overhead
        if not self._until - TICK <= ended.at < self._until:
            self._time = datetime.now(UTC)
            self._until = ended.at + TICK
        line = Line(
            self._time,
            "error" if status >= 500 or (status < 400 and ended.error) else "info",  # cut, after it had begun
            "request",
            ended.id[:LONGEST],
            outcome,
            status,
            (ended.total * 1e6 + 0.5) // 1.0 / 1e3,  # milliseconds with three digits
            ended.route,
            ended.model[:LONGEST],
            "" if operation is None else operation.label,
            ended.stream,
            ended.target,
            ended.reason,
            ended.attempts,
            ended.error,
            ended.cache,
            None if ttft is None else (ttft * 1e6 + 0.5) // 1.0 / 1e3,
            None if overhead is None else (overhead * 1e6 + 0.5) // 1.0 / 1e3,
        )
        if usage is not None:
            line.input_tokens = usage.input
            line.output_tokens = usage.output
            line.cached_tokens = usage.cached_input
        try:
            self._write(self._encode(line) + b"\n")
        except UnicodeEncodeError:  # half a surrogate pair can come out of JSON, and cannot go into it
            line.model, line.request_id = _printable(line.model), _printable(line.request_id)
            self._write(self._encode(line) + b"\n")


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()

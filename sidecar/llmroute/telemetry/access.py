"""The access log: one JSON line a request. Never a prompt, never a key: the fields are these and no others."""

from datetime import UTC, datetime

import msgspec

from llmroute.request import RequestEnded
from llmroute.telemetry.meter import outcome_of
from llmroute.telemetry.writer import Writer

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
        self._encoder = msgspec.json.Encoder()
        self._line = bytearray()

    def record(self, ended: RequestEnded) -> None:
        """One request has ended."""
        operation, usage, status = ended.operation, ended.usage, ended.status
        line = Line(
            datetime.now(UTC),
            "error" if status >= 500 else "info",
            "request",
            ended.id[:LONGEST],
            outcome_of(ended),
            status,
            _milliseconds(ended.total),
            ended.route,
            ended.model[:LONGEST],
            "" if operation is None else operation.label,
            ended.stream,
            ended.target,
            ended.reason,
            ended.attempts,
            ended.error,
            ended.cache,
            None if ended.ttft is None else _milliseconds(ended.ttft),
            None if ended.overhead is None else _milliseconds(ended.overhead),
        )
        if usage is not None:
            line.input_tokens = usage.input
            line.output_tokens = usage.output
            line.cached_tokens = usage.cached_input
        self._write(self._encoder.encode(line) + b"\n")


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000.0, 3)

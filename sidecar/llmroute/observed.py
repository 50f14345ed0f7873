"""What an attempt taught us, read off at its end: its instants as the parts of its latency."""

from typing import TYPE_CHECKING

from llmroute.request import Observation, Outcome, Timings

if TYPE_CHECKING:
    from llmroute.exchange import Exchange

_OK = Outcome.OK  # see learning


def observation_of(exchange: "Exchange", outcome: Outcome, now: float, retry_after: float | None) -> Observation:
    """The one Observation of an attempt that ends at `now`, monotonic."""
    request, response, reader = exchange.request, exchange.response, exchange.reader
    headers = ttft = generation = total = None
    connect = 0.0
    if response is not None:
        written, connect = response.written_at, response.connect
        if response.headers_at is not None:
            headers = response.headers_at - written
        ended = response.last_byte_at if exchange.complete else now
        first_at = exchange.first_content_at
        if first_at is not None:
            ttft = first_at - written
            generation = max(0.0, ended - first_at - exchange.stalled)
        if outcome is _OK:
            total = max(0.0, ended - written - exchange.stalled)
    usage, failure, since = reader.usage, exchange.failure, exchange.waits_since
    return Observation(  # by position: a dozen keywords cost a third more
        exchange.target.name,
        request.operation,
        request.peek.stream,
        request.peek.prompt_tokens,
        outcome,
        Timings(exchange.queued, connect, headers, ttft, generation, total),
        now,
        usage,
        usage.output if usage is not None else reader.content_frames,
        now - since if since else 0.0,
        retry_after,
        response.status if response is not None and headers is not None else 0,
        failure is not None and failure.eject,
    )

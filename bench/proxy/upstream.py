"""The mock upstream: an OpenAI chat completions endpoint that answers at once and always the same.

Raw protocols on uvloop and httptools, because it must be much quicker than anything measured. It does not read
the body except for `"stream":true` near its start or end, which is where every peer's encoder puts it.
`GET /` answers with the number of completions begun, by which the benchmark knows that no cache answered.

A stream is 64 content events, one that finishes, and `[DONE]`. Four events go out in one write and each write
waits for the next turn of the loop, so that streams interleave: providers too put several events into one TLS
record, and with a write for each event the mock itself would be the slowest part (2,000 streams a second
beside the load generator on one core, against 9,000).
"""

import argparse
import asyncio
import gc
import json
from typing import cast

import httptools
import uvloop

from bench.proxy.cases import UPSTREAM_MODEL

STREAM_EVENTS = 64
ANSWER_TEXT = "Book a berth early, bring water and a warm coat, and keep the window for the lagoon at dawn. " * 3
_IDENTITY: dict[str, object] = {"id": "chatcmpl-bench", "created": 1767225600, "model": UPSTREAM_MODEL}
_HEADERS = b"x-request-id: req_bench\r\nopenai-processing-ms: 1\r\nx-ratelimit-remaining-requests: 9999\r\n"
_STREAM_FLAGS = (b'"stream":true', b'"stream": true')


def stream_tokens() -> list[str]:
    """The content of each of the 64 events."""
    return [f"token {number} " for number in range(STREAM_EVENTS)]


def json_response() -> bytes:
    message = {"role": "assistant", "content": ANSWER_TEXT, "refusal": None}
    body = json.dumps(
        {
            **_IDENTITY,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 40, "completion_tokens": STREAM_EVENTS, "total_tokens": 104},
        }
    ).encode()
    return _plain_response(body)


def stream_response(events_per_write: int) -> list[bytes]:
    """The writes that make up a streamed answer, chunked; the first carries the response's head."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"content": token}, None) for token in stream_tokens()]
    deltas[0] = ({"role": "assistant", **deltas[0][0]}, None)
    events = [_event(delta, finish) for delta, finish in [*deltas, ({}, "stop")]]
    writes = [b"".join(events[at : at + events_per_write]) for at in range(0, len(events), events_per_write)]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%stransfer-encoding: chunked\r\n\r\n" % _HEADERS
    writes[0] = head + writes[0]
    writes[-1] += _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return writes


def _event(delta: dict[str, str], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    event = {**_IDENTITY, "object": "chat.completion.chunk", "choices": [choice]}
    return _chunk(b"data: %s\n\n" % json.dumps(event, separators=(",", ":")).encode())


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def _plain_response(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n"
    return head % (_HEADERS, len(body)) + body


class Answers:
    """What every connection sends, and how many completions were begun."""

    def __init__(self, events_per_write: int) -> None:
        self.plain = json_response()
        self.writes = stream_response(events_per_write)
        self.begun = 0


class Upstream(asyncio.Protocol):
    """One connection from a peer; requests on it come one after the other."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._parser = httptools.HttpRequestParser(self)
        self._call_soon = asyncio.get_running_loop().call_soon
        self._transport: asyncio.Transport
        self._first_read = b""
        self._last_read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only

    def data_received(self, data: bytes) -> None:
        if not self._first_read:
            self._first_read = data
        self._last_read = data
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        first, last = self._first_read, self._last_read
        self._first_read = b""
        if first.startswith(b"GET "):
            self._transport.write(_plain_response(b'{"begun": %d}' % self._answers.begun))
            return
        self._answers.begun += 1
        if _asks_for_stream(first[:1500], last[-500:]):
            self._write_from(0)
        else:
            self._transport.write(self._answers.plain)

    def _write_from(self, number: int) -> None:
        if self._transport.is_closing():
            return
        writes = self._answers.writes
        self._transport.write(writes[number])
        if number + 1 < len(writes):
            self._call_soon(self._write_from, number + 1)


def _asks_for_stream(start: bytes, end: bytes) -> bool:
    return any(flag in end or flag in start for flag in _STREAM_FLAGS)


async def serve(port: int, events_per_write: int) -> None:
    answers = Answers(events_per_write)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(answers), "127.0.0.1", port, backlog=1024)
    gc.freeze()
    gc.disable()
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="The mock upstream of the proxy benchmark.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--events-per-write", type=int, default=4)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.events_per_write))


if __name__ == "__main__":
    main()

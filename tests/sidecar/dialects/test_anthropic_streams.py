"""Messages streams, relayed to an app of their own dialect."""

from typing import Any

import pytest
from tests.sidecar.dialects.world import ANTHROPIC, dumps, event, feed_all, messages

from llmroute import dialects
from llmroute.dialects import AnswerReader
from llmroute.errors import StreamBroken
from llmroute.request import Outcome, Usage

USAGE = {"input_tokens": 25, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 7, "output_tokens": 1}
START = event("message_start", message={"id": "msg_1", "type": "message", "content": [], "usage": USAGE})
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
PING = event("ping")
HI = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"})
CLOSE = event("content_block_stop", index=0)
DELTA = event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 15})
STOP = event("message_stop")


def reader() -> AnswerReader:
    return dialects.answer_reader(messages(stream=True), ANTHROPIC)


def test_a_message_streams_through_untouched() -> None:
    stream = reader()
    opening = [START, BLOCK, PING]
    assert [stream.feed(frame) for frame in opening] == opening
    assert not stream.first_content
    rest = [HI, HI + HI, CLOSE, DELTA, STOP]
    assert feed_all(stream, *rest) == b"".join(rest)
    assert (stream.ended, stream.finish) == (True, "stop")


def test_input_includes_cached_tokens_and_cumulative_counts_are_not_summed() -> None:
    stream = reader()
    more = event("message_delta", delta={}, usage={"output_tokens": 8})
    last = event("message_delta", delta={"stop_reason": "max_tokens"}, usage={"output_tokens": 15, "input_tokens": 0})
    feed_all(stream, START, BLOCK, HI, CLOSE, more, last, STOP)
    assert stream.usage == Usage(input=107, output=15, cached_input=100, cache_written=7)
    assert stream.finish == "length"


@pytest.mark.parametrize(
    "frame",
    [
        event("content_block_start", index=0, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}}),
        event("content_block_start", index=0, content_block={"type": "redacted_thinking", "data": "xyz"}),
        event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
        event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": "{"}),
        HI,
    ],
)
def test_text_thinking_and_tools_are_content(frame: bytes) -> None:
    stream = reader()
    stream.feed(START + frame)
    assert (stream.first_content, stream.content_frames) == (True, 1)


@pytest.mark.parametrize(
    "frame",
    [
        PING,
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
        event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "abc"}),
        event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": ""}),
        event("an_event_of_tomorrow", whatever=[1]),
        b": comment\n\n",
    ],
)
def test_the_rest_is_relayed_but_no_content(frame: bytes) -> None:
    stream = reader()
    assert stream.feed(START + frame) == START + frame
    assert not stream.first_content


@pytest.mark.parametrize("before", [[], [START], [START, BLOCK, HI], [START, BLOCK, HI, HI]])
def test_an_error_event_is_a_failure_and_is_held_back(before: list[bytes]) -> None:
    stream = reader()
    error = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    assert feed_all(stream, *before, error, STOP) == b"".join(before)
    assert stream.failure is not None
    assert (stream.failure.outcome, stream.failure.failover) == (Outcome.OVERLOADED, True)


@pytest.mark.parametrize("reads", [[], [START], [START, BLOCK, HI], [START, BLOCK, HI, CLOSE, DELTA]])
def test_without_message_stop_it_is_cut(reads: list[bytes]) -> None:
    with pytest.raises(StreamBroken):
        feed_all(reader(), *reads)


@pytest.mark.parametrize("before", [[START], [START, BLOCK, HI, HI]])
def test_a_frame_that_is_not_json_breaks_the_stream(before: list[bytes]) -> None:
    with pytest.raises(StreamBroken, match="JSON"):
        feed_all(reader(), *before, b'event: content_block_delta\ndata: {"type": "content_bl\n\n')


def test_a_known_event_of_another_shape_is_relayed() -> None:
    odd = event("content_block_delta", index=0, delta="of another shape")
    assert reader().feed(START + odd) == START + odd


def test_text_that_looks_like_the_wire_format_is_text() -> None:
    stream = reader()
    text = '"message_stop" "error"\n\nevent: error\ndata: {"type":"message_stop"}\n\n'
    trap = event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    reads = [START, HI, trap, trap + trap]
    assert b"".join([stream.feed(read) for read in reads]) == b"".join(reads)
    assert (stream.ended, stream.failure) == (False, None)


def answered(**members: Any) -> tuple[AnswerReader, bytes]:
    body = dumps({"id": "msg_1", "type": "message", "content": [], "usage": USAGE, **members})
    whole = dialects.answer_reader(messages(), ANTHROPIC)
    assert whole.feed(body[:20]) == b""
    assert whole.feed(body[20:]) == b""
    assert not whole.first_content
    assert whole.close() == body
    return whole, body


def test_a_complete_message_passes_through_with_its_usage() -> None:
    whole, _ = answered(stop_reason="tool_use")
    assert whole.usage == Usage(input=132, output=1, cached_input=100, cache_written=7)
    assert (whole.first_content, whole.ended, whole.finish, whole.content_frames) == (True, True, "tool_calls", 0)


def test_an_error_body_in_a_200_is_a_failure() -> None:
    whole, _ = answered(type="error", error={"type": "overloaded_error", "message": "Overloaded"})
    assert whole.failure is not None
    assert whole.failure.outcome is Outcome.OVERLOADED
    assert not whole.ended

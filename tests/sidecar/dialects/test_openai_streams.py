"""Chat, completions and responses streams of real providers, relayed to an app of their own dialect."""

from typing import Any

import pytest
from tests.sidecar.dialects.world import (
    DONE,
    OPENAI,
    chat,
    chunk,
    data,
    dumps,
    event,
    feed_all,
    raw_request,
    usage_chunk,
)

from llmroute import dialects
from llmroute.dialects import AnswerReader
from llmroute.errors import StreamBroken
from llmroute.request import Operation, Outcome, Usage

ROLE = chunk({"role": "assistant", "content": "", "refusal": None})
HI = chunk({"content": "Hi"})
STOP = chunk(finish="stop")


def reader(**members: Any) -> AnswerReader:
    return dialects.answer_reader(chat(stream=True, **members), OPENAI)


def asking_for_usage() -> AnswerReader:
    return reader(stream_options={"include_usage": True})


@pytest.mark.parametrize(
    "frame",
    [
        ROLE,
        b": OPENROUTER PROCESSING\n\n",
        data({"id": "", "object": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),  # Azure's first
        chunk({"content": None}),
        chunk({"tool_calls": []}),
        chunk({"tool_calls": ["of another shape"]}),
        chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"arguments": ""}}]}),
        usage_chunk(prompt_tokens=1, completion_tokens=0),
        chunk({}),
        data({"unknown": True}),
        data({"choices": "of another shape"}),
        b"event: ping\n\n",
        b"\n\n",
    ],
)
def test_a_frame_without_content_is_no_first_content(frame: bytes) -> None:
    stream = asking_for_usage()
    assert stream.feed(frame) == frame
    assert (stream.first_content, stream.content_frames, stream.failure) == (False, 0, None)


@pytest.mark.parametrize(
    "delta",
    [
        {"content": " "},
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"refusal": "I will not"},
        {"audio": {"id": "a", "data": "AAAA"}},
        {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"tool_calls": [{"index": 0, "custom": {"name": "f"}}]},
        {"function_call": {"name": "f"}},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},  # Mistral
    ],
)
def test_text_reasoning_refusal_audio_and_tools_are_content(delta: dict[str, Any]) -> None:
    stream = reader()
    stream.feed(ROLE)
    assert stream.feed(chunk(delta)) == chunk(delta)
    assert (stream.first_content, stream.content_frames) == (True, 1)


def test_completions_say_text() -> None:
    stream = dialects.answer_reader(raw_request(Operation.COMPLETIONS, dumps({"model": "m", "stream": True})), OPENAI)
    stream.feed(data({"object": "text_completion", "choices": [{"index": 0, "text": "", "finish_reason": None}]}))
    assert not stream.first_content
    stream.feed(data({"object": "text_completion", "choices": [{"index": 0, "text": "a", "finish_reason": None}]}))
    assert stream.first_content


def test_the_added_usage_chunk_is_taken_out_again() -> None:
    stream = reader()
    counted = usage_chunk(prompt_tokens=9, completion_tokens=2, prompt_tokens_details={"cached_tokens": 4})
    assert feed_all(stream, ROLE, HI, STOP, counted, DONE) == ROLE + HI + STOP + DONE
    assert stream.usage == Usage(input=9, output=2, cached_input=4)
    assert (stream.ended, stream.finish) == (True, "stop")


def test_it_stays_if_the_app_asked_for_it() -> None:
    counted = usage_chunk(prompt_tokens=9, completion_tokens=2)
    assert feed_all(asking_for_usage(), ROLE, HI, STOP, counted, DONE) == ROLE + HI + STOP + counted + DONE


def test_usage_that_comes_with_content_or_the_finish_is_never_taken_out() -> None:
    """Gemini counts in every chunk, Groq and xAI in the last one: the counts are cumulative, not to be summed."""
    stream = reader()
    first = chunk({"content": "a"}, usage={"prompt_tokens": 5, "completion_tokens": 1})
    last = chunk({"content": "b"}, "stop", usage={"prompt_tokens": 5, "completion_tokens": 7})
    assert feed_all(stream, first, last, DONE) == first + last + DONE
    assert stream.usage == Usage(input=5, output=7)


def test_zero_tokens_are_a_number_and_null_is_none() -> None:
    stream = reader()
    feed_all(stream, HI, STOP, usage_chunk(prompt_tokens=0, completion_tokens=0), DONE)
    assert stream.usage == Usage(input=0, output=0)
    stream = reader()
    feed_all(stream, chunk({"content": "a"}, usage=None), chunk(finish="stop", usage=None), DONE)
    assert stream.usage is None


def test_text_that_looks_like_the_wire_format_is_text() -> None:
    stream = reader()
    trap = chunk({"content": 'data: [DONE]\n\n{"error": {"message": "x"}, "usage": {"prompt_tokens": 1}}'})
    assert feed_all(stream, ROLE, HI, trap, trap + trap, STOP, DONE) == ROLE + HI + trap * 3 + STOP + DONE
    assert (stream.usage, stream.failure, stream.ended) == (None, None, True)


@pytest.mark.parametrize("before", [[], [ROLE], [ROLE, HI], [ROLE, HI, HI]])
def test_an_error_in_a_200_is_a_failure_and_is_held_back(before: list[bytes]) -> None:
    stream = reader()
    error = data({"error": {"message": "The server had an error", "type": "server_error", "code": None}})
    assert feed_all(stream, *before, error, HI, DONE) == b"".join(before)
    assert stream.failure is not None
    assert (stream.failure.outcome, stream.failure.failover) == (Outcome.SERVER_ERROR, True)
    assert stream.failure.message == "The server had an error"
    assert not stream.ended


def test_what_came_before_an_error_in_one_read_is_relayed() -> None:
    stream = reader()
    assert stream.feed(ROLE + HI + data({"error": "overloaded"}) + HI) == ROLE + HI
    assert stream.failure is not None
    assert stream.failure.outcome is Outcome.OVERLOADED


def test_openrouter_puts_an_error_beside_choices() -> None:
    stream = reader()
    error = chunk({"content": ""}, "error", error={"code": 429, "message": "Rate limited upstream"})
    feed_all(stream, ROLE, error)
    assert stream.failure is not None
    assert stream.failure.outcome is Outcome.RATE_LIMITED


@pytest.mark.parametrize(
    "body", [{"error": {"message": "no", "code": "rate_limit_exceeded"}}, [{"error": {"code": 429}}]]
)
def test_an_error_body_instead_of_a_stream_is_a_failure(body: Any) -> None:
    stream = reader()
    assert feed_all(stream, dumps(body)) == b""
    assert stream.failure is not None
    assert stream.failure.outcome is Outcome.RATE_LIMITED


def test_another_body_instead_of_a_stream_is_broken() -> None:
    with pytest.raises(StreamBroken):
        feed_all(reader(), b'{"id": "chatcmpl-1", "choices": []}')
    with pytest.raises(StreamBroken):
        feed_all(reader(), b"")


@pytest.mark.parametrize("reads", [[ROLE], [ROLE, HI], [ROLE, HI, HI[:40]], [ROLE, HI, STOP[:-30]]])
def test_a_stream_that_is_cut_does_not_end_cleanly(reads: list[bytes]) -> None:
    stream = reader()
    with pytest.raises(StreamBroken):
        feed_all(stream, *reads)
    assert not stream.ended


@pytest.mark.parametrize("reads", [[ROLE, HI, STOP], [ROLE + HI + STOP], [ROLE, HI, HI + STOP], [ROLE, HI, STOP[:-2]]])
def test_a_close_after_the_finish_is_a_clean_end_without_its_mark(reads: list[bytes]) -> None:
    stream = reader()
    relayed = feed_all(stream, *reads)
    assert relayed.endswith(STOP + DONE)
    assert (stream.ended, stream.finish) == (True, "stop")


def test_a_clean_end_commits_an_empty_answer() -> None:
    stream = reader()
    assert feed_all(stream, ROLE, STOP, DONE) == ROLE + STOP + DONE
    assert (stream.first_content, stream.content_frames) == (True, 0)


@pytest.mark.parametrize("end", [b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\r\n", b"data: [DONE]\r\n\r\n"])
def test_the_end_mark_may_lack_its_blank_line(end: bytes) -> None:
    stream = reader()
    assert b"[DONE]" in feed_all(stream, ROLE, HI, STOP, end)
    assert stream.ended


@pytest.mark.parametrize("before", [[], [HI], [HI, HI]])
def test_a_frame_that_is_not_json_breaks_the_stream(before: list[bytes]) -> None:
    stream = reader()
    with pytest.raises(StreamBroken, match="JSON"):
        feed_all(stream, *before, b'data: {"choices": [{"delta": {"con\n\n', DONE)


def test_crlf_streams_pass_as_they_are() -> None:
    stream = reader()
    frames = [frame.replace(b"\n\n", b"\r\n\r\n") for frame in (ROLE, HI, HI, STOP, DONE)]
    assert feed_all(stream, *frames) == b"".join(frames)
    assert (stream.ended, stream.content_frames, stream.finish) == (True, 3, "stop")


def test_nothing_is_relayed_after_the_end() -> None:
    stream = reader()
    assert feed_all(stream, HI, STOP, DONE + HI, HI) == HI + STOP + DONE


CREATED = event("response.created", sequence_number=0, response={"id": "resp_1", "error": None, "usage": None})
ADDED = event("response.output_item.added", output_index=0, item={"type": "message", "content": []})
TEXT = event("response.output_text.delta", output_index=0, content_index=0, delta="Hi")


def responses() -> AnswerReader:
    asked = {"model": "m", "input": "x", "stream": True}
    return dialects.answer_reader(raw_request(Operation.RESPONSES, dumps(asked)), OPENAI)


def test_a_response_streams_through_with_its_usage() -> None:
    counts = {"input_tokens": 7, "input_tokens_details": {"cached_tokens": 2}, "output_tokens": 3}
    completed = event("response.completed", response={"id": "resp_1", "status": "completed", "usage": counts})
    stream = responses()
    assert stream.feed(CREATED + ADDED) == CREATED + ADDED
    assert not stream.first_content
    assert feed_all(stream, TEXT, TEXT + TEXT, completed) == TEXT * 3 + completed
    assert stream.usage == Usage(input=7, output=3, cached_input=2)
    assert (stream.ended, stream.finish, stream.content_frames) == (True, "stop", 3)


@pytest.mark.parametrize(
    "frame",
    [
        event("response.reasoning_summary_text.delta", delta="hm"),
        event("response.refusal.delta", delta="no"),
        event("response.function_call_arguments.delta", delta="{"),
        event("response.output_item.added", item={"type": "function_call", "name": "f", "arguments": ""}),
    ],
)
def test_reasoning_refusal_and_tools_of_a_response_are_content(frame: bytes) -> None:
    stream = responses()
    stream.feed(CREATED + frame)
    assert stream.first_content


def test_an_incomplete_response_ends_cleanly() -> None:
    stream = responses()
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    feed_all(stream, CREATED, TEXT, event("response.incomplete", response=cut))
    assert (stream.ended, stream.finish) == (True, "length")


@pytest.mark.parametrize(
    "frame",
    [
        event("response.failed", response={"error": {"code": "rate_limit_exceeded", "message": "slow"}}),
        event("error", code="rate_limit_exceeded", message="slow", param=None, sequence_number=3),
        event("error", error={"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "slow"}),
    ],
)
@pytest.mark.parametrize("before", [[CREATED], [CREATED, TEXT]])
def test_a_failed_response_is_a_failure(frame: bytes, before: list[bytes]) -> None:
    stream = responses()
    assert feed_all(stream, *before, frame) == b"".join(before)
    assert stream.failure is not None
    assert (stream.failure.outcome, stream.failure.message) == (Outcome.RATE_LIMITED, "slow")


def test_a_response_may_end_as_chats_do_and_may_be_filtered() -> None:
    stream = responses()
    assert feed_all(stream, CREATED, TEXT, DONE) == CREATED + TEXT + DONE
    assert stream.ended
    stream = responses()
    filtered = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    feed_all(stream, CREATED, TEXT, event("response.incomplete", response=filtered))
    assert stream.finish == "content_filter"


def test_a_known_event_of_another_shape_is_relayed() -> None:
    odd = event("response.completed", response="of another shape")
    assert responses().feed(CREATED + odd) == CREATED + odd


def test_a_response_that_is_cut_is_broken() -> None:
    with pytest.raises(StreamBroken):
        feed_all(responses(), CREATED, TEXT)

"""Streams of a target of the other dialect, as the official SDKs of the app's dialect read them."""

from typing import Any

import pytest
from anthropic.types import RawMessageStreamEvent
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter
from tests.sidecar.dialects.world import (
    ANTHROPIC,
    CREATED,
    DONE,
    OPENAI,
    chat,
    chunk,
    data,
    event,
    feed_all,
    frames_of,
    messages,
    usage_chunk,
)

from llmroute import dialects
from llmroute.dialects import AnswerReader
from llmroute.errors import StreamBroken
from llmroute.request import Outcome, Usage

EVENTS: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)

COUNTS = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 3}
START = event("message_start", message={"id": "msg_1", "model": "claude-sonnet-4-5", "content": [], "usage": COUNTS})
PING = event("ping")
STOP = event("message_stop")


def block(index: int, kind: str = "text", **members: Any) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind, **members})


def delta(index: int, kind: str = "text_delta", **members: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **members})


def close(index: int) -> bytes:
    return event("content_block_stop", index=index)


def finish(reason: str, output: int = 7, **members: Any) -> bytes:
    stopped = {"stop_reason": reason, "stop_sequence": None, **members}
    return event("message_delta", delta=stopped, usage={"output_tokens": output})


TEXT = [block(0, text=""), delta(0, text="Hel"), PING, delta(0, text="lo"), close(0)]
TOOLS = [
    block(1, "tool_use", id="toolu_1", name="weather", input={}),
    delta(1, "input_json_delta", partial_json=""),
    delta(1, "input_json_delta", partial_json='{"city":'),
    delta(1, "input_json_delta", partial_json='"Rome"}'),
    close(1),
    block(2, "tool_use", id="toolu_2", name="now", input={}),
    close(2),
]


def chat_reader(**members: Any) -> AnswerReader:
    return dialects.answer_reader(chat(stream=True, **members), ANTHROPIC)


def as_chunks(reader: AnswerReader, *reads: bytes) -> list[ChatCompletionChunk]:
    *chunks, end = frames_of(feed_all(reader, *reads))
    assert end == "[DONE]"
    return [ChatCompletionChunk.model_validate(one) for one in chunks]


def test_a_message_stream_for_an_openai_app() -> None:
    reader = chat_reader()
    chunks = as_chunks(reader, START, *TEXT, finish("end_turn"), STOP)
    assert {chunk.created for chunk in chunks} == {CREATED}
    assert [c.choices[0].delta.content for c in chunks] == ["", "Hel", "lo", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks] == [None, None, None, "stop"]
    assert {(c.id, c.model) for c in chunks} == {("msg_1", "claude-sonnet-4-5")}
    assert reader.usage == Usage(input=113, output=7, cached_input=100, cache_written=3)
    assert (reader.ended, reader.finish, reader.content_frames) == (True, "stop", 2)


def test_its_usage_goes_out_last_if_the_app_asked() -> None:
    chunks = as_chunks(chat_reader(stream_options={"include_usage": True}), START, *TEXT, finish("max_tokens"), STOP)
    counted = chunks[-1]
    assert counted.choices == [] and counted.usage is not None and counted.usage.prompt_tokens_details is not None
    assert (counted.usage.prompt_tokens, counted.usage.completion_tokens) == (113, 7)
    assert counted.usage.prompt_tokens_details.cached_tokens == 100
    assert chunks[-2].choices[0].finish_reason == "length"


def test_parallel_tool_calls_for_an_openai_app() -> None:
    chunks = as_chunks(chat_reader(), START, *TEXT, *TOOLS, finish("tool_use"), STOP)
    pieces = [call for c in chunks for call in c.choices[0].delta.tool_calls or ()]
    told = [(c.index, c.id, c.function and c.function.name, c.function and c.function.arguments) for c in pieces]
    assert told == [
        (0, "toolu_1", "weather", ""),
        (0, None, None, '{"city":'),
        (0, None, None, '"Rome"}'),
        (1, "toolu_2", "now", ""),
    ]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_thinking_stays_out_of_the_text() -> None:
    thought = [block(0, "thinking", thinking="", signature=""), delta(0, "thinking_delta", thinking="hm")]
    signed = [delta(0, "signature_delta", signature="abc"), close(0), block(1, text=""), delta(1, text="42"), close(1)]
    chunks = as_chunks(chat_reader(), START, *thought, *signed, finish("end_turn"), STOP)
    deltas = [c.choices[0].delta for c in chunks]
    assert "".join(d.content or "" for d in deltas) == "42"
    assert [d.model_extra["reasoning_content"] for d in deltas if d.model_extra] == ["hm"]


@pytest.mark.parametrize(
    ("content", "frame"),
    [
        (False, PING),
        (False, block(0, text="")),
        (False, block(0, "thinking", thinking="", signature="")),
        (False, delta(0, "signature_delta", signature="abc")),
        (True, delta(0, text="a")),
        (True, delta(0, "thinking_delta", thinking="a")),
        (True, block(0, "tool_use", id="t", name="f", input={})),
    ],
)
def test_first_content_is_the_targets_not_ours(content: bool, frame: bytes) -> None:
    reader = chat_reader()
    reader.feed(START)
    assert not reader.first_content
    reader.feed(frame)
    assert reader.first_content is content


def test_only_whole_frames_go_to_the_app_wherever_the_stream_is_cut() -> None:
    whole = b"".join([START, *TEXT, *TOOLS, finish("tool_use"), STOP])
    expected = feed_all(chat_reader(), whole)
    for step in (1, 7, 100):
        reader = chat_reader()
        reads = [reader.feed(whole[at : at + step]) for at in range(0, len(whole), step)]
        assert all(not read or read.endswith(b"\n\n") for read in reads)
        assert b"".join(reads) + reader.close() == expected


@pytest.mark.parametrize("reads", [[], [START], [START, *TEXT]])
def test_a_message_stream_that_is_cut_is_broken(reads: list[bytes]) -> None:
    with pytest.raises(StreamBroken):
        feed_all(chat_reader(), *reads)


def test_an_error_event_is_a_failure_and_no_end_mark_follows() -> None:
    reader = chat_reader()
    error = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    relayed = feed_all(reader, START, *TEXT, error)
    assert reader.failure is not None and reader.failure.outcome is Outcome.OVERLOADED
    assert b"Hel" in relayed and b"[DONE]" not in relayed and not reader.ended


def test_a_message_frame_that_is_not_json_breaks_the_stream() -> None:
    with pytest.raises(StreamBroken):
        feed_all(chat_reader(), START, b"event: content_block_delta\ndata: {oops}\n\n")


def message_reader(**members: Any) -> AnswerReader:
    return dialects.answer_reader(messages(stream=True, **members), OPENAI)


def as_events(reader: AnswerReader, *reads: bytes) -> list[Any]:
    stream = feed_all(reader, *reads)
    found = frames_of(stream)
    assert [line[7:].decode() for line in stream.split(b"\n") if line.startswith(b"event: ")] == [
        e["type"] for e in found
    ]
    for one in found:
        EVENTS.validate_python(one)
    return found


ROLE = chunk({"role": "assistant", "content": ""})
COUNTED = usage_chunk(prompt_tokens=113, completion_tokens=5, prompt_tokens_details={"cached_tokens": 100})


def piece(index: int | None, arguments: str, call_id: str | None = None, name: str | None = None) -> bytes:
    call: dict[str, Any] = {"function": {"arguments": arguments}}
    if index is not None:
        call["index"] = index
    if call_id is not None:
        call["id"] = call_id
        call["type"] = "function"
    if name is not None:
        call["function"]["name"] = name
    return chunk({"tool_calls": [call]})


def test_a_chat_stream_for_an_anthropic_app() -> None:
    reader = message_reader()
    events = as_events(
        reader, ROLE, chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk(finish="stop"), COUNTED, DONE
    )
    assert [e["type"] for e in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["usage"]["input_tokens"] == messages().peek.prompt_tokens
    assert [e["delta"]["text"] for e in events[2:4]] == ["Hel", "lo"]
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[-2]["usage"] == {
        "input_tokens": 13,
        "output_tokens": 5,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 0,
    }
    assert reader.usage == Usage(input=113, output=5, cached_input=100)
    assert (reader.ended, reader.finish, reader.content_frames) == (True, "stop", 2)


def blocks_of(events: list[Any]) -> list[tuple[str, Any, str]]:
    """(type, name, what was said) of each block, in order."""
    started = {e["index"]: e["content_block"] for e in events if e["type"] == "content_block_start"}
    said: dict[int, str] = dict.fromkeys(started, "")
    for one in events:
        if one["type"] == "content_block_delta" and one["delta"]["type"] != "signature_delta":
            said[one["index"]] += next(v for k, v in one["delta"].items() if k != "type")
    return [(b["type"], b.get("name"), said[index]) for index, b in sorted(started.items())]


def test_parallel_tool_calls_for_an_anthropic_app() -> None:
    calls = [
        piece(0, "", "call_1", "weather"),
        piece(0, '{"city"'),
        piece(0, ':"Rome"}'),
        piece(1, "{}", "call_2", "now"),
    ]
    events = as_events(message_reader(), ROLE, chunk({"content": "See"}), *calls, chunk(finish="tool_calls"), DONE)
    assert blocks_of(events) == [
        ("text", None, "See"),
        ("tool_use", "weather", '{"city":"Rome"}'),
        ("tool_use", "now", "{}"),
    ]
    open_close = [e["index"] for e in events if e["type"] in ("content_block_start", "content_block_stop")]
    assert open_close == [0, 0, 1, 1, 2, 2]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    "calls",
    [
        [piece(0, '{"a":1}', "call_1", "f"), piece(0, '{"b":2}', "call_2", "g")],  # Gemini: one index for all
        [piece(None, '{"a":1}', "call_1", "f"), piece(None, '{"b":2}', "call_2", "g")],
        [piece(0, "", "call_1", "f"), piece(1, "", "call_2", "g"), piece(0, '{"a":1}'), piece(1, '{"b":2}')],
        [piece(0, '{"a":1}', "", "f"), piece(1, '{"b":2}', "", "g")],  # no ids
        [piece(3, '{"a":1}', "call_1", "f"), piece(7, '{"b":2}', "call_2", "g")],
    ],
)
def test_providers_number_calls_in_their_own_ways(calls: list[bytes]) -> None:
    events = as_events(message_reader(), ROLE, *calls, chunk(finish="stop"), DONE)
    assert blocks_of(events) == [("tool_use", "f", '{"a":1}'), ("tool_use", "g", '{"b":2}')]
    ids = [e["content_block"]["id"] for e in events if e["type"] == "content_block_start"]
    assert len(set(ids)) == 2 and all(ids)
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_reasoning_for_an_anthropic_app_only_if_it_asked() -> None:
    reads = [ROLE, chunk({"reasoning_content": "hm"}), chunk({"reasoning": "m"}), chunk({"content": "42"})]
    reads += [chunk(finish="stop"), DONE]
    assert blocks_of(as_events(message_reader(), *reads)) == [("text", None, "42")]
    events = as_events(message_reader(thinking={"type": "enabled", "budget_tokens": 2000}), *reads)
    assert blocks_of(events) == [("thinking", None, "hmm"), ("text", None, "42")]
    signatures = [e["delta"]["signature"] for e in events if e.get("delta", {}).get("type") == "signature_delta"]
    assert signatures == ["llmroute:unsigned"]


def test_reasoning_commits_even_where_the_app_does_not_see_it() -> None:
    reader = message_reader()
    assert reader.feed(ROLE + chunk({"reasoning_content": "hm"})).count(b"event:") == 1
    assert reader.first_content


def test_azures_first_frame_and_an_answer_without_words() -> None:
    azure = data({"id": "", "model": "", "choices": [], "prompt_filter_results": []})
    events = as_events(message_reader(), azure, ROLE, chunk(finish="content_filter"), DONE)
    assert [e["type"] for e in events] == ["message_start", "message_delta", "message_stop"]
    assert events[-2]["delta"]["stop_reason"] == "refusal"


def test_tokens_are_estimated_if_nobody_counted() -> None:
    reader = message_reader()
    events = as_events(reader, ROLE, chunk({"content": "a"}), chunk({"content": "b"}), chunk(finish="stop"), DONE)
    assert (events[-2]["usage"]["output_tokens"], reader.usage) == (2, None)


def test_a_stop_sequence_that_the_provider_tells() -> None:
    stopped = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}])
    events = as_events(message_reader(), ROLE, chunk({"content": "a"}), stopped, DONE)
    assert events[-2]["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "END"}


def test_a_close_after_the_finish_is_a_clean_end() -> None:
    reader = message_reader()
    assert as_events(reader, ROLE, chunk({"content": "a"}), chunk(finish="stop"))[-1]["type"] == "message_stop"
    assert reader.ended


def test_an_end_mark_without_a_finish_is_an_interruption() -> None:
    reader = message_reader()
    with pytest.raises(StreamBroken, match="without saying why"):
        feed_all(reader, chunk({"content": "Hel"}), DONE)


@pytest.mark.parametrize("reads", [[], [ROLE], [ROLE, chunk({"content": "a"})], [ROLE, chunk({"content": "a"})[:-20]]])
def test_a_chat_stream_that_is_cut_is_broken(reads: list[bytes]) -> None:
    with pytest.raises(StreamBroken):
        feed_all(message_reader(), *reads)


def test_an_error_in_a_chat_stream_is_a_failure_and_no_end_follows() -> None:
    reader = message_reader()
    relayed = feed_all(reader, ROLE, chunk({"content": "a"}), data({"error": {"message": "x", "code": 429}}))
    assert reader.failure is not None and reader.failure.outcome is Outcome.RATE_LIMITED
    assert b"message_stop" not in relayed and not reader.ended

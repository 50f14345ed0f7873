"""Kept answers served in the other form, as the official SDKs read them."""

import json
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from tests.sidecar.dialects.world import DONE, chunk, data, dumps, event, few, frames_of, usage_chunk

from llmroute import dialects
from llmroute.request import Operation, Usage

CHAT, MESSAGES, RESPONSES = Operation.CHAT, Operation.MESSAGES, Operation.RESPONSES
EVENTS: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)
RESPONSE_EVENTS: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)

USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
    {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
]


def completion(*messages: dict[str, Any], finish: str = "stop", **members: Any) -> dict[str, Any]:
    logprobs: dict[str, Any] = {
        "content": [{"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": []}],
        "refusal": None,
    }
    choices = [
        {"index": at, "message": message, "logprobs": logprobs, "finish_reason": finish}
        for at, message in enumerate(messages)
    ]
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1730000000, "model": "gpt-4o"}
    return {
        **head,
        "choices": choices,
        "usage": USAGE,
        "system_fingerprint": "fp_1",
        "service_tier": "default",
        **members,
    }


ANSWERS = [
    completion({"role": "assistant", "content": "Hello", "refusal": None, "annotations": []}),
    completion({"role": "assistant", "content": None, "tool_calls": CALLS}, finish="tool_calls"),
    completion({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}, finish="length"),
    completion({"role": "assistant", "content": "x", "reasoning_content": "hm"}, provider="unknown to us"),
    completion({"role": "assistant", "content": "", "refusal": "no"}),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_completion_becomes_a_stream_and_again_itself(answer: dict[str, Any]) -> None:
    stream = dialects.to_stream(CHAT, dumps(answer), include_usage=True)
    for one in frames_of(stream)[:-1]:
        ChatCompletionChunk.model_validate(one)
    again = json.loads(dialects.to_body(CHAT, stream))
    ChatCompletion.model_validate(again)
    assert again == answer


def test_usage_goes_out_only_if_asked_and_can_be_given_back() -> None:
    stream = dialects.to_stream(CHAT, dumps(ANSWERS[0]))
    assert all(one == "[DONE]" or one["choices"] for one in frames_of(stream))
    assert "usage" not in json.loads(dialects.to_body(CHAT, stream))
    usage = json.loads(dialects.to_body(CHAT, stream, Usage(9, 2)))["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (9, 2, 11)


def test_a_real_stream_becomes_a_completion() -> None:
    stream = (
        chunk({"role": "assistant", "content": "", "refusal": None})
        + b": comment\n\n"
        + chunk({"content": "Hel"})
        + chunk({"content": "lo"})
        + chunk(
            {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]}
        )
        + chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]})
        + chunk(
            {"tool_calls": [{"index": 1, "id": "d", "type": "function", "function": {"name": "g", "arguments": ""}}]}
        )
        + chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]})
        + chunk(finish="tool_calls")
        + usage_chunk(**USAGE)
        + DONE
    )
    body = ChatCompletion.model_validate_json(dialects.to_body(CHAT, stream.replace(b"\n\n", b"\r\n\r\n")))
    reply = body.choices[0].message
    calls = [(c.id, c.function.name, c.function.arguments) for c in reply.tool_calls or () if c.type == "function"]
    assert (reply.content, calls) == ("Hello", [("c", "f", '{"a":1}'), ("d", "g", "")])
    assert (body.choices[0].finish_reason, body.usage and body.usage.total_tokens) == ("tool_calls", 11)


def test_completions_too() -> None:
    choice = {"index": 0, "text": "Hello", "logprobs": None, "finish_reason": "stop"}
    answer = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": USAGE,
    }
    stream = dialects.to_stream(Operation.COMPLETIONS, dumps(answer), include_usage=True)
    assert "".join(c["text"] for one in frames_of(stream)[:-1] for c in one["choices"]) == "Hello"
    again = json.loads(dialects.to_body(Operation.COMPLETIONS, stream))
    Completion.model_validate(again)
    assert again == answer


HI = chunk({"content": "Hi"})
STOP = chunk(finish="stop")


@pytest.mark.parametrize(
    "stream", [b"", HI, HI + STOP, HI + DONE, DONE, HI + data({"error": {"message": "x"}}) + STOP + DONE]
)
def test_an_incomplete_chat_stream_is_no_body(stream: bytes) -> None:
    with pytest.raises(ValueError, match="stream"):
        dialects.to_body(CHAT, stream)


def test_a_kept_stream_has_usage_as_this_app_asked() -> None:
    bare, counted = HI + STOP + DONE, HI + STOP + usage_chunk(**USAGE) + DONE
    assert dialects.with_usage(CHAT, counted, None, include_usage=False) == bare
    assert dialects.with_usage(CHAT, counted, None, include_usage=True) == counted
    assert dialects.with_usage(CHAT, bare, None, include_usage=False) == bare
    given = frames_of(dialects.with_usage(CHAT, bare, Usage(9, 2), include_usage=True))
    assert given[-2]["usage"]["total_tokens"] == 11
    assert dialects.with_usage(MESSAGES, b"x", None, include_usage=True) == b"x"


MESSAGE_USAGE = {"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": 2, "service_tier": "standard"}


def message(*content: dict[str, Any], **members: Any) -> dict[str, Any]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": list(content)}
    return {**head, "stop_reason": "end_turn", "stop_sequence": None, "usage": MESSAGE_USAGE, **members}


CITED = {"type": "char_location", "cited_text": "x", "document_index": 0, "document_title": None}
CITED |= {"start_char_index": 0, "end_char_index": 1, "file_id": None}
BLOCKS = [
    {"type": "text", "text": "Hello", "citations": None},
    {"type": "text", "text": "Cited", "citations": [CITED]},
    {"type": "thinking", "thinking": "hm", "signature": "abc"},
    {"type": "redacted_thinking", "data": "xyz"},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, {"b": None}]}},
    {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
    {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}},
]


@few
@given(st.lists(st.sampled_from(BLOCKS), max_size=5), st.sampled_from([None, "END"]))
def test_a_message_becomes_a_stream_and_again_itself(blocks: list[dict[str, Any]], stopped: str | None) -> None:
    answer = message(*blocks, stop_reason="stop_sequence" if stopped else "end_turn", stop_sequence=stopped)
    stream = dialects.to_stream(MESSAGES, dumps(answer))
    for one in frames_of(stream):
        EVENTS.validate_python(one)
    again = json.loads(dialects.to_body(MESSAGES, stream))
    Message.model_validate(again)
    assert again == answer


def test_counts_of_a_message_stream_are_the_last_ones() -> None:
    start = event("message_start", message=message(usage={"input_tokens": 5, "output_tokens": 1}))
    delta = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9, "input_tokens": None})
    body = json.loads(dialects.to_body(MESSAGES, start + event("ping") + delta + event("message_stop")))
    assert body["usage"] == {"input_tokens": 5, "output_tokens": 9}


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        event("message_start", message=message()),
        event("message_start", message=message()) + event("error", error={"type": "api_error", "message": "x"}),
    ],
)
def test_an_incomplete_message_stream_is_no_body(stream: bytes) -> None:
    with pytest.raises(ValueError, match="stream"):
        dialects.to_body(MESSAGES, stream)


PART = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
OUTPUT = [
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [PART]},
    {
        "type": "message",
        "id": "m2",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "refusal", "refusal": "no"}],
    },
    {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
]
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1730000000,
    "model": "gpt-4o",
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "output": OUTPUT,
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "usage": {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 7,
    },
}


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_response_becomes_a_stream_and_again_itself(status: str) -> None:
    answer = {**RESPONSE, "status": status}
    Response.model_validate(answer)
    stream = dialects.to_stream(RESPONSES, dumps(answer))
    events = frames_of(stream)
    for one in events:
        RESPONSE_EVENTS.validate_python(one)
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    assert events[-1]["type"] == f"response.{status}"
    assert [one["delta"] for one in events if one["type"].endswith(".delta")] == ["Hello", "no", "{}"]
    assert json.loads(dialects.to_body(RESPONSES, stream)) == answer
    with pytest.raises(ValueError, match="complete"):
        dialects.to_body(RESPONSES, stream.rpartition(b"event: ")[0])


def test_what_has_no_streams_says_so() -> None:
    with pytest.raises(ValueError, match="no streams"):
        dialects.to_stream(Operation.EMBEDDINGS, b"{}")
    with pytest.raises(ValueError, match="no streams"):
        dialects.to_body(Operation.COUNT_TOKENS, b"")

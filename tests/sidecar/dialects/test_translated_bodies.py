"""Complete answers of a target of the other dialect, as the official SDKs of the app's dialect read them."""

from typing import Any

import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion
from tests.sidecar.dialects.world import ANTHROPIC, CREATED, OPENAI, chat, dumps, feed_all, messages

from llmroute import dialects
from llmroute.dialects import AnswerReader
from llmroute.errors import StreamBroken
from llmroute.request import Outcome, Usage

TOOL_USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
USAGE = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 3}


def message(*content: dict[str, Any], stop: str = "end_turn", **members: Any) -> bytes:
    return dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": list(content),
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": USAGE,
            **members,
        }
    )


def completion(finish: str = "stop", choice: dict[str, Any] | None = None, **said: Any) -> bytes:
    reply = {"role": "assistant", "content": None, **said}
    return dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1730000000,
            "model": "gpt-4o",
            "choices": [{"index": 0, "message": reply, "finish_reason": finish, **(choice or {})}],
            "usage": {"prompt_tokens": 113, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 100}},
        }
    )


def to_chat(body: bytes) -> tuple[ChatCompletion, AnswerReader]:
    reader = dialects.answer_reader(chat(), ANTHROPIC)
    return ChatCompletion.model_validate_json(feed_all(reader, body[:50], body[50:])), reader


def to_message(body: bytes, **asked: Any) -> tuple[Message, AnswerReader]:
    reader = dialects.answer_reader(messages(**asked), OPENAI)
    return Message.model_validate_json(feed_all(reader, body[:50], body[50:])), reader


def call(name: str, arguments: Any, call_id: str | None = "call_1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_message_for_an_openai_app() -> None:
    answer, reader = to_chat(message({"type": "text", "text": "Hello "}, {"type": "text", "text": "you"}))
    assert (answer.id, answer.object, answer.model) == ("msg_1", "chat.completion", "claude-sonnet-4-5")
    assert answer.created == CREATED
    choice = answer.choices[0]
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == ("Hello you", None, "stop")
    usage = answer.usage
    assert usage is not None and usage.prompt_tokens_details is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (113, 5, 118)
    assert usage.prompt_tokens_details.cached_tokens == 100
    assert reader.usage == Usage(input=113, output=5, cached_input=100, cache_written=3)
    assert (reader.ended, reader.first_content, reader.finish) == (True, True, "stop")


def test_tool_use_for_an_openai_app() -> None:
    second = {**TOOL_USE, "id": "toolu_2", "input": {}}
    answer, _ = to_chat(message({"type": "text", "text": "See:"}, TOOL_USE, second, stop="tool_use"))
    choice = answer.choices[0]
    calls = [
        (c.id, c.function.name, c.function.arguments) for c in choice.message.tool_calls or () if c.type == "function"
    ]
    assert calls == [("toolu_1", "weather", '{"city":"Rome"}'), ("toolu_2", "weather", "{}")]
    assert (choice.message.content, choice.finish_reason) == ("See:", "tool_calls")
    assert to_chat(message(TOOL_USE, stop="tool_use"))[0].choices[0].message.content is None


def test_thinking_stays_out_of_the_text() -> None:
    thought = {"type": "thinking", "thinking": "Let me think", "signature": "abc"}
    answer, _ = to_chat(message(thought, {"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "42"}))
    reply = answer.choices[0].message
    assert reply.content == "42"
    assert reply.model_extra is not None and reply.model_extra["reasoning_content"] == "Let me think"


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
        ("a_reason_of_tomorrow", "stop"),
    ],
)
def test_stop_reasons_for_an_openai_app(stop: str, finish: str) -> None:
    assert to_chat(message({"type": "text", "text": "x"}, stop=stop))[0].choices[0].finish_reason == finish


def test_a_completion_for_an_anthropic_app() -> None:
    answer, reader = to_message(completion(content="Hello"))
    assert (answer.id, answer.model, answer.role, answer.stop_reason) == (
        "chatcmpl-1",
        "gpt-4o",
        "assistant",
        "end_turn",
    )
    assert [block.to_dict() for block in answer.content] == [{"type": "text", "text": "Hello"}]
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.cache_read_input_tokens) == (13, 5, 100)
    assert reader.usage == Usage(input=113, output=5, cached_input=100)


def test_tool_calls_for_an_anthropic_app() -> None:
    calls = [call("weather", '{"city":"Rome"}'), call("now", "", "call_2"), call("bad", "{oops", None)]
    answer, _ = to_message(completion("tool_calls", content="See:", tool_calls=calls))
    assert [block.to_dict() for block in answer.content] == [
        {"type": "text", "text": "See:"},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}},
        {"type": "tool_use", "id": "call_2", "name": "now", "input": {}},
        {"type": "tool_use", "id": "call_1_2", "name": "bad", "input": {"invalid_arguments": "{oops"}},
    ]
    assert answer.stop_reason == "tool_use"


def test_some_providers_say_stop_although_they_call_tools() -> None:
    assert to_message(completion("stop", tool_calls=[call("f", {"a": 1})]))[0].stop_reason == "tool_use"


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_for_an_anthropic_app_only_if_it_asked(name: str) -> None:
    said: dict[str, Any] = {"content": "42", name: "hm"}
    body = completion(**said)
    assert [block.type for block in to_message(body)[0].content] == ["text"]
    thinking = {"type": "enabled", "budget_tokens": 2000}
    blocks = [block.to_dict() for block in to_message(body, thinking=thinking)[0].content]
    assert blocks[0] == {"type": "thinking", "thinking": "hm", "signature": "llmroute:unsigned"}
    assert blocks[1] == {"type": "text", "text": "42"}


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
        ("eos", "end_turn"),
    ],
)
def test_finish_reasons_for_an_anthropic_app(finish: str, stop: str) -> None:
    assert to_message(completion(finish, content="x"))[0].stop_reason == stop


def test_a_refusal_is_said_and_is_the_stop_reason() -> None:
    answer, _ = to_message(completion(refusal="I will not"))
    assert (answer.content[0].to_dict()["text"], answer.stop_reason) == ("I will not", "refusal")


def test_a_stop_sequence_that_the_provider_tells() -> None:
    answer, _ = to_message(completion("stop", {"stop_reason": "END"}, content="x"))  # vLLM
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "END")
    token, _ = to_message(completion("stop", {"stop_reason": 128009}, content="x"))
    assert (token.stop_reason, token.stop_sequence) == ("end_turn", None)


def test_content_in_parts_is_text() -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert to_message(completion(content=parts))[0].content[0].to_dict()["text"] == "ab"


def test_usage_that_was_not_counted_is_zero_for_the_app_and_unknown_to_us() -> None:
    body = completion(content="x").partition(b',"usage"')[0] + b"}"
    answer, reader = to_message(body)
    assert (answer.usage.input_tokens, answer.usage.output_tokens, reader.usage) == (0, 0, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b'{"choices":[]}',
        b'{"choices":"x"}',
        b'{"choices":[{"index":0}]}',
        completion(content="x")[:-1],
    ],
)
def test_what_is_no_completion_is_broken(body: bytes) -> None:
    with pytest.raises(StreamBroken):
        feed_all(dialects.answer_reader(messages(), OPENAI), body)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"content":[{}]}', message()[:-1]])
def test_what_is_no_message_is_broken(body: bytes) -> None:
    with pytest.raises(StreamBroken):
        feed_all(dialects.answer_reader(chat(), ANTHROPIC), body)


def test_an_error_in_a_200_is_a_failure_in_either_direction() -> None:
    reader = dialects.answer_reader(chat(), ANTHROPIC)
    feed_all(reader, dumps({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}))
    assert reader.failure is not None and reader.failure.outcome is Outcome.OVERLOADED
    reader = dialects.answer_reader(messages(), OPENAI)
    feed_all(reader, dumps({"error": {"message": "x", "code": "rate_limit_exceeded"}}))
    assert reader.failure is not None and reader.failure.outcome is Outcome.RATE_LIMITED

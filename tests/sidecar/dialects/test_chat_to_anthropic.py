"""An OpenAI chat app's request as an Anthropic target is sent it."""

from typing import Any

import pytest
from tests.sidecar.dialects.world import ANTHROPIC, HELLO, chat, sent, target

from llmroute import dialects
from llmroute.errors import BadRequest, Unsupported

SONNET = "claude-sonnet-4-5-20250929"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOSED = {**SCHEMA, "additionalProperties": False}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Tells it", "parameters": SCHEMA}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}


def said(*messages: dict[str, Any], **members: Any) -> Any:
    return sent(chat(messages=list(messages), **members), ANTHROPIC, SONNET)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any = None, **members: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **members}


def tool(call_id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def missing(**members: Any) -> str | None:
    return dialects.missing_for(ANTHROPIC, chat(**members))


def test_a_plain_question() -> None:
    assert sent(chat(), ANTHROPIC, SONNET) == {"model": SONNET, "max_tokens": 4096, "messages": HELLO}


def test_the_bound_of_the_answer_is_the_apps_or_the_targets() -> None:
    assert sent(chat(max_tokens=5), ANTHROPIC)["max_tokens"] == 5
    assert sent(chat(max_completion_tokens=6), ANTHROPIC)["max_tokens"] == 6
    assert sent(chat(), ANTHROPIC, max_output_tokens=7)["max_tokens"] == 7


def test_system_and_developer_messages_become_the_system_prompt() -> None:
    system: dict[str, Any] = {"role": "system", "content": "Be brief."}
    assert said(system, user("Hi"))["system"] == "Be brief."
    developer = {"role": "developer", "content": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": " "}]}
    body = said(system, user("Hi"), developer)
    assert body["system"] == [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]
    assert body["messages"] == [user("Hi")]


def test_instructions_alone_are_the_question() -> None:
    body = said({"role": "system", "content": "Tell a joke."})
    assert (body["messages"], body.get("system")) == ([user("Tell a joke.")], None)


def test_refusals_of_the_history_were_said() -> None:
    part = assistant([{"type": "refusal", "refusal": "No."}])
    body = said(user("x"), assistant(refusal="I will not."), user("y"), part, user("z"))
    assert [message["content"] for message in body["messages"]] == ["x", "I will not.", "y", "No.", "z"]


def test_turns_of_one_role_are_merged_and_empty_ones_left_out() -> None:
    body = said(user("One"), user("Two"), assistant(""), assistant("Three"), user(" "), user("Four"))
    texts = [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]
    assert body["messages"] == [user(texts), assistant("Three"), user("Four")]


def test_a_conversation_begins_with_the_user_and_a_prefill_ends_without_space() -> None:
    body = said(assistant("Hello!"), user("Hi"), assistant("The answer is "))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user", "assistant"]
    assert body["messages"][-1]["content"] == "The answer is"


def test_images_as_data_and_as_urls() -> None:
    def image(url: str) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}

    body = said(
        user([{"type": "text", "text": "See"}, image("data:image/PNG;base64,QUJD"), image("https://e.com/a.png")])
    )
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "See"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
        {"type": "image", "source": {"type": "url", "url": "https://e.com/a.png"}},
    ]
    assert missing(messages=[user([image("data:image/tiff;base64,QUJD")])]) == "messages"
    assert missing(messages=[user([image("gs://bucket/a.png")])]) == "messages[0].content[0].image_url"


def test_parallel_calls_and_their_results_stay_together() -> None:
    second = {"id": "functions.weather:1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    body = said(
        user("Weather?"),
        assistant("Let me see.", tool_calls=[CALL, second]),
        tool("call_1", "sunny"),
        tool("functions.weather:1", [{"type": "text", "text": "rainy"}]),
        user("And tomorrow?"),
        tools=[WEATHER],
    )
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}},
        {"type": "tool_use", "id": "functions_weather_1", "name": "weather", "input": {}},
    ]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "sunny"}]},
        {"type": "tool_result", "tool_use_id": "functions_weather_1", "content": [{"type": "text", "text": "rainy"}]},
        {"type": "text", "text": "And tomorrow?"},
    ]
    assert body["tools"] == [{"name": "weather", "description": "Tells it", "input_schema": SCHEMA}]


def test_arguments_that_the_model_got_wrong_do_not_end_the_conversation() -> None:
    wrong = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"city": Ro'}}
    body = said(user("Hi"), assistant(tool_calls=[wrong]), tool("c", "invalid JSON"))
    assert body["messages"][1]["content"][0]["input"] == {"invalid_arguments": '{"city": Ro'}


def test_a_history_with_calls_but_without_tools_may_not_call_them() -> None:
    body = said(
        user("Hi"), assistant(tool_calls=[CALL, {**CALL, "id": "call_2"}]), tool("call_1", "x"), tool("call_2", "y")
    )
    assert [definition["name"] for definition in body["tools"]] == ["weather"]
    assert body["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
        (None, None),
    ],
)
def test_tool_choice(choice: Any, expected: Any) -> None:
    assert said(*HELLO, tools=[WEATHER], tool_choice=choice).get("tool_choice") == expected


def test_parallel_calls_can_be_forbidden() -> None:
    body = said(*HELLO, tools=[WEATHER], parallel_tool_calls=False)
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    body = said(*HELLO, tools=[WEATHER], tool_choice="required", parallel_tool_calls=True)
    assert body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": False}


def test_tools_without_parameters_and_strict_ones() -> None:
    bare = {"type": "function", "function": {"name": "now"}}
    strict = {"type": "function", "function": {"name": "f", "parameters": CLOSED, "strict": True}}
    untyped = {"type": "function", "function": {"name": "g", "parameters": {"properties": {}}}}
    tools = said(*HELLO, tools=[bare, strict, untyped])["tools"]
    assert tools[0] == {"name": "now", "input_schema": {"type": "object", "properties": {}}}
    assert tools[1] == {"name": "f", "input_schema": CLOSED, "strict": True}
    assert tools[2]["input_schema"] == {"type": "object", "properties": {}}
    assert "strict" not in sent(chat(tools=[strict]), ANTHROPIC, "claude-3-5-haiku-20241022")["tools"][0]


def test_a_schema_for_the_answer() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}
    body = said(*HELLO, response_format=wanted)
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": CLOSED}}
    assert "output_config" not in said(*HELLO, response_format={"type": "text"})


@pytest.mark.parametrize(("stop", "expected"), [("END", ["END"]), (["a", "b"], ["a", "b"]), (None, None), ([], None)])
def test_stop_sequences(stop: Any, expected: Any) -> None:
    assert said(*HELLO, stop=stop).get("stop_sequences") == expected


@pytest.mark.parametrize(
    ("model", "members", "expected"),
    [
        (SONNET, {"temperature": 0.2}, {"temperature": 0.2}),
        (SONNET, {"temperature": 1.7}, {"temperature": 1.0}),
        (SONNET, {"temperature": 0.2, "top_p": 0.5}, {"temperature": 0.2}),
        (SONNET, {"top_p": 0.5, "top_k": 40}, {"top_p": 0.5, "top_k": 40}),
        ("claude-opus-4-7", {"temperature": 0.2}, {}),
        ("claude-sonnet-5", {"temperature": 0.2, "top_p": 0.5}, {}),
        ("my-own-model", {"temperature": 0.2}, {"temperature": 0.2}),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", {"temperature": 0.2}, {"temperature": 0.2}),
    ],
)
def test_sampling_as_the_model_takes_it(model: str, members: dict[str, Any], expected: dict[str, Any]) -> None:
    body = sent(chat(**members), ANTHROPIC, model)
    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == expected


@pytest.mark.parametrize(
    ("model", "members", "thinking", "effort"),
    [
        (SONNET, {"reasoning_effort": "high", "max_tokens": 10_000}, {"type": "enabled", "budget_tokens": 8000}, None),
        (SONNET, {"reasoning_effort": "low", "max_tokens": 2000}, {"type": "enabled", "budget_tokens": 1024}, None),
        (SONNET, {"reasoning_effort": "high", "max_tokens": 1024}, None, None),
        (SONNET, {"reasoning_effort": "none"}, None, None),
        (SONNET, {}, None, None),
        (SONNET, {"reasoning_effort": "high", "tools": [WEATHER], "tool_choice": "required"}, None, None),
        ("claude-opus-4-6", {"reasoning_effort": "medium"}, {"type": "adaptive"}, "medium"),
        ("claude-opus-4-8", {"reasoning_effort": "minimal"}, {"type": "adaptive"}, "low"),
        ("claude-3-5-haiku-20241022", {"reasoning_effort": "high"}, None, None),
        ("mock", {"reasoning_effort": "high"}, None, None),
    ],
)
def test_reasoning_effort_as_the_model_takes_it(
    model: str, members: dict[str, Any], thinking: dict[str, Any] | None, effort: str | None
) -> None:
    body = sent(chat(temperature=0.5, **members), ANTHROPIC, model)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort
    assert thinking is None or "temperature" not in body


@pytest.mark.parametrize("model", [SONNET, "claude-opus-4-6"])
def test_a_tool_history_without_signed_thinking_switches_thinking_off(model: str) -> None:
    history = [user("Weather?"), assistant(tool_calls=[CALL]), tool("call_1", "sunny")]
    body = sent(chat(messages=history, tools=[WEATHER], reasoning_effort="high"), ANTHROPIC, model)
    assert "thinking" not in body and "output_config" not in body


def test_effort_and_schema_share_their_member() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": CLOSED}}
    body = sent(chat(reasoning_effort="low", response_format=wanted), ANTHROPIC, "claude-opus-4-8")
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": CLOSED}}


def test_the_user_is_told_and_streams_are_asked_for() -> None:
    body = said(*HELLO, user="u-1", stream=True, stream_options={"include_usage": True})
    assert (body["metadata"], body["stream"]) == ({"user_id": "u-1"}, True)
    assert "stream_options" not in body


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"presence_penalty": -1}, "presence_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
        ({"store": True}, "store"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"min_p": 0.1}, "min_p"),
        ({"stop": ["\n"]}, "stop"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": "f" * 129}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "allowed_tools"}, "tools": [WEATHER]}, "tool_choice"),
        ({"messages": [user([{"type": "input_audio", "input_audio": {}}])]}, "messages[0].content[0]"),
        ({"messages": [user([{"type": "file", "file": {"file_id": "f"}}])]}, "messages[0].content[0]"),
        ({"messages": [*HELLO, assistant(audio={"id": "a"})]}, "messages[1].audio"),
        (
            {"messages": [*HELLO, assistant(tool_calls=[{"id": "c", "type": "custom", "custom": {"name": "f"}}])]},
            "messages[1].tool_calls[0]",
        ),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
    ],
)
def test_what_anthropic_cannot_express_names_the_field(members: dict[str, Any], field: str) -> None:
    request = chat(**members)
    assert dialects.missing_for(ANTHROPIC, request) == field
    with pytest.raises(Unsupported) as caught:
        dialects.encode(request, ANTHROPIC, target(ANTHROPIC))
    assert caught.value.param == field


def test_what_asks_for_nothing_keeps_no_target_out() -> None:
    nothing = {
        "n": 1,
        "logprobs": False,
        "logit_bias": {},
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "store": None,
    }
    hints = {
        "seed": 1,
        "service_tier": "auto",
        "prediction": {"type": "content"},
        "metadata": {"a": "b"},
        "verbosity": "low",
    }
    assert missing(**nothing, **hints, modalities=["text"], audio=None) is None
    assert said(*HELLO, **nothing, **hints) == sent(chat(), ANTHROPIC, SONNET)


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"messages": [7]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0]"),
        ({"messages": [user(7)]}, "messages[0].content"),
        ({"messages": [user([{"text": "x"}])]}, "messages[0].content[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": {"a": 1}}, "tools"),
        ({"max_tokens": 1.5}, "max_tokens"),
    ],
)
def test_what_is_no_chat_request_is_told_where(members: dict[str, Any], field: str) -> None:
    request = chat(**members)
    assert dialects.missing_for(ANTHROPIC, request) == field
    with pytest.raises(BadRequest) as caught:
        dialects.encode(request, ANTHROPIC, target(ANTHROPIC))
    assert caught.value.param == field

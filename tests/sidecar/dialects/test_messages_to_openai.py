"""An Anthropic messages app's request as an OpenAI chat target is sent it."""

from typing import Any

import pytest
from tests.sidecar.dialects.world import ANTHROPIC, COMPATIBLE, HELLO, OPENAI, messages, sent, target

from llmroute import dialects
from llmroute.errors import BadRequest, Unsupported

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOSED = {**SCHEMA, "additionalProperties": False}
WEATHER = {"name": "weather", "description": "Tells it", "input_schema": SCHEMA}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
SHOWN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}


def said(*turns: dict[str, Any], **members: Any) -> Any:
    return sent(messages(messages=list(turns) or HELLO, **members), OPENAI)


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def result(content: Any, call: str = "toolu_1", **members: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call, "content": content, **members}


def test_a_plain_question() -> None:
    assert said() == {"model": "target-model", "messages": HELLO, "max_completion_tokens": 100}
    assert sent(messages(), COMPATIBLE)["max_tokens"] == 100


@pytest.mark.parametrize("system", ["Be brief.", [text("Be brief.")]])
def test_the_system_prompt_comes_first(system: Any) -> None:
    assert said(system=system)["messages"] == [turn("system", "Be brief."), *HELLO]


def test_system_prompts_of_several_blocks_and_within_the_conversation() -> None:
    cached = {**text("Two."), "cache_control": {"type": "ephemeral"}}
    body = said(turn("user", "Hi"), turn("system", "Now in French."), system=[text("One."), cached])
    assert body["messages"] == [turn("system", "One.\n\nTwo."), turn("user", "Hi"), turn("system", "Now in French.")]


def test_blocks_of_text_and_images() -> None:
    url = {"type": "image", "source": {"type": "url", "url": "https://e.com/a.png"}}
    body = said(turn("user", [text("See"), PICTURE, url]), turn("assistant", [text("A "), text("cat")]))
    assert body["messages"] == [
        turn("user", [text("See"), SHOWN, {"type": "image_url", "image_url": {"url": "https://e.com/a.png"}}]),
        turn("assistant", "A cat"),
    ]


def test_calls_and_results() -> None:
    second = {**CALL, "id": "toolu_2", "input": {}}
    body = said(
        turn("user", "Weather?"),
        turn("assistant", [text("Let me see."), CALL, second]),
        turn("user", [result("sunny"), result([text("rain"), text("wind")], "toolu_2"), text("And tomorrow?")]),
        tools=[WEATHER],
    )
    assert body["messages"][1] == {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [
            {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}},
            {"id": "toolu_2", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
        ],
    }
    assert body["messages"][2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "rain\nwind"},
        turn("user", "And tomorrow?"),
    ]
    function = {"name": "weather", "description": "Tells it", "parameters": SCHEMA}
    assert body["tools"] == [{"type": "function", "function": function}]


def test_a_call_without_words_has_no_content() -> None:
    assert (
        said(turn("user", "x"), turn("assistant", [CALL]), turn("user", [result("y")]))["messages"][1]["content"]
        is None
    )


def test_a_failed_tool_says_so() -> None:
    def told(words: Any) -> str:
        failed = turn("user", [result(words, is_error=True)])
        return str(said(turn("user", "x"), turn("assistant", [CALL]), failed)["messages"][2]["content"])

    assert told("no such city") == "Error: no such city"
    assert told("ERROR 404") == "ERROR 404"


def test_pictures_that_a_tool_gave_follow_as_the_users() -> None:
    body = said(turn("user", "x"), turn("assistant", [CALL]), turn("user", [result([text("a map"), PICTURE])]))
    assert body["messages"][2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "a map"},
        turn("user", [SHOWN]),
    ]


def test_a_result_without_content() -> None:
    body = said(
        turn("user", "x"), turn("assistant", [CALL]), turn("user", [{"type": "tool_result", "tool_use_id": "toolu_1"}])
    )
    assert body["messages"][2] == {"role": "tool", "tool_call_id": "toolu_1", "content": ""}


def test_thinking_of_the_history_stays_out() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "abc"}
    body = said(turn("user", "x"), turn("assistant", [thought, {"type": "redacted_thinking", "data": "z"}, text("42")]))
    assert body["messages"][1] == turn("assistant", "42")


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        ({"type": "auto"}, "auto", None),
        ({"type": "any"}, "required", None),
        ({"type": "none"}, "none", None),
        ({"type": "tool", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}, None),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto", False),
        ({"type": "any", "disable_parallel_tool_use": False}, "required", True),
        (None, None, None),
    ],
)
def test_tool_choice(choice: Any, expected: Any, parallel: bool | None) -> None:
    body = said(tools=[WEATHER], tool_choice=choice)
    assert (body.get("tool_choice"), body.get("parallel_tool_calls")) == (expected, parallel)


def test_no_tool_choice_without_tools() -> None:
    assert said(tool_choice={"type": "auto"}) == said()


def test_strict_tools_only_where_openai_takes_the_schema_as_strict() -> None:
    loose = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
    tools = said(tools=[{**WEATHER, "input_schema": schema, "strict": True} for schema in (CLOSED, SCHEMA, loose)])[
        "tools"
    ]
    assert [tool["function"]["strict"] for tool in tools] == [True, False, False]


@pytest.mark.parametrize("name", ["output_config", "output_format"])
def test_a_schema_for_the_answer(name: str) -> None:
    wanted = {"type": "json_schema", "schema": CLOSED}
    body = said(**{name: {"format": wanted} if name == "output_config" else wanted})
    schema = {"name": "answer", "schema": CLOSED, "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": schema}


def test_sampling_stops_and_streams() -> None:
    body = said(temperature=0.3, top_p=0.9, stop_sequences=["a", "b"], stream=True)
    assert (body["temperature"], body["top_p"], body["stop"], body["stream"]) == (0.3, 0.9, ["a", "b"], True)
    assert body["stream_options"] == {"include_usage": True}
    mistral = dialects.profile_for("openai-compatible", "https://api.mistral.ai/v1")
    assert "stream_options" not in sent(messages(stream=True), mistral)


def test_top_k_where_the_provider_has_it() -> None:
    assert dialects.missing_for(OPENAI, messages(top_k=5)) == "top_k"
    assert sent(messages(top_k=5), dialects.PROFILES["openrouter"])["top_k"] == 5


@pytest.mark.parametrize(
    ("members", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10_000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 32_000}}, "high"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "high"),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "disabled"}}, None),
    ],
)
def test_thinking_is_an_effort_for_models_that_reason(members: dict[str, Any], effort: str | None) -> None:
    assert sent(messages(**members), OPENAI, reasoning=True).get("reasoning_effort") == effort
    assert "reasoning_effort" not in sent(messages(**members), OPENAI)


def test_openais_reasoning_models_take_no_sampling() -> None:
    sampled = messages(temperature=0.3, top_p=0.9)
    assert "temperature" not in sent(sampled, OPENAI, reasoning=True)
    assert "top_p" not in sent(sampled, OPENAI, reasoning=True)
    assert sent(sampled, COMPATIBLE, reasoning=True)["temperature"] == 0.3


def test_the_user_is_told_if_openai_takes_the_name() -> None:
    assert said(metadata={"user_id": "u-1"})["user"] == "u-1"
    assert "user" not in said(metadata={"user_id": "u" * 65})


def test_what_only_says_how_is_left_out() -> None:
    clears = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    hints = {"service_tier": "auto", "cache_control": {"type": "ephemeral"}, "context_management": clears}
    assert said(**hints) == said()


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"top_k": 5}, "top_k"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        ({"tools": [WEATHER, {"name": "n" * 65, "input_schema": SCHEMA}]}, "tools[1].name"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management"),
        ({"stop_sequences": ["1", "2", "3", "4", "5"]}, "stop_sequences"),
        ({"tool_choice": {"type": "new"}, "tools": [WEATHER]}, "tool_choice"),
        ({"output_config": {"format": {"type": "regex"}}}, "output_config.format"),
        ({"messages": [turn("user", [{"type": "document", "source": {"type": "text"}}])]}, "messages[0].content[0]"),
        (
            {"messages": [turn("user", [text("x"), {"type": "search_result", "source": "https://e.com"}])]},
            "messages[0].content[1]",
        ),
        (
            {"messages": [turn("user", [{"type": "image", "source": {"type": "file", "file_id": "f"}}])]},
            "messages[0].content[0].source",
        ),
        (
            {"messages": [turn("user", [result([{"type": "document"}])])]},
            "messages[0].content[0].content[0]",
        ),
        ({"messages": [turn("user", [result([CALL])])]}, "messages[0].content[0].content[0]"),
        ({"messages": [*HELLO, turn("assistant", [{"type": "server_tool_use", "id": "s"}])]}, "messages[1].content[0]"),
    ],
)
def test_what_openai_cannot_express_names_the_field(members: dict[str, Any], field: str) -> None:
    request = messages(**members)
    assert dialects.missing_for(OPENAI, request) == field
    with pytest.raises(Unsupported) as caught:
        dialects.encode(request, OPENAI, target())
    assert caught.value.param == field
    assert dialects.missing_for(ANTHROPIC, request) is None


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"messages": [turn("robot", "hi")]}, "messages[0].role"),
        ({"messages": [turn("user", [{"text": "no type"}])]}, "messages[0].content[0]"),
        ({"system": 7}, "system"),
        ({"messages": [turn("user", [{"type": "image"}])]}, "messages[0].content[0].source"),
        ({"messages": [turn("user", [result(7)])]}, "messages[0].content[0].content"),
        ({"messages": [turn("user", [result([{}])])]}, "messages[0].content[0].content[0]"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"stop_sequences": "one"}, "stop_sequences"),
    ],
)
def test_what_is_no_messages_request_is_told_where(members: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        dialects.encode(messages(**members), OPENAI, target())
    assert caught.value.param == field

"""The Anthropic dialect: its own SDK is content, and what Anthropic would refuse is refused in its words."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic.types import MessageParam, ToolParam
from pydantic import BaseModel
from tests.sidecar.simulator.raw import MESSAGE, ask

from llmroute.simulator import Fleet

FLEET = """
seed: 3
providers:
- {name: claude, dialect: anthropic, apiKey: sim-key, models: [opus], outputTokens: {median: 6}, cachedShare: 0.5}
- {name: open, dialect: anthropic, outputTokens: {median: 6}}
"""
WEATHER: ToolParam = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
HELLO: list[MessageParam] = [{"role": "user", "content": "hello there"}]
CALL = {"type": "tool_use", "id": "a", "name": "get_weather", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "sunny"}


class City(BaseModel):
    name: str
    people: int


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with Fleet.start(FLEET) as fleet:
        yield fleet


@pytest.fixture
async def client(fleet: Fleet) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=fleet["claude"].url, api_key="sim-key", max_retries=0) as client:
        yield client


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": [assistant("hi")]}, 'first message must use the "user" role'),
        ({"messages": [user("hi"), {"role": "wizard", "content": "x"}]}, "messages.1.role"),
        ({"messages": [user("")]}, "text content blocks must be non-empty"),
        ({"messages": [user([RESULT])]}, "unexpected `tool_use_id`"),
        ({"messages": [user("hi"), assistant([CALL]), user("never mind")]}, "without `tool_result` blocks"),
        ({"tool_choice": {"type": "any"}}, "tool_choice may only be specified"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "f"}}, "Tool 'f' not found"),
        ({"thinking": {"type": "enabled", "budget_tokens": 100}}, "greater than or equal to 1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "`max_tokens` must be greater"),
        (
            {"thinking": {"type": "adaptive"}, "tools": [WEATHER], "tool_choice": {"type": "any"}},
            "Thinking may not be enabled when tool_choice forces tool use",
        ),
        (
            {"thinking": {"type": "adaptive"}, "messages": [user("hi"), assistant([CALL]), user([RESULT])]},
            "Expected `thinking` or `redacted_thinking`, but found `tool_use`",
        ),
        (
            {
                "thinking": {"type": "adaptive"},
                "messages": [
                    user("hi"),
                    assistant([{"type": "thinking", "thinking": "hm", "signature": "forged"}]),
                    user("go on"),
                ],
            },
            "Invalid `signature` in `thinking` block",
        ),
    ],
)
async def test_a_request_that_anthropic_refuses_is_refused(fleet: Fleet, changes: dict[str, Any], words: str) -> None:
    answer = await ask(fleet["open"], "/v1/messages", MESSAGE | changes)
    assert (answer.status, answer.json["type"]) == (400, "error")
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert words in answer.json["error"]["message"]
    assert answer.json["request_id"] == answer.headers["request-id"]


async def test_a_wrong_key_an_unknown_model_and_a_missing_version(
    fleet: Fleet, client: anthropic.AsyncAnthropic
) -> None:
    with pytest.raises(anthropic.AuthenticationError):
        await client.with_options(api_key="guess").messages.create(model="opus", max_tokens=9, messages=HELLO)
    with pytest.raises(anthropic.NotFoundError):
        await client.messages.create(model="huge", max_tokens=9, messages=HELLO)
    answer = await ask(fleet["open"], "/v1/models", None)
    assert (answer.status, answer.json["error"]["message"]) == (400, "anthropic-version: header is required")
    assert (await ask(fleet["open"], "/v1/chat/completions", MESSAGE)).status == 404


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": 1.0}, "temperature: Extra inputs are not permitted"),
        ({"top_k": None}, "top_k: Extra inputs are not permitted"),
        (
            {"messages": [user("hi"), assistant([{"type": "document", "source": {}}])]},
            "messages.1.content.0: `document` blocks are not permitted",
        ),
        (
            {"messages": [user([{"type": "text", "text": "hi", "citations": [{}]}])]},
            "messages.0.content.0: `citations` are not permitted",
        ),
    ],
)
async def test_the_newer_version_refuses_what_the_older_took(fleet: Fleet, changes: dict[str, Any], words: str) -> None:
    statuses = {}
    for version in ("2023-06-01", "2026-10-21"):
        answer = await ask(fleet["open"], "/v1/messages", MESSAGE | changes, {"anthropic-version": version})
        statuses[version] = answer.status
    assert statuses == {"2023-06-01": 200, "2026-10-21": 400}
    assert answer.json["error"]["message"].startswith(words)


async def test_either_header_carries_the_key_and_x_api_key_wins(fleet: Fleet) -> None:
    async def status(**headers: str) -> int:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await ask(fleet["claude"], "/v1/messages", MESSAGE | {"model": "opus"}, fields)).status

    assert await status(x_api_key="sim-key") == 200
    assert await status(authorization="Bearer sim-key") == 200
    assert await status(x_api_key="guess", authorization="Bearer sim-key") == 401
    assert await status(authorization="sim-key") == 401
    assert await status() == 401


async def test_a_message(client: anthropic.AsyncAnthropic) -> None:
    answer = await client.messages.create(
        model="opus", max_tokens=100, system="x" * 40, messages=[{"role": "user", "content": "x" * 40}]
    )
    assert answer.stop_reason == "end_turn"
    assert answer.content[0].type == "text"
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (10, 10, 6)


async def test_a_stream_says_what_the_body_would_have_said(client: anthropic.AsyncAnthropic) -> None:
    luck = {"x-simulator-index": "11"}
    whole = await client.messages.create(model="opus", max_tokens=100, messages=HELLO, extra_headers=luck)
    async with client.messages.stream(model="opus", max_tokens=100, messages=HELLO, extra_headers=luck) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_message()
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    assert final.to_dict()["content"] == whole.to_dict()["content"]
    assert (final.stop_reason, final.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)


async def test_thinking_comes_signed_and_goes_back_unharmed(client: anthropic.AsyncAnthropic) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": "the weather in two cities, in parallel"}]
    async with client.messages.stream(
        model="opus", max_tokens=2000, messages=messages, tools=[WEATHER], thinking={"type": "adaptive"}
    ) as stream:
        first = await stream.get_final_message()
    assert [block.type for block in first.content] == ["thinking", "tool_use", "tool_use"]
    assert first.stop_reason == "tool_use"
    results = [block.id for block in first.content if block.type == "tool_use"]
    messages.append({"role": "assistant", "content": [block for block in first.content]})
    messages.append(
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": name, "content": "sunny"} for name in results],
        }
    )
    second = await client.messages.create(
        model="opus", max_tokens=2000, messages=messages, tools=[WEATHER], thinking={"type": "adaptive"}
    )
    assert [block.type for block in second.content] == ["thinking", "text"]


async def test_a_forced_tool_and_no_parallel_ones(client: anthropic.AsyncAnthropic) -> None:
    answer = await client.messages.create(
        model="opus",
        max_tokens=100,
        messages=[{"role": "user", "content": "weather in parallel"}],
        tools=[WEATHER],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
    )
    (block,) = answer.content
    assert block.type == "tool_use"
    assert block.input == {"city": "simulated"}


async def test_parsed_output(client: anthropic.AsyncAnthropic) -> None:
    answer = await client.messages.parse(model="opus", max_tokens=100, messages=HELLO, output_format=City)
    assert isinstance(answer.parsed_output, City)


@pytest.mark.parametrize(
    ("words", "fields", "reason", "sequence"),
    [
        ("hello", {"max_tokens": 2}, "max_tokens", None),
        ("hello", {"stop_sequences": [" "]}, "stop_sequence", " "),
        ("please refuse to answer", {}, "refusal", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_stop_reasons(
    fleet: Fleet, words: str, fields: dict[str, Any], reason: str, sequence: str | None, stream: bool
) -> None:
    body = MESSAGE | {"messages": [user(words)], "stream": stream} | fields
    answer = await ask(fleet["open"], "/v1/messages", body)
    last = answer.events[-2]["delta"] if stream else answer.json
    assert (last["stop_reason"], last["stop_sequence"]) == (reason, sequence)


async def test_token_counts_and_models(client: anthropic.AsyncAnthropic) -> None:
    counted = await client.messages.count_tokens(model="opus", messages=[{"role": "user", "content": "x" * 40}])
    assert counted.input_tokens == 10
    assert [model.id async for model in client.models.list()] == ["opus"]
    assert (await client.models.retrieve("opus")).id == "opus"
    with pytest.raises(anthropic.NotFoundError):
        await client.models.retrieve("huge")

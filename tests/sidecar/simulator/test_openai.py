"""The OpenAI dialect: its own SDK is content, and what OpenAI would refuse is refused in its words."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.responses import FunctionToolParam
from pydantic import BaseModel
from tests.sidecar.simulator.raw import CHAT, ask, chat

from llmroute.simulator import Fleet, Member

FLEET = """
seed: 3
providers:
- {name: east, apiKey: sim-key, models: [gpt, small], outputTokens: {median: 6}, cachedShare: 0.5}
- {name: thinker, outputTokens: {median: 4}, reasoning: {tokens: 3}}
- {name: secretive, outputTokens: {median: 4}, reasoning: {tokens: 3, shown: false}}
- {name: narrow, contextWindow: 50}
"""
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello there"}]


class City(BaseModel):
    name: str
    people: int


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with Fleet.start(FLEET) as fleet:
        yield fleet


@pytest.fixture
async def client(fleet: Fleet) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=fleet["east"].url, api_key="sim-key", max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.[0].role"),
        ({"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]}, "messages.[0].role"),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]},
                    {"role": "user", "content": "never mind"},
                ]
            },
            "messages.[1]",
        ),
        ({"model": ""}, "model"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
    ],
)
async def test_a_request_that_openai_refuses_is_refused(fleet: Fleet, changes: dict[str, Any], param: str) -> None:
    answer = await chat(fleet["thinker"], **changes)
    assert answer.status == 400
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert answer.json["error"]["param"] == param


async def test_a_body_that_is_not_json_is_refused(fleet: Fleet) -> None:
    answer = await ask(fleet["thinker"], "/v1/chat/completions", b'{"model": ')
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")


async def test_a_wrong_key_an_unknown_model_and_an_unknown_path(fleet: Fleet, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as unauthorized:
        await client.with_options(api_key="guess").chat.completions.create(model="gpt", messages=HELLO)
    assert unauthorized.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.chat.completions.create(model="huge", messages=HELLO)
    assert unknown.value.code == "model_not_found"
    assert (await ask(fleet["thinker"], "/v1/messages", CHAT)).status == 404


async def test_a_prompt_beyond_the_context_window_is_refused(fleet: Fleet) -> None:
    assert (await chat(fleet["narrow"], messages=[{"role": "user", "content": "x" * 200}])).status == 200
    answer = await chat(fleet["narrow"], messages=[{"role": "user", "content": "x" * 201}])
    assert (answer.status, answer.json["error"]["code"]) == (400, "context_length_exceeded")


async def test_chat(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "x" * 80}])
    assert answer.choices[0].finish_reason == "stop"
    assert len((answer.choices[0].message.content or "").split()) == 6
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (20, 6)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 10


async def test_a_stream_says_what_the_body_would_have_said(client: openai.AsyncOpenAI) -> None:
    luck = {"x-simulator-index": "11"}
    whole = await client.chat.completions.create(model="gpt", messages=HELLO, extra_headers=luck)
    stream = await client.chat.completions.create(
        model="gpt", messages=HELLO, extra_headers=luck, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage == whole.usage


async def test_several_choices_are_streamed_side_by_side(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="gpt", messages=HELLO, stream=True, n=2)
    texts = {0: "", 1: ""}
    async for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts[0] == texts[1] != ""


async def test_tools_in_parallel_then_their_results(client: openai.AsyncOpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "weather of two cities in parallel"}]
    first = await client.chat.completions.create(model="gpt", messages=messages, tools=[WEATHER])
    calls = first.choices[0].message.tool_calls or []
    assert first.choices[0].finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in calls if call.type == "function"] == [
        {"city": "simulated"},
        {"city": "simulated"},
    ]
    messages.append(first.choices[0].message.to_dict())  # type: ignore[arg-type]
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
    second = await client.chat.completions.create(model="gpt", messages=messages, tools=[WEATHER])
    assert second.choices[0].finish_reason == "stop"


async def test_streamed_tool_calls_add_up(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="gpt", messages=HELLO, tools=[WEATHER], tool_choice="required"
    ) as stream:
        final = await stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "simulated"})


async def test_parsed_output(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(model="gpt", messages=HELLO, response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)
    plain = await client.chat.completions.create(model="gpt", messages=HELLO, response_format={"type": "json_object"})
    assert isinstance(json.loads(plain.choices[0].message.content or ""), dict)


async def test_reasoning_is_shown_or_only_counted(fleet: Fleet) -> None:
    shown = await chat(fleet["thinker"])
    hidden = await chat(fleet["secretive"])
    for answer in (shown, hidden):
        assert answer.json["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3
    assert shown.json["choices"][0]["message"]["reasoning_content"]
    assert "reasoning_content" not in hidden.json["choices"][0]["message"]
    streamed = await chat(fleet["secretive"], stream=True)
    assert not any("reasoning_content" in event["choices"][0]["delta"] for event in streamed.events[:-1])


@pytest.mark.parametrize(
    ("words", "fields", "reason"),
    [
        ("hello", {"max_tokens": 2}, "length"),
        ("hello", {"stop": [" "]}, "stop"),
        ("please refuse to answer", {}, "content_filter"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_finish_reasons(fleet: Fleet, words: str, fields: dict[str, Any], reason: str, stream: bool) -> None:
    answer = await chat(fleet["narrow"], messages=[{"role": "user", "content": words}], stream=stream, **fields)
    last = answer.events[-2] if stream else answer.json
    assert last["choices"][0]["finish_reason"] == reason


async def test_completions(client: openai.AsyncOpenAI) -> None:
    luck = {"x-simulator-index": "11"}
    whole = await client.completions.create(model="gpt", prompt="hello", extra_headers=luck)
    stream = await client.completions.create(model="gpt", prompt="hello", extra_headers=luck, stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text


async def test_equal_texts_have_equal_embeddings_in_either_encoding(client: openai.AsyncOpenAI) -> None:
    packed = await client.embeddings.create(model="small", input=["one", "two", "one"], dimensions=16)
    plain = await client.embeddings.create(model="small", input="one", dimensions=16, encoding_format="float")
    one, two, again = (item.embedding for item in packed.data)
    assert one == again != two
    assert plain.data[0].embedding == pytest.approx(one)
    assert sum(part * part for part in one) == pytest.approx(1)
    tokens = await client.embeddings.create(model="small", input=[[1, 2], [3]])
    assert len(tokens.data) == 2
    with pytest.raises(openai.BadRequestError):
        await client.embeddings.create(model="small", input="")


async def test_responses_stream_and_follow_one_another(fleet: Fleet, client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model="gpt", input="hello")
    async with client.responses.stream(model="gpt", input="more", previous_response_id=first.id) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert [event.sequence_number for event in events if hasattr(event, "sequence_number")][:3] == [0, 1, 2]
    assert len(final.output_text.split()) == 6
    assert final.usage is not None and final.usage.output_tokens == 6
    with pytest.raises(openai.BadRequestError, match="not found"):
        elsewhere = client.with_options(base_url=fleet["thinker"].url)
        await elsewhere.responses.create(model="gpt", input="more", previous_response_id=first.id)


async def test_responses_with_tools_reasoning_and_parsed_output(fleet: Fleet, client: openai.AsyncOpenAI) -> None:
    thinker = client.with_options(base_url=fleet["thinker"].url)
    tool: FunctionToolParam = {
        "type": "function",
        "name": "get_weather",
        "parameters": WEATHER["function"]["parameters"],
        "strict": True,
    }
    async with thinker.responses.stream(model="gpt", input="the weather", tools=[tool]) as stream:
        final = await stream.get_final_response()
    assert [item.type for item in final.output] == ["reasoning", "function_call"]
    cut = await thinker.responses.create(model="gpt", input="hello", max_output_tokens=5)
    assert (cut.status, cut.incomplete_details and cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert isinstance((await thinker.responses.parse(model="gpt", input="hello", text_format=City)).output_parsed, City)


async def test_models_are_those_declared(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["gpt", "small"]
    assert (await client.models.retrieve("gpt")).id == "gpt"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("huge")


async def test_uploads_are_counted_and_sounds_are_bytes(client: openai.AsyncOpenAI) -> None:
    heard = await client.audio.transcriptions.create(model="ear", file=("sound.mp3", b"x" * 100_000))
    assert heard.to_dict()["bytes"] > 100_000  # type: ignore[operator]
    spoken = await client.audio.speech.create(model="mouth", voice="alloy", input="hello")
    assert len(spoken.content) == 16 * 1024
    assert (await client.files.create(file=("a.txt", b"abc"), purpose="user_data")).bytes > 3
    assert [file.id async for file in client.files.list()] == ["file-simulated"]
    assert not (await client.moderations.create(input="hello")).results[0].flagged
    assert (await client.images.generate(prompt="a cat")).data
    with pytest.raises(openai.BadRequestError):
        await client.post("/files", cast_to=object, body={})


def azure_client(member: Member, key: str) -> openai.AsyncAzureOpenAI:
    return openai.AsyncAzureOpenAI(azure_endpoint=member.origin, api_key=key, api_version="2024-10-21", max_retries=0)


async def test_azure_has_the_model_in_the_path_and_the_key_in_its_own_header(fleet: Fleet) -> None:
    async with azure_client(fleet["east"], "sim-key") as azure:
        answer = await azure.chat.completions.create(model="gpt", messages=HELLO)
        assert answer.model == "gpt"
    assert fleet["east"].requests[-1].path == "/openai/deployments/gpt/chat/completions"
    async with azure_client(fleet["east"], "guess") as azure:
        with pytest.raises(openai.AuthenticationError):
            await azure.chat.completions.create(model="gpt", messages=HELLO)
    assert (await ask(fleet["thinker"], "/openai/deployments/gpt/chat/completions", CHAT)).status == 404


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1beta/openai", "/openai/v1", "/api/v1"])
async def test_compatible_providers_have_their_own_prefixes(fleet: Fleet, prefix: str) -> None:
    assert (await ask(fleet["thinker"], f"{prefix}/chat/completions", CHAT)).status == 200

"""Apps on OpenAI's Python SDK chat through the sidecar, whichever API the target speaks."""

import json

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from openai.types.chat.chat_completion_message_function_tool_call import ChatCompletionMessageFunctionToolCall
from pydantic import BaseModel, ConfigDict
from tests.clients.programs import Sidecar
from tests.clients.schemas import DOT, NAMES, Journey, openai_tools

HELLO: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "How are you?"},
]


def called(answer: ChatCompletion) -> list[ChatCompletionMessageFunctionToolCall]:
    """The function calls of an answer."""
    calls = answer.choices[0].message.tool_calls or []
    return [call for call in calls if isinstance(call, ChatCompletionMessageFunctionToolCall)]


def test_an_answer_comes_whole_with_its_usage(openai_app: openai.OpenAI, target: str) -> None:
    answer = openai_app.chat.completions.create(model=target, messages=HELLO)
    assert answer.object == "chat.completion"
    assert answer.model == f"model-of-{target}"
    assert len((answer.choices[0].message.content or "").split()) == 12
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage is not None and usage.prompt_tokens_details is not None
    assert usage.completion_tokens == 12
    assert usage.total_tokens == usage.prompt_tokens + 12
    assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens // 4 > 0


def test_the_answer_says_where_it_came_from_and_why(openai_app: openai.OpenAI, target: str) -> None:
    raw = openai_app.chat.completions.with_raw_response.create(
        model=target, messages=HELLO, extra_headers={"x-request-id": "the-apps-own"}
    )
    assert raw.headers["x-llmroute-target"] == target
    assert raw.headers["x-llmroute-reason"] == "only"
    assert raw.headers["x-llmroute-attempts"] == f"{target}:ok"
    assert raw.request_id == "the-apps-own"
    assert raw.retries_taken == 0
    assert raw.parse()._request_id == "the-apps-own"


def test_a_stream_comes_in_pieces_and_ends(openai_app: openai.OpenAI, target: str) -> None:
    chunks = list(openai_app.chat.completions.create(model=target, messages=HELLO, stream=True))
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert len(words) == 12
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks), "usage that the sidecar asked for is its own"


def test_a_stream_tells_its_usage_if_the_app_asks(openai_app: openai.OpenAI, target: str) -> None:
    stream = openai_app.chat.completions.create(
        model=target, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = stream
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 12
    assert last.usage.prompt_tokens > 0
    assert all(chunk.usage is None for chunk in chunks)


def test_the_stream_helper_puts_the_answer_together(openai_app: openai.OpenAI, target: str) -> None:
    with openai_app.chat.completions.stream(model=target, messages=HELLO) as stream:
        events = list(stream)
        answer = stream.get_final_completion()
    said = "".join(event.delta for event in events if event.type == "content.delta")
    assert said == answer.choices[0].message.content
    assert [event.type for event in events].count("content.done") == 1


def test_an_answer_ends_at_the_bound_of_the_app(openai_app: openai.OpenAI, target: str) -> None:
    for bound in ("max_tokens", "max_completion_tokens"):
        answer = openai_app.chat.completions.create(model=target, messages=HELLO, extra_body={bound: 3})
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None and answer.usage.completion_tokens == 3


def test_an_answer_ends_at_a_stop_sequence(openai_app: openai.OpenAI, target: str) -> None:
    answer = openai_app.chat.completions.create(model=target, messages=HELLO, stop=["e", "|"])
    assert answer.choices[0].finish_reason == "stop"
    assert "e" not in (answer.choices[0].message.content or "")


def test_a_picture_is_understood(openai_app: openai.OpenAI, target: str) -> None:
    answer = openai_app.chat.completions.create(
        model=target,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DOT}"}},
                ],
            }
        ],
    )
    assert answer.choices[0].message.content
    assert answer.usage is not None and answer.usage.prompt_tokens > 80, "a picture has its price"


def test_tools_are_called_side_by_side(openai_app: openai.OpenAI, target: str) -> None:
    answer = openai_app.chat.completions.create(
        model=target, messages=[{"role": "user", "content": "weather and traffic, in parallel"}], tools=openai_tools()
    )
    calls = called(answer)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert [call.function.name for call in calls] == list(NAMES)
    assert len({call.id for call in calls}) == 2
    assert all(json.loads(call.function.arguments) == {"city": "simulated", "days": 1} for call in calls)


def test_tools_are_called_in_a_stream(openai_app: openai.OpenAI, target: str) -> None:
    with openai_app.chat.completions.stream(
        model=target,
        messages=[{"role": "user", "content": "weather and traffic, in parallel"}],
        tools=openai_tools(),
    ) as stream:
        events = list(stream)
        answer = stream.get_final_completion()
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert [event.name for event in done] == list(NAMES)
    assert [json.loads(event.arguments) for event in done] == [{"city": "simulated", "days": 1}] * 2
    assert answer.choices[0].finish_reason == "tool_calls"


def test_the_choice_of_a_tool_is_obeyed(openai_app: openai.OpenAI, target: str) -> None:
    question: list[ChatCompletionMessageParam] = [{"role": "user", "content": "nothing in particular"}]
    tools = openai_tools()
    one = openai_app.chat.completions.create(
        model=target,
        messages=question,
        tools=tools,
        tool_choice={"type": "function", "function": {"name": "get_traffic"}},
    )
    assert [call.function.name for call in called(one)] == ["get_traffic"]
    some = openai_app.chat.completions.create(model=target, messages=question, tools=tools, tool_choice="required")
    assert called(some)
    none = openai_app.chat.completions.create(
        model=target, messages=[{"role": "user", "content": "weather"}], tools=tools, tool_choice="none"
    )
    assert not called(none) and none.choices[0].message.content
    single = openai_app.chat.completions.create(
        model=target,
        messages=[{"role": "user", "content": "weather and traffic"}],
        tools=tools,
        parallel_tool_calls=False,
    )
    assert len(called(single)) == 1


def test_results_of_tools_go_back_and_the_conversation_goes_on(openai_app: openai.OpenAI, target: str) -> None:
    history: list[ChatCompletionMessageParam] = [{"role": "user", "content": "weather and traffic, in parallel"}]
    asked = openai_app.chat.completions.create(model=target, messages=history, tools=openai_tools())
    history.append(asked.choices[0].message.to_dict())  # type: ignore[arg-type] # as apps do it
    for call in called(asked):
        history.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps({"answer": 42})})
    answer = openai_app.chat.completions.create(model=target, messages=history, tools=openai_tools())
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content
    history += [
        {"role": "assistant", "content": answer.choices[0].message.content},
        {"role": "user", "content": "and the weather again?"},
    ]
    again = openai_app.chat.completions.create(model=target, messages=history, tools=openai_tools())
    assert [call.function.name for call in called(again)] == ["get_weather"]


def test_an_answer_is_parsed_into_a_type(openai_app: openai.OpenAI, target: str) -> None:
    answer = openai_app.chat.completions.parse(model=target, messages=HELLO, response_format=Journey)
    journey = answer.choices[0].message.parsed
    assert isinstance(journey, Journey)
    assert journey.stops[0].nights == 42


def test_a_streamed_answer_is_parsed_into_a_type(openai_app: openai.OpenAI, target: str) -> None:
    with openai_app.chat.completions.stream(model=target, messages=HELLO, response_format=Journey) as stream:
        answer = stream.until_done().get_final_completion()
    assert isinstance(answer.choices[0].message.parsed, Journey)


def test_a_tool_call_is_parsed_into_a_type(openai_app: openai.OpenAI, target: str) -> None:
    class GetWeather(BaseModel):
        model_config = ConfigDict(extra="forbid")
        city: str

    tool: ChatCompletionFunctionToolParam = openai.pydantic_function_tool(GetWeather, name="get_weather")
    answer = openai_app.chat.completions.parse(
        model=target, messages=[{"role": "user", "content": "weather"}], tools=[tool]
    )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.parsed_arguments == GetWeather(city="simulated")


def test_any_json_object_may_be_asked_of_a_target_that_knows_how(openai_app: openai.OpenAI) -> None:
    answer = openai_app.chat.completions.create(model="openai", messages=HELLO, response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content or "")
    with pytest.raises(openai.BadRequestError, match="response_format"):
        openai_app.chat.completions.create(model="anthropic", messages=HELLO, response_format={"type": "json_object"})


async def test_an_asynchronous_app_is_served_alike(sidecar: Sidecar, target: str) -> None:
    async with openai.AsyncOpenAI(base_url=sidecar.openai_url, api_key="key-of-the-app") as app:
        answer = await app.chat.completions.create(model=target, messages=HELLO)
        assert answer.choices[0].message.content
        words = []
        async for chunk in await app.chat.completions.create(model=target, messages=HELLO, stream=True):
            words.append(chunk.choices[0].delta.content or "")
        assert len("".join(words).split()) == 12
        async with app.chat.completions.stream(
            model=target, messages=[{"role": "user", "content": "weather"}], tools=openai_tools()
        ) as stream:
            called_tools = [event.name async for event in stream if event.type == "tool_calls.function.arguments.done"]
        assert called_tools == ["get_weather"]
        parsed = await app.chat.completions.parse(model=target, messages=HELLO, response_format=Journey)
        assert isinstance(parsed.choices[0].message.parsed, Journey)

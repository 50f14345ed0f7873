"""Apps on Anthropic's Python SDK send messages through the sidecar, whichever API the target speaks."""

import anthropic
from anthropic.types import Message, MessageParam, ToolUseBlock
from tests.clients.programs import Sidecar
from tests.clients.schemas import DOT, NAMES, Journey, anthropic_tools

HELLO: list[MessageParam] = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "How are you?"},
]
BOTH: list[MessageParam] = [{"role": "user", "content": "weather and traffic, in parallel"}]
WHERE = {"city": "simulated", "days": 1}


def text(answer: Message) -> str:
    """All text of an answer."""
    return "".join(block.text for block in answer.content if block.type == "text")


def called(answer: Message) -> list[ToolUseBlock]:
    """The tool calls of an answer."""
    return [block for block in answer.content if block.type == "tool_use"]


def test_an_answer_comes_whole_with_its_usage(anthropic_app: anthropic.Anthropic, target: str) -> None:
    answer = anthropic_app.messages.create(model=target, max_tokens=100, system="Be brief.", messages=HELLO)
    assert {answer.type, answer.role} == {"message", "assistant"}
    assert answer.model == f"model-of-{target}"
    assert len(text(answer).split()) == 12
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens == 12
    assert answer.usage.input_tokens > 0
    assert answer.usage.cache_read_input_tokens, "a quarter of the prompt"


def test_the_answer_says_where_it_came_from_and_why(anthropic_app: anthropic.Anthropic, target: str) -> None:
    raw = anthropic_app.messages.with_raw_response.create(model=target, max_tokens=100, messages=HELLO)
    assert raw.headers["x-llmroute-target"] == target
    assert raw.headers["x-llmroute-reason"] == "only"
    assert raw.headers["x-llmroute-attempts"] == f"{target}:ok"
    assert raw.retries_taken == 0


def test_a_stream_comes_in_pieces_and_ends(anthropic_app: anthropic.Anthropic, target: str) -> None:
    events = list(anthropic_app.messages.create(model=target, max_tokens=100, messages=HELLO, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[2:14] == ["content_block_delta"] * 12
    assert kinds[14:] == ["content_block_stop", "message_delta", "message_stop"]


def test_the_stream_helper_puts_the_answer_together(anthropic_app: anthropic.Anthropic, target: str) -> None:
    with anthropic_app.messages.stream(model=target, max_tokens=100, messages=HELLO) as stream:
        words = list(stream.text_stream)
        answer = stream.get_final_message()
    assert len(words) == 12
    assert "".join(words) == text(answer)
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens == 12
    assert answer.usage.input_tokens > 0


def test_an_answer_ends_at_the_bound_of_the_app(anthropic_app: anthropic.Anthropic, target: str) -> None:
    answer = anthropic_app.messages.create(model=target, max_tokens=3, messages=HELLO)
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == 3


def test_an_answer_ends_at_a_stop_sequence(anthropic_app: anthropic.Anthropic, target: str) -> None:
    answer = anthropic_app.messages.create(model=target, max_tokens=100, messages=HELLO, stop_sequences=["e", "|"])
    assert "e" not in text(answer)
    if target == "anthropic":
        assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "e")
    else:
        assert answer.stop_reason == "end_turn", "OpenAI's API does not tell whether a stop sequence was met"


def test_a_picture_is_understood(anthropic_app: anthropic.Anthropic, target: str) -> None:
    answer = anthropic_app.messages.create(
        model=target,
        max_tokens=100,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DOT}},
                    {"type": "text", "text": "What is this?"},
                ],
            }
        ],
    )
    assert text(answer)
    assert answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0) > 80, "a picture has its price"


def test_tools_are_called_side_by_side(anthropic_app: anthropic.Anthropic, target: str) -> None:
    answer = anthropic_app.messages.create(model=target, max_tokens=100, messages=BOTH, tools=anthropic_tools())
    calls = called(answer)
    assert answer.stop_reason == "tool_use"
    assert [call.name for call in calls] == list(NAMES)
    assert len({call.id for call in calls}) == 2
    assert [call.input for call in calls] == [WHERE, WHERE]


def test_tools_are_called_in_a_stream(anthropic_app: anthropic.Anthropic, target: str) -> None:
    with anthropic_app.messages.stream(model=target, max_tokens=100, messages=BOTH, tools=anthropic_tools()) as stream:
        events = list(stream)
        answer = stream.get_final_message()
    done = [event.content_block for event in events if event.type == "content_block_stop"]
    assert [block.name for block in done if block.type == "tool_use"] == list(NAMES)
    assert [call.input for call in called(answer)] == [WHERE, WHERE]
    assert any(event.type == "input_json" for event in events)
    assert answer.stop_reason == "tool_use"


def test_the_choice_of_a_tool_is_obeyed(anthropic_app: anthropic.Anthropic, target: str) -> None:
    question: list[MessageParam] = [{"role": "user", "content": "nothing in particular"}]
    tools = anthropic_tools()
    one = anthropic_app.messages.create(
        model=target,
        max_tokens=100,
        messages=question,
        tools=tools,
        tool_choice={"type": "tool", "name": "get_traffic"},
    )
    assert [call.name for call in called(one)] == ["get_traffic"]
    some = anthropic_app.messages.create(
        model=target, max_tokens=100, messages=question, tools=tools, tool_choice={"type": "any"}
    )
    assert called(some)
    none = anthropic_app.messages.create(
        model=target, max_tokens=100, messages=BOTH, tools=tools, tool_choice={"type": "none"}
    )
    assert not called(none) and text(none)
    single = anthropic_app.messages.create(
        model=target,
        max_tokens=100,
        messages=BOTH,
        tools=tools,
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    )
    assert len(called(single)) == 1


def test_results_of_tools_go_back_and_the_conversation_goes_on(anthropic_app: anthropic.Anthropic, target: str) -> None:
    history = list(BOTH)
    asked = anthropic_app.messages.create(model=target, max_tokens=100, messages=history, tools=anthropic_tools())
    history.append({"role": "assistant", "content": asked.content})
    failed, fine = called(asked)
    history.append(
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": failed.id, "content": "no such city", "is_error": True},
                {"type": "tool_result", "tool_use_id": fine.id, "content": [{"type": "text", "text": "42"}]},
            ],
        }
    )
    answer = anthropic_app.messages.create(model=target, max_tokens=100, messages=history, tools=anthropic_tools())
    assert answer.stop_reason == "end_turn"
    history += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": "the weather again?"}]
    again = anthropic_app.messages.create(model=target, max_tokens=100, messages=history, tools=anthropic_tools())
    assert [call.name for call in called(again)] == ["get_weather"]


def test_an_answer_is_parsed_into_a_type(anthropic_app: anthropic.Anthropic, target: str) -> None:
    answer = anthropic_app.messages.parse(model=target, max_tokens=100, messages=HELLO, output_format=Journey)
    assert isinstance(answer.parsed_output, Journey)
    assert answer.parsed_output.stops[0].nights == 42


def test_a_streamed_answer_is_parsed_into_a_type(anthropic_app: anthropic.Anthropic, target: str) -> None:
    with anthropic_app.messages.stream(model=target, max_tokens=100, messages=HELLO, output_format=Journey) as stream:
        answer = stream.get_final_message()
    assert isinstance(answer.parsed_output, Journey)


def test_thoughts_keep_their_signatures_over_turns(anthropic_app: anthropic.Anthropic) -> None:
    """The target refuses thinking blocks that were changed on their way."""
    history = list(BOTH)
    with anthropic_app.messages.stream(
        model="anthropic",
        max_tokens=2000,
        messages=history,
        tools=anthropic_tools(),
        thinking={"type": "enabled", "budget_tokens": 1024},
    ) as stream:
        thoughts = [event.thinking for event in stream if event.type == "thinking"]
        asked = stream.get_final_message()
    assert asked.content[0].type == "thinking"
    assert "".join(thoughts) == asked.content[0].thinking
    history.append({"role": "assistant", "content": asked.content})
    history.append(
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "42"} for call in called(asked)],
        }
    )
    answer = anthropic_app.messages.create(
        model="anthropic",
        max_tokens=2000,
        messages=history,
        tools=anthropic_tools(),
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    assert answer.stop_reason == "end_turn" and text(answer)


def test_tokens_are_counted(anthropic_app: anthropic.Anthropic, target: str) -> None:
    raw = anthropic_app.messages.with_raw_response.count_tokens(
        model=target, system="Be brief.", messages=HELLO, tools=anthropic_tools()
    )
    assert raw.parse().input_tokens > 0
    assert ("x-llmroute-estimate" in raw.headers) == (target == "openai"), "only Anthropic's targets know"


def test_models_are_listed_as_anthropic_lists_them(anthropic_app: anthropic.Anthropic, target: str) -> None:
    listed = [model.id for model in anthropic_app.models.list()]
    assert target in listed
    assert anthropic_app.models.retrieve(target).id == target


async def test_an_asynchronous_app_is_served_alike(sidecar: Sidecar, target: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=sidecar.anthropic_url, api_key="key-of-the-app") as app:
        answer = await app.messages.create(model=target, max_tokens=100, messages=HELLO)
        assert text(answer)
        async with app.messages.stream(model=target, max_tokens=100, messages=BOTH, tools=anthropic_tools()) as stream:
            kinds = {event.type async for event in stream}
            final = await stream.get_final_message()
        assert {"input_json", "content_block_stop", "message_stop"} <= kinds
        assert [call.name for call in called(final)] == list(NAMES)
        parsed = await app.messages.parse(model=target, max_tokens=100, messages=HELLO, output_format=Journey)
        assert isinstance(parsed.parsed_output, Journey)
        counted = await app.messages.count_tokens(model=target, messages=HELLO)
        assert counted.input_tokens > 0


def test_beta_features_reach_the_target(anthropic_app: anthropic.Anthropic, target: str) -> None:
    answer = anthropic_app.beta.messages.create(
        model=target, max_tokens=100, messages=[{"role": "user", "content": "Hello"}], betas=["some-beta-2026-01-01"]
    )
    assert answer.stop_reason == "end_turn"


def test_an_agent_runs_its_tools(anthropic_app: anthropic.Anthropic, target: str) -> None:
    """The SDK would leave the conversation with the provider; told that this one cannot keep it, it sends it whole."""
    heard = []

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        heard.append(city)
        return "fine"

    runner = anthropic_app.beta.messages.tool_runner(
        model=target,
        max_tokens=100,
        messages=[{"role": "user", "content": "weather"}],
        tools=[get_weather],
        thread=False if target == "anthropic" else anthropic.omit,
    )
    assert runner.until_done().stop_reason == "end_turn"
    assert heard == ["simulated"]

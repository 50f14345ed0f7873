"""Providers that others have written: @copilotkit/aimock speaks for five of them, well or in trouble."""

import json
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx2
import openai
import pytest
from anthropic.types import Message, MessageParam
from openai.types.chat import ChatCompletionMessage, ChatCompletionMessageParam
from tests.clients import nodejs
from tests.clients.programs import Sidecar, running, serving
from tests.clients.schemas import NAMES, Journey, anthropic_tools, openai_tools

pytestmark = [pytest.mark.node, pytest.mark.skipif(bool(nodejs.missing()), reason=nodejs.missing())]

SAID = "Hello there, how may I help you today?"
PROVIDERS = {
    "openai": "/v1",
    "anthropic": "",
    "gemini": "/v1beta/openai",
    "azure-openai": "",
    "openrouter": "/api/v1",
}
"""Where each is at home, below the address of the mock."""
KEYS = {provider: f"key-of-{provider}" for provider in PROVIDERS}
TROUBLES: dict[str, dict[str, float]] = {
    "errors": {"dropRate": 1},
    "malformed": {"malformedRate": 1},
    "dropped": {"disconnectRate": 1},
    "limited": {"rateLimitRate": 1},
    "late": {"latencyMs": 20_000},
    "chaos": {"dropRate": 0.3, "malformedRate": 0.2, "disconnectRate": 0.2, "rateLimitRate": 0.1},
}
"""aimock's chaos for each trouble."""
IN_TROUBLE = [(provider, trouble) for provider in PROVIDERS for trouble in TROUBLES if trouble != "late"] + [
    ("openai", "late"),
    ("anthropic", "late"),
]
"""Waiting in vain takes its time, so only one provider of each API is late."""
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
GREETING: list[MessageParam] = [{"role": "user", "content": "Hello"}]
ROUTE = """
apiVersion: llmroute.dev/v1alpha1
kind: LLMRoute
metadata: {{name: {name}}}
spec:
  failover: {{timeouts: {{firstToken: {patience}, total: {patience}}}}}
  targets: [{targets}]
---
"""


class Mock:
    """One aimock: its address, and its chaos."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def behave(self, **chaos: float) -> None:
        """Troubles for all requests from now on; none: it is well."""
        headers = {"authorization": f"Bearer {KEYS['openai']}"}
        httpx2.post(f"{self.origin}/__aimock/chaos", json=chaos, headers=headers).raise_for_status()

    def target(self, provider: str, name: str, ttft: str) -> str:
        """A target of a route."""
        url = self.origin + PROVIDERS[provider]
        return f"{{name: {name}, provider: {provider}, model: some-model, url: '{url}', prior: {{ttft: {ttft}}}}}"


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    """A mock that keeps out of trouble."""
    yield from mock(tmp_path_factory.mktemp("well"))


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    """A mock whose troubles each test chooses."""
    yield from mock(tmp_path_factory.mktemp("troubled"))


def mock(directory: Path) -> Iterator[Mock]:
    command = ("node", nodejs.HERE / "node_modules/@copilotkit/aimock/dist/cli.js", "--port", "0", "--validate-on-load")
    keys = {"AIMOCK_API_KEYS": ",".join(KEYS.values())}
    with running((*command, "--fixtures", nodejs.HERE / "fixtures.json"), directory / "log", keys) as program:
        yield Mock(program.wait_for(r"listening on (http://\S+)")[1])


@pytest.fixture(scope="module")
def sidecar(well: Mock, troubled: Mock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Each provider alone; and for each trouble, in trouble before one of the other API that is well."""
    routes = ""
    for provider in PROVIDERS:
        routes += ROUTE.format(name=provider, patience="60s", targets=well.target(provider, provider, "1s"))
        other = "openai" if provider == "anthropic" else "anthropic"
        for trouble in TROUBLES:
            targets = f"{troubled.target(provider, 'troubled', '1ms')}, {well.target(other, 'well', '10s')}"
            patience = "600ms" if trouble == "late" else "60s"
            routes += ROUTE.format(name=f"{trouble}-{provider}", patience=patience, targets=targets)
    environment = {f"{provider.upper().replace('-', '_')}_API_KEY": key for provider, key in KEYS.items()}
    with serving(routes, tmp_path_factory.mktemp("sidecar"), environment) as started:
        yield started


@pytest.fixture(params=list(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def openai_app(sidecar: Sidecar) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=sidecar.openai_url, api_key="key-of-the-app", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def anthropic_app(sidecar: Sidecar) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=sidecar.anthropic_url, api_key="key-of-the-app", max_retries=0) as client:
        yield client


def test_openai_apps_are_answered(openai_app: openai.OpenAI, provider: str) -> None:
    answer = openai_app.chat.completions.create(model=provider, messages=HELLO)
    assert answer.choices[0].message.content == SAID
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None and answer.usage.total_tokens == 20
    with openai_app.chat.completions.stream(model=provider, messages=HELLO) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
        assert stream.get_final_completion().choices[0].finish_reason == "stop"
    assert "".join(pieces) == SAID and len(pieces) > 1


def test_anthropic_apps_are_answered(anthropic_app: anthropic.Anthropic, provider: str) -> None:
    answer = anthropic_app.messages.create(model=provider, max_tokens=100, messages=GREETING)
    assert [block.text for block in answer.content if block.type == "text"] == [SAID]
    assert answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (11, 9)
    with anthropic_app.messages.stream(model=provider, max_tokens=100, messages=GREETING) as stream:
        pieces = list(stream.text_stream)
        assert stream.get_final_message().stop_reason == "end_turn"
    assert "".join(pieces) == SAID and len(pieces) > 1


@pytest.mark.parametrize("stream", [False, True])
def test_tools_of_openai_apps_are_called(openai_app: openai.OpenAI, provider: str, stream: bool) -> None:
    history: list[ChatCompletionMessageParam] = [{"role": "user", "content": "How is the weather?"}]
    message: ChatCompletionMessage
    if stream:
        with openai_app.chat.completions.stream(model=provider, messages=history, tools=openai_tools()) as streamed:
            message = streamed.get_final_completion().choices[0].message
    else:
        asked = openai_app.chat.completions.create(model=provider, messages=history, tools=openai_tools())
        message = asked.choices[0].message
    calls = [call for call in message.tool_calls or [] if call.type == "function"]
    assert message.content == "Let me see."
    assert [call.function.name for call in calls] == list(NAMES)
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Paris", "Lyon"]
    history.append(message.to_dict())  # type: ignore[arg-type] # as apps do it
    history += [{"role": "tool", "tool_call_id": call.id, "content": "fine"} for call in calls]
    answer = openai_app.chat.completions.create(model=provider, messages=history, tools=openai_tools())
    assert answer.choices[0].message.content == "It is fine in Paris."


@pytest.mark.parametrize("stream", [False, True])
def test_tools_of_anthropic_apps_are_called(anthropic_app: anthropic.Anthropic, provider: str, stream: bool) -> None:
    history: list[MessageParam] = [{"role": "user", "content": "How is the weather?"}]
    tools = anthropic_tools()
    message: Message
    if stream:
        with anthropic_app.messages.stream(model=provider, max_tokens=100, messages=history, tools=tools) as streamed:
            message = streamed.get_final_message()
    else:
        message = anthropic_app.messages.create(model=provider, max_tokens=100, messages=history, tools=tools)
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use"]
    assert [(call.name, call.input["city"]) for call in calls] == [("get_weather", "Paris"), ("get_traffic", "Lyon")]
    history += [
        {"role": "assistant", "content": message.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "fine"} for call in calls],
        },
    ]
    answer = anthropic_app.messages.create(model=provider, max_tokens=100, messages=history, tools=tools)
    assert [block.text for block in answer.content if block.type == "text"] == ["It is fine in Paris."]


def test_structured_answers_are_parsed(
    openai_app: openai.OpenAI, anthropic_app: anthropic.Anthropic, provider: str
) -> None:
    chat = openai_app.chat.completions.parse(
        model=provider, messages=[{"role": "user", "content": "plan"}], response_format=Journey
    )
    assert chat.choices[0].message.parsed == Journey(title="tour", stops=[Journey.Stop(city="Paris", nights=2)])
    message = anthropic_app.messages.parse(
        model=provider, max_tokens=100, messages=[{"role": "user", "content": "plan"}], output_format=Journey
    )
    assert message.parsed_output == chat.choices[0].message.parsed


def test_thoughts_stay_out_of_the_text(
    openai_app: openai.OpenAI, anthropic_app: anthropic.Anthropic, provider: str
) -> None:
    question: list[ChatCompletionMessageParam] = [{"role": "user", "content": "think"}]
    answer = openai_app.chat.completions.create(model=provider, messages=question)
    assert answer.choices[0].message.content == "It is 42."
    with openai_app.chat.completions.stream(model=provider, messages=question) as chat:
        assert chat.get_final_completion().choices[0].message.content == "It is 42."
    asked: list[MessageParam] = [{"role": "user", "content": "think"}]
    message = anthropic_app.messages.create(model=provider, max_tokens=100, messages=asked)
    assert [block.text for block in message.content if block.type == "text"] == ["It is 42."]
    with anthropic_app.messages.stream(model=provider, max_tokens=100, messages=asked) as messages:
        assert messages.get_final_text() == "It is 42."


def test_the_apps_mistakes_come_back_to_it(
    openai_app: openai.OpenAI, anthropic_app: anthropic.Anthropic, provider: str
) -> None:
    with pytest.raises(openai.BadRequestError, match="that is a mistake"):
        openai_app.chat.completions.create(model=provider, messages=[{"role": "user", "content": "mistake"}])
    with pytest.raises(anthropic.BadRequestError, match="that is a mistake"):
        anthropic_app.messages.create(model=provider, max_tokens=100, messages=[{"role": "user", "content": "mistake"}])


def test_a_connection_that_breaks_is_an_error_and_not_an_end(
    openai_app: openai.OpenAI, anthropic_app: anthropic.Anthropic, provider: str
) -> None:
    words = ""
    with pytest.raises(openai.APIError):
        for chunk in openai_app.chat.completions.create(
            model=provider, messages=[{"role": "user", "content": "story"}], stream=True
        ):
            words += chunk.choices[0].delta.content or ""
    assert words.startswith("Once upon a time") and not words.endswith("sent")
    kinds = []
    with pytest.raises(anthropic.APIError):
        for event in anthropic_app.messages.create(
            model=provider, max_tokens=100, messages=[{"role": "user", "content": "story"}], stream=True
        ):
            kinds.append(event.type)
    assert "content_block_delta" in kinds and "message_stop" not in kinds


@pytest.mark.parametrize(("provider", "trouble"), IN_TROUBLE)
def test_nothing_of_a_trouble_reaches_the_app_while_another_target_is_well(
    openai_app: openai.OpenAI, anthropic_app: anthropic.Anthropic, troubled: Mock, provider: str, trouble: str
) -> None:
    troubled.behave(**TROUBLES[trouble])
    model = f"{trouble}-{provider}"
    first = openai_app.chat.completions.with_raw_response.create(model=model, messages=HELLO)
    assert first.parse().choices[0].message.content == SAID
    if trouble != "chaos":
        failed, rescued = first.headers["x-llmroute-attempts"].split(", ")
        assert failed.startswith("troubled:") and rescued == "well:ok"
    for _ in range(3):
        with openai_app.chat.completions.stream(model=model, messages=HELLO) as chat:
            assert chat.get_final_completion().choices[0].message.content == SAID
        with anthropic_app.messages.stream(model=model, max_tokens=100, messages=GREETING) as messages:
            assert messages.get_final_text() == SAID
        answer = anthropic_app.messages.create(model=model, max_tokens=100, messages=GREETING)
        assert [block.text for block in answer.content if block.type == "text"] == [SAID]

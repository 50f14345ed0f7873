"""LangChain's chat models and embeddings through the sidecar, whichever API the target speaks."""

from collections.abc import Callable, Iterator

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr
from tests.clients.programs import Sidecar
from tests.clients.schemas import Journey

KEY = SecretStr("key-of-the-app")


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"fine in {city}"


@tool
def get_traffic(city: str) -> str:
    """The traffic of a city."""
    return f"none in {city}"


def chat_openai(sidecar: Sidecar, model: str) -> BaseChatModel:
    return ChatOpenAI(base_url=sidecar.openai_url, api_key=KEY, model=model, stream_usage=True)


def chat_anthropic(sidecar: Sidecar, model: str) -> BaseChatModel:
    return ChatAnthropic(
        base_url=sidecar.anthropic_url, api_key=KEY, model_name=model, max_tokens_to_sample=100, timeout=None, stop=None
    )


@pytest.fixture(params=[chat_openai, chat_anthropic], ids=["ChatOpenAI", "ChatAnthropic"])
def chain(request: pytest.FixtureRequest, sidecar: Sidecar, target: str) -> Iterator[BaseChatModel]:
    make: Callable[[Sidecar, str], BaseChatModel] = request.param
    yield make(sidecar, target)


def test_a_chain_is_answered_with_its_usage(chain: BaseChatModel) -> None:
    answer = chain.invoke([SystemMessage("Be brief."), HumanMessage("Hello")])
    assert len(answer.text.split()) == 12
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 12
    assert answer.usage_metadata["input_tokens"] > 0


def test_a_chain_is_streamed(chain: BaseChatModel) -> None:
    whole: AIMessageChunk | None = None
    pieces = 0
    for chunk in chain.stream("Hello"):
        assert isinstance(chunk, AIMessageChunk)
        pieces += bool(chunk.text)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None and pieces == 12
    assert len(whole.text.split()) == 12
    assert whole.usage_metadata is not None and whole.usage_metadata["output_tokens"] == 12


def test_an_agent_calls_tools_and_hears_their_results(chain: BaseChatModel) -> None:
    tools = {one.name: one for one in (get_weather, get_traffic)}
    agent = chain.bind_tools(list(tools.values()))
    asked = agent.invoke("weather and traffic, in parallel")
    assert [call["name"] for call in asked.tool_calls] == list(tools)
    results = [tools[call["name"]].invoke(call) for call in asked.tool_calls]
    assert all(isinstance(result, ToolMessage) for result in results)
    answer = agent.invoke([HumanMessage("weather and traffic, in parallel"), asked, *results])
    assert answer.text and not answer.tool_calls


def test_structured_output_is_a_type(chain: BaseChatModel) -> None:
    assert isinstance(chain.with_structured_output(Journey, method="json_schema").invoke("Hello"), Journey)
    assert isinstance(chain.with_structured_output(Journey, method="function_calling").invoke("Hello"), Journey)


@pytest.mark.asyncio(loop_scope="module")  # LangChain keeps connections for all its models, and they belong to a loop
async def test_an_asynchronous_chain_is_served_alike(chain: BaseChatModel) -> None:
    first, second = await chain.abatch(["Hello", "Hello again"])
    assert first.text and second.text
    pieces = [chunk.text async for chunk in chain.astream("Hello")]
    assert len("".join(pieces).split()) == 12


def test_documents_are_embedded(sidecar: Sidecar) -> None:
    embeddings = OpenAIEmbeddings(
        base_url=sidecar.openai_url, api_key=KEY, model="openai", dimensions=8, check_embedding_ctx_length=False
    )
    vectors = embeddings.embed_documents(["one", "two"])
    assert [len(vector) for vector in vectors] == [8, 8]
    assert vectors[0] != vectors[1]

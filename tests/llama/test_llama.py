"""A real model behind the sidecar: real tokens, a real window, a real queue, a process that dies."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import anthropic
import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from tests.clients.programs import Sidecar, serving
from tests.llama.conftest import Llama, llama

pytestmark = pytest.mark.llama

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "what is the time"}]
ANSWER: dict[str, object] = {
    "type": "object",
    "properties": {"good": {"type": "boolean"}, "color": {"enum": ["red", "green"]}},
    "required": ["good", "color"],
}
ROUTE = """
apiVersion: llmroute.dev/v1alpha1
kind: LLMRoute
metadata: {{name: {name}}}
spec:
  targets:
  {targets}
---
"""


def route(name: str, *targets: tuple[str, Llama, str]) -> str:
    """A route before servers; each with its name and what else the target says."""
    lines = [
        f"- {{name: {target}, provider: openai-compatible, model: tiny, url: '{server.url}'{more}}}"
        for target, server, more in targets
    ]
    return ROUTE.format(name=name, targets="\n  ".join(lines))


@pytest.fixture(scope="module")
def large(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    with llama(home, tmp_path_factory.mktemp("large") / "log") as server:
        yield server


@pytest.fixture(scope="module")
def small(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    with llama(home, tmp_path_factory.mktemp("small") / "log", context=512) as server:
        yield server


@pytest.fixture(scope="module")
def sidecar(large: Llama, small: Llama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    routes = (
        route("alone", ("large", large, ""))
        + route("both", ("large", large, ""), ("small", small, ""))
        + route(
            "windows",
            ("small", small, ", contextWindow: 512, prior: {ttft: 1ms}"),
            ("large", large, ", contextWindow: 2048, prior: {ttft: 10s}"),
        )
    )
    with serving(routes, tmp_path_factory.mktemp("sidecar")) as started:
        yield started


@pytest.fixture
def app(sidecar: Sidecar) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=sidecar.openai_url, api_key="key-of-the-app") as client:
        yield client


def test_a_model_answers_with_what_it_counted(app: openai.OpenAI, large: Llama) -> None:
    answer = app.chat.completions.create(model="alone", messages=HELLO, max_tokens=12, temperature=0)
    assert answer.usage is not None and answer.usage.completion_tokens == 12
    assert answer.choices[0].finish_reason == "length"
    with openai.OpenAI(base_url=large.url, api_key="none") as direct:
        same = direct.chat.completions.create(model="tiny", messages=HELLO, max_tokens=12, temperature=0)
    assert answer.choices[0].message.content == same.choices[0].message.content
    assert answer.usage == same.usage


def test_a_model_is_heard_token_by_token(app: openai.OpenAI, sidecar: Sidecar) -> None:
    """This server does not tell its usage in streams: its speed is known all the same."""
    stream = app.chat.completions.create(model="alone", messages=HELLO, max_tokens=200, temperature=0, stream=True)
    pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content]
    assert 100 <= len(pieces) <= 200, "some tokens are parts of characters"
    routes = httpx2.get(f"{sidecar.admin}/status").json()["routes"]
    (latency,) = (found["targets"][0]["latency"] for found in routes if found["name"] == "alone")
    assert latency["ttft"]["count"] == 1
    assert latency["tokens_per_second"]["p50"] > 10


def test_a_prompt_is_completed(app: openai.OpenAI) -> None:
    answer = app.completions.create(model="alone", prompt="there is no time", max_tokens=8)
    assert answer.usage is not None and answer.usage.completion_tokens == 8


def test_an_anthropic_app_hears_it_too(sidecar: Sidecar) -> None:
    with anthropic.Anthropic(base_url=sidecar.anthropic_url, api_key="key-of-the-app") as client:
        answer = client.messages.create(
            model="alone", max_tokens=12, system="use the word", messages=[{"role": "user", "content": "time"}]
        )
        assert answer.stop_reason == "max_tokens"
        assert answer.usage.output_tokens == 12 and answer.usage.input_tokens > 10
        with client.messages.stream(
            model="alone", max_tokens=50, messages=[{"role": "user", "content": "time"}]
        ) as stream:
            said = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert said and final.stop_reason == "max_tokens"
        assert 0 < final.usage.output_tokens <= 50


def test_a_grammar_makes_even_this_model_call_tools(app: openai.OpenAI, sidecar: Sidecar) -> None:
    answer = app.chat.completions.create(
        model="alone",
        messages=HELLO,
        max_tokens=100,
        tools=[{"type": "function", "function": {"name": "paint", "parameters": ANSWER}}],
        tool_choice={"type": "function", "function": {"name": "paint"}},
    )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None and calls[0].type == "function"
    assert set(json.loads(calls[0].function.arguments)) == {"good", "color"}
    with anthropic.Anthropic(base_url=sidecar.anthropic_url, api_key="key-of-the-app") as client:
        called = client.messages.create(
            model="alone",
            max_tokens=100,
            messages=[{"role": "user", "content": "time"}],
            tools=[{"name": "paint", "input_schema": {**ANSWER, "type": "object"}}],
            tool_choice={"type": "tool", "name": "paint"},
        )
    assert [block.type for block in called.content] == ["tool_use"]
    assert called.stop_reason == "tool_use"


def test_a_prompt_that_is_too_long_for_one_goes_to_the_larger_one(app: openai.OpenAI) -> None:
    """How many tokens a prompt has only the model knows: the estimate fits into the small window."""
    brief = app.chat.completions.with_raw_response.create(model="windows", messages=HELLO, max_tokens=4)
    assert brief.headers["x-llmroute-attempts"] == "small:ok"
    long = app.chat.completions.with_raw_response.create(
        model="windows", messages=[{"role": "user", "content": "the time " * 100}], max_tokens=4
    )
    assert long.headers["x-llmroute-attempts"] == "small:context-too-long, large:ok"
    with pytest.raises(openai.BadRequestError) as caught:
        app.chat.completions.create(
            model="windows", messages=[{"role": "user", "content": "time! " * 1000}], max_tokens=4
        )
    assert caught.value.code == "context_length_exceeded"


@contextmanager
def occupied(server: Llama) -> Iterator[None]:
    """Others use the server: somebody is always served, and somebody else waits."""
    over = threading.Event()

    def use() -> None:
        wanted = {"model": "tiny", "prompt": "the", "max_tokens": 500}
        with httpx2.Client(timeout=120) as client:
            while not over.is_set():
                client.post(f"{server.url}/completions", json=wanted).raise_for_status()

    with ThreadPoolExecutor(2) as pool:
        users = [pool.submit(use) for _ in range(2)]
        try:
            yield
        finally:
            over.set()
    for user in users:
        user.result()


def test_requests_to_a_busy_server_go_to_the_other(app: openai.OpenAI, large: Llama) -> None:
    with occupied(large):
        chosen = Counter(
            app.chat.completions.with_raw_response.create(model="both", messages=HELLO, max_tokens=4).headers[
                "x-llmroute-target"
            ]
            for _ in range(40)
        )
    assert chosen["small"] >= 30, chosen


def test_nobody_notices_that_a_server_is_killed(home: Path, tmp_path: Path) -> None:
    with (
        llama(home, tmp_path / "doomed.log") as doomed,
        llama(home, tmp_path / "spare.log") as spare,
        serving(
            route("pair", ("doomed", doomed, ", prior: {ttft: 1ms}"), ("spare", spare, ", prior: {ttft: 1s}")), tmp_path
        ) as sidecar,
        openai.OpenAI(base_url=sidecar.openai_url, api_key="key-of-the-app", max_retries=0) as client,
    ):
        asked = threading.Semaphore(0)

        def ask(number: int) -> tuple[str, str]:
            asked.release()
            raw = client.chat.completions.with_raw_response.create(model="pair", messages=HELLO, max_tokens=40)
            assert raw.parse().choices[0].message.content
            return raw.headers["x-llmroute-target"], raw.headers["x-llmroute-attempts"]

        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(ask, number) for number in range(60)]
            for _ in range(20):
                asked.acquire()
            doomed.program.kill()
            ends = [answer.result() for answer in answers]
        targets = Counter(target for target, _ in ends)
        assert targets["doomed"] and targets["spare"]
        assert any(attempts.startswith("doomed:") and "spare:ok" in attempts for _, attempts in ends), ends
        assert {target for target, _ in ends[-20:]} == {"spare"}

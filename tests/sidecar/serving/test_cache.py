"""Answers that are kept, answers that are shared, and answers that must be neither."""

import asyncio
import json
from typing import Any

import pytest
from tests.app import CHAT, MESSAGES, Answer
from tests.sidecar.serving.scripted import DONE, Call, chunk, completion, finish, scripted
from tests.world import SURFACES, chat, elsewhere, provider, world

from llmroute.simulator.spec import (
    ContextTooLong,
    Duration,
    ErrorEvent,
    Fault,
    Malformed,
    Reset,
    Speed,
    Stall,
    Status,
    Truncate,
    Ttft,
)

SLOWLY = Ttft(median=Duration(0.2))


async def test_the_second_identical_request_is_answered_from_memory() -> None:
    async with world(provider("east"), cache={}) as here:
        first, second = await here.chat(), await here.chat()

        assert (first.cache, second.cache) == ("miss", "hit")
        assert second.body == first.body
        assert second.target == "east"
        assert second.headers["x-llmroute-reason"] == "cache"
        assert "x-llmroute-attempts" not in second.headers
        assert here.requests("east") == 1
        metrics = await here.metrics()
        assert metrics.by("llmroute_cache_requests_total", "result") == {"miss": 1, "hit": 1}
        assert metrics.by("llmroute_requests_total", "cache") == {"miss": 1, "hit": 1}
        usage = first.json["usage"]
        assert metrics.by("llmroute_tokens_saved_total", "by") == {"cache": usage["total_tokens"]}


async def test_without_a_cache_in_the_route_nothing_is_kept() -> None:
    async with world(provider("east")) as here:
        answers = [await here.chat() for _ in range(2)]
        assert [answer.cache for answer in answers] == ["", ""]
        assert here.requests("east") == 2


@pytest.mark.parametrize("path", SURFACES)
async def test_every_api_is_cached_and_kept_apart(path: str) -> None:
    async with world(provider("east"), cache={}) as here:
        answers = [await here.ask(path, SURFACES[path]) for _ in range(2)]
        assert [answer.cache for answer in answers] == ["miss", "hit"]
        assert answers[0].body == answers[1].body


STREAMED = [(path, "openai") for path in SURFACES if path != "/v1/embeddings"]
STREAMED += [(path, "anthropic") for path in (CHAT, MESSAGES)]


@pytest.mark.parametrize(("path", "dialect"), STREAMED)
async def test_a_kept_stream_serves_a_body_and_a_kept_body_serves_a_stream(path: str, dialect: str) -> None:
    async with world(provider("east", dialect=dialect), cache={}) as here:
        body = SURFACES[path]
        stream, whole = body | {"stream": True}, body | {"stream": False}

        from_target = await here.ask(path, stream)
        as_body = await here.ask(path, whole)
        assert (from_target.cache, as_body.cache) == ("miss", "hit")
        assert as_body.headers["content-type"] == "application/json"
        assert text_of(as_body) == text_of(from_target) != ""

    async with world(provider("east", dialect=dialect), cache={}) as here:
        from_target = await here.ask(path, whole)
        as_stream = await here.ask(path, stream)
        assert (from_target.cache, as_stream.cache) == ("miss", "hit")
        assert as_stream.headers["content-type"].startswith("text/event-stream")
        assert text_of(as_stream) == text_of(from_target) != ""


def text_of(answer: Answer) -> str:
    """What was generated, in any of the APIs, streamed or not."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        body = answer.json
        if "output" in body:
            return "".join(part["text"] for item in body["output"] for part in item.get("content", []))
        if "text" in body.get("choices", [{}])[0]:
            return str(body["choices"][0]["text"])
        return answer.text
    events = [event for event in answer.events if isinstance(event, dict)]
    if any(str(event.get("type", "")).startswith("response.") for event in events):
        return "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    if any("text" in choice for event in events for choice in event.get("choices", [])):
        return "".join(choice["text"] for event in events for choice in event["choices"])
    return answer.text


async def test_white_space_and_the_order_of_members_do_not_matter() -> None:
    async with world(provider("east"), cache={}) as here:
        first = {"model": "chat", "temperature": 0.5, "messages": [{"role": "user", "content": "hi"}]}
        second = json.dumps(dict(reversed(first.items())), indent=3).encode()
        await here.ask(CHAT, first)
        assert (await here.ask(CHAT, second)).cache == "hit"


@pytest.mark.parametrize("wants_usage", [True, False])
async def test_a_kept_stream_has_the_usage_chunk_only_for_those_who_asked_for_it(wants_usage: bool) -> None:
    async with world(provider("east"), cache={}) as here:
        asked, unasked = {"stream_options": {"include_usage": True}}, dict[str, Any]()
        await here.chat(stream=True, **(unasked if wants_usage else asked))
        answer = await here.chat(stream=True, **(asked if wants_usage else unasked))

        assert answer.cache == "hit"
        usages = [event["usage"] for event in answer.events if isinstance(event, dict) and event.get("usage")]
        assert bool(usages) is wants_usage
        if wants_usage:
            assert usages[0]["completion_tokens"] > 0
        assert answer.events[-1] == "[DONE]"


async def test_callers_with_another_credential_or_tenant_never_share() -> None:
    callers = [
        {},
        {"authorization": "Bearer a"},
        {"authorization": "Bearer b"},
        {"x-api-key": "a"},
        {"api-key": "a"},
        {"x-goog-api-key": "a"},
        {"x-auth-token": "a"},
        {"authorization": "Bearer a", "x-llmroute-tenant": "gold"},
        {"authorization": "Bearer a", "x-llmroute-tenant": "silver"},
    ]
    async with world(provider("east"), cache={}) as here:
        assert [(await here.chat(headers=caller)).cache for caller in callers] == ["miss"] * len(callers)
        assert [(await here.chat(headers=caller)).cache for caller in callers] == ["hit"] * len(callers)


async def test_callers_that_wait_at_the_same_time_do_not_share_either() -> None:
    async with world(provider("east", ttft=SLOWLY), cache={}) as here:
        answers = await asyncio.gather(
            *(here.chat(headers={"authorization": f"Bearer {caller}"}) for caller in "aabbcc")
        )
        assert sorted(answer.cache for answer in answers) == ["coalesced"] * 3 + ["miss"] * 3
        assert here.requests("east") == 3


async def test_isolation_can_be_declared_away() -> None:
    async with world(provider("east"), cache={"isolateBy": []}) as here:
        await here.chat(headers={"authorization": "Bearer a", "x-llmroute-tenant": "gold"})
        assert (await here.chat(headers={"authorization": "Bearer b", "x-llmroute-tenant": "silver"})).cache == "hit"


async def test_headers_that_steer_the_answer_are_part_of_the_question() -> None:
    async with world(provider("east"), provider("west"), cache={}) as here:
        first = await here.chat(headers={"x-llmroute-target": "east"})
        second = await here.chat(headers={"x-llmroute-target": "west"})
        third = await here.chat(headers={"openai-beta": "assistants=v2"})
        assert [answer.cache for answer in (first, second, third)] == ["miss"] * 3
        assert second.target == "west"


async def test_no_store_neither_looks_nor_keeps() -> None:
    async with world(provider("east"), cache={}) as here:
        no_store = {"x-llmroute-cache": "no-store"}
        assert (await here.chat(headers=no_store)).cache == ""
        assert (await here.chat()).cache == "miss"
        assert (await here.chat(headers=no_store)).cache == ""
        assert here.requests("east") == 3


async def test_refresh_does_not_look_but_keeps() -> None:
    count = iter(range(10))

    async def counts(call: Call) -> None:
        await call.answer(completion(f"answer {next(count)}"))

    async with scripted(counts) as east, world(elsewhere("east", east.url), cache={}) as here:
        assert (await here.chat()).text == "answer 0"
        refreshed = await here.chat(headers={"x-llmroute-cache": "refresh"})
        assert (refreshed.cache, refreshed.text) == ("miss", "answer 1")
        kept = await here.chat()
        assert (kept.cache, kept.text) == ("hit", "answer 1")


async def test_an_answer_grows_old() -> None:
    async with world(provider("east"), cache={"ttl": "50ms"}) as here:
        await here.chat()
        await asyncio.sleep(0.06)
        assert (await here.chat()).cache == "miss"


async def test_memory_is_bounded() -> None:
    async with world(provider("east"), cache={"maxBytes": "8Ki"}) as here:
        for number in range(30):
            await here.chat(f"question {number}")
        kept = (await here.status())["routes"][0]["cache"]

        assert 0 < kept["bytes"] <= 8192
        assert (await here.chat("question 0")).cache == "miss"
        assert (await here.chat("question 29")).cache == "hit"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_an_answer_too_large_to_be_kept_is_answered_all_the_same(stream: bool) -> None:
    async with world(provider("east"), cache={"maxBytes": "1Ki"}) as here, here.app() as app:
        for _ in range(3):
            app.ask(CHAT, chat(stream=stream))
            answer = await app.answer()
            assert (answer.status, answer.cache) == (200, "miss")
            assert answer.text


NOT_KEPT: dict[str, Fault] = {
    "500": Status(status=500),
    "429": Status(status=429),
    "401": Status(status=401),
    "app's own": Status(status=422),
    "context": ContextTooLong(),
    "error event": ErrorEvent(after_tokens=2),
    "truncated": Truncate(after_tokens=2),
    "truncated cleanly": Truncate(after_tokens=2, clean=True),
    "reset": Reset(after_tokens=2),
    "malformed": Malformed(after_tokens=2),
    "stalled": Stall(after_tokens=2),
}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", NOT_KEPT.values(), ids=NOT_KEPT)
async def test_what_is_not_a_complete_success_is_never_kept(fault: Fault, stream: bool) -> None:
    short = {"maxAttempts": 1, "timeouts": {"betweenTokens": "50ms", "total": "100ms"}}
    east = provider("east", faults=[fault], tokens_per_second=Speed(median=1000))
    async with world(east, cache={}, failover=short) as here:
        await here.chat(stream=stream)
        assert (await here.status())["routes"][0]["cache"]["entries"] == 0
        assert (await here.chat(stream=not stream)).cache != "hit"


async def test_stateful_requests_are_never_kept() -> None:
    async with world(provider("east"), cache={}) as here:
        stateful = {"model": "chat", "input": "go on", "background": True}
        assert [(await here.ask("/v1/responses", stateful)).cache for _ in range(2)] == ["", ""]


ODD = {
    "no finish reason": (True, chunk("hello") + DONE),
    "another shape": (False, b'{"answer":"hello","usage":{"prompt_tokens":1,"completion_tokens":1}}'),
}


@pytest.mark.parametrize(("stream", "answer"), ODD.values(), ids=ODD)
async def test_a_kept_answer_that_cannot_be_told_otherwise_is_asked_for_again(stream: bool, answer: bytes) -> None:
    async def answers(call: Call) -> None:
        if b'"stream":true' not in call.body.replace(b" ", b""):
            await call.answer(completion() if stream else answer)
            return
        await call.begin()
        await call.piece(answer if stream else chunk("hello") + finish() + DONE)
        await call.end()

    async with scripted(answers) as east, world(elsewhere("east", east.url), cache={}) as here:
        assert (await here.chat(stream=stream)).cache == "miss"
        assert (await here.chat(stream=stream)).cache == "hit"
        other = await here.chat(stream=not stream)

        assert (other.status, other.cache, other.text) == (200, "miss", "hello")


async def test_a_kept_answer_does_not_outlive_the_model_that_gave_it() -> None:
    async with world(provider("east"), cache={}) as here:
        await here.chat()
        here.spec["targets"][0]["model"] = "another"
        here.declare()
        await here.reloaded()
        assert (await here.chat()).cache == "miss"
        assert (await here.chat()).cache == "hit"

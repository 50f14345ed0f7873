"""Each fault as bytes on the wire tell it."""

import asyncio
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from tests.sidecar.simulator.raw import CHAT, MESSAGE, Answer, Client, ask, chat, connected, until

from llmroute.simulator import Command, Fleet, Member
from llmroute.simulator.spec import Refused

PATIENCE = 0.15
"""Seconds after which silence is believed."""


def one(fault: str, *, dialect: str = "openai", more: str = "") -> str:
    return f"providers: [{{name: p, dialect: {dialect}, outputTokens: {{median: 8}}, faults: [{fault}], {more}}}]"


async def send_chat(client: Client, **fields: Any) -> None:
    client.send("/v1/chat/completions", CHAT | fields)


async def message(member: Member, **fields: Any) -> Answer:
    return await ask(member, "/v1/messages", MESSAGE | fields)


async def is_silent(client: Client) -> bool:
    try:
        await asyncio.wait_for(client.reader.read(1), PATIENCE)
    except TimeoutError:
        return True
    return False


async def read_content(client: Client, tokens: int) -> str:
    """The text of the first so many tokens of a chat stream."""
    text, seen = "", 0
    while seen < tokens:
        for line in (await client.chunk()).decode().splitlines():
            if line.startswith("data: {"):
                delta = json.loads(line[6:])["choices"][0]["delta"]
                text += delta.get("content") or ""
                seen += bool(delta.get("content"))
    return text


async def test_refused_is_a_closed_listener_and_idle_connections_go_with_it() -> None:
    async with Fleet.start("providers: [{name: p}]") as fleet, connected(fleet["p"]) as idle:
        await send_chat(idle)
        assert (await idle.answer()).status == 200
        await fleet["p"].command(Command(faults=(Refused(),)))
        assert await idle.reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await chat(fleet["p"])
        await fleet["p"].command(Command(clear=True))
        assert (await chat(fleet["p"])).status == 200


async def test_refused_lets_an_answer_in_hand_be_finished_unless_it_kills() -> None:
    slow = "providers: [{name: p, earlyOpening: true, ttft: {median: 100ms}, outputTokens: {median: 3}}]"
    async with Fleet.start(slow) as fleet, connected(fleet["p"]) as patient:
        await send_chat(patient, stream=True)
        await patient.head()
        await fleet["p"].command(Command(faults=(Refused(),)))
        assert (await patient.reader.read()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        await fleet["p"].command(Command(clear=True))
        async with connected(fleet["p"]) as victim:
            await send_chat(victim, stream=True)
            await victim.head()
            await fleet["p"].command(Command(faults=(Refused(kill=True),)))
            with pytest.raises(ConnectionResetError):
                await victim.reader.read()


async def test_a_window_of_refusal_opens_and_closes_by_itself() -> None:
    outcomes: list[int] = []
    async with Fleet.start(one("{type: refused, t0: 200ms, t1: 400ms}")) as fleet:
        while outcomes[-2:] != [0, 200]:
            await asyncio.sleep(0.01)
            try:
                outcomes.append((await chat(fleet["p"])).status)
            except ConnectionError:  # refused, or taken and reset in the moment of the change
                outcomes.append(0)
    assert set(outcomes) == {0, 200}


async def test_a_provider_that_has_not_appeared_refuses() -> None:
    async with Fleet.start("providers: [{name: p, appearsAt: 1h}]") as fleet:
        with pytest.raises(ConnectionRefusedError):
            await chat(fleet["p"])


async def test_a_black_hole_takes_everything_and_answers_nothing() -> None:
    async with Fleet.start(one("{type: black-hole}")) as fleet:
        async with connected(fleet["p"]) as client:
            await send_chat(client)
            assert await is_silent(client)
            assert fleet["p"].stats.in_flight == 1
        await until(lambda: fleet["p"].stats.in_flight == 0)
        assert fleet["p"].stats.cancelled == 1


async def test_reset_before_the_first_byte() -> None:
    async with Fleet.start(one("{type: reset}")) as fleet, connected(fleet["p"]) as client:
        await send_chat(client)
        with pytest.raises(ConnectionResetError):
            await client.reader.read()


async def test_reset_in_the_middle_of_a_stream() -> None:
    async with Fleet.start(one("{type: reset, afterTokens: 3}")) as fleet, connected(fleet["p"]) as client:
        await send_chat(client, stream=True)
        with pytest.raises(ConnectionResetError):
            await client.reader.read()
    async with Fleet.start(one("{type: reset, afterTokens: 3}")) as fleet, connected(fleet["p"]) as client:
        await send_chat(client)
        with pytest.raises(ConnectionResetError):
            await client.reader.read()


@pytest.mark.parametrize(
    ("status", "openai_type", "anthropic_type"),
    [
        (400, "invalid_request_error", "invalid_request_error"),
        (401, "invalid_request_error", "authentication_error"),
        (402, "insufficient_quota", "billing_error"),
        (403, "permission_error", "permission_error"),
        (404, "invalid_request_error", "not_found_error"),
        (429, "requests", "rate_limit_error"),
        (500, "server_error", "api_error"),
        (503, "server_error", "api_error"),
        (529, "server_error", "overloaded_error"),
    ],
)
async def test_statuses_speak_the_dialect(status: int, openai_type: str, anthropic_type: str) -> None:
    fault = f"{{type: status, status: {status}, message: because}}"
    async with Fleet.start(one(fault)) as fleet:
        answer = await chat(fleet["p"])
        assert (answer.status, answer.json["error"]["type"]) == (status, openai_type)
        assert answer.json["error"]["message"] == "because"
    async with Fleet.start(one(fault, dialect="anthropic")) as fleet:
        answer = await message(fleet["p"])
        assert (answer.status, answer.json["error"]["type"]) == (status, anthropic_type)
        assert fleet["p"].stats.statuses == {str(status): 1}


async def test_retry_after_has_three_forms_or_none() -> None:
    def limited(more: str) -> str:
        return one(f"{{type: status, status: 429, {more}}}")

    async with Fleet.start(limited("retryAfter: 90s")) as fleet:
        assert (await chat(fleet["p"])).headers["retry-after"] == "90"
    async with Fleet.start(limited("retryAfter: 1500ms, retryAfterForm: milliseconds")) as fleet:
        answer = await chat(fleet["p"])
        assert answer.headers["retry-after-ms"] == "1500"
        assert "retry-after" not in answer.headers
    async with Fleet.start(limited("retryAfter: 1h, retryAfterForm: date")) as fleet:
        when = parsedate_to_datetime((await chat(fleet["p"])).headers["retry-after"])
        assert 3500 < (when - datetime.now(UTC)).total_seconds() < 3700
    async with Fleet.start(limited("")) as fleet:
        assert not [name for name in (await chat(fleet["p"])).headers if name.startswith("retry-after")]


async def test_an_account_without_money() -> None:
    async with Fleet.start(one("{type: credit-too-low}")) as fleet:
        answer = await chat(fleet["p"])
        assert (answer.status, answer.json["error"]["code"]) == (429, "insufficient_quota")
    async with Fleet.start(one("{type: credit-too-low}", dialect="anthropic")) as fleet:
        answer = await message(fleet["p"])
        assert answer.status == 400
        assert "credit balance is too low" in answer.json["error"]["message"]


async def test_a_prompt_that_is_too_long() -> None:
    async with Fleet.start(one("{type: context-too-long}")) as fleet:
        answer = await chat(fleet["p"])
        assert (answer.status, answer.json["error"]["code"]) == (400, "context_length_exceeded")
    async with Fleet.start(one("{type: context-too-long}", dialect="anthropic")) as fleet:
        answer = await message(fleet["p"])
        assert "prompt is too long" in answer.json["error"]["message"]


@pytest.mark.parametrize("tokens", [0, 3])
async def test_an_error_event_in_a_stream_that_began_well(tokens: int) -> None:
    fault = f"{{type: error-event, afterTokens: {tokens}, status: 529}}"
    async with Fleet.start(one(fault)) as fleet:
        answer = await chat(fleet["p"], stream=True)
        assert answer.status == 200
        assert (
            sum(bool(event.get("choices") and event["choices"][0]["delta"].get("content")) for event in answer.events)
            == tokens
        )
        assert answer.events[-1]["error"]["type"] == "server_error"
    async with Fleet.start(one(fault, dialect="anthropic")) as fleet:
        answer = await message(fleet["p"], stream=True)
        assert sum(event["type"] == "content_block_delta" for event in answer.events) == tokens
        assert answer.events[-1] == {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        whole = await message(fleet["p"])
        assert (whole.status, whole.json["type"]) == (200, "error")


async def test_an_error_event_among_responses() -> None:
    async with Fleet.start(one("{type: error-event, afterTokens: 1}")) as fleet:
        answer = await ask(fleet["p"], "/v1/responses", {"model": "m", "input": "hi", "stream": True})
        assert (answer.events[-1]["type"], answer.events[-1]["code"]) == ("error", None)


async def test_a_stall_leaves_the_connection_open_and_silent() -> None:
    async with Fleet.start(one("{type: stall, afterTokens: 2}")) as fleet:
        async with connected(fleet["p"]) as client:
            await send_chat(client, stream=True)
            await client.head()
            assert len((await read_content(client, 2)).split()) == 2
            assert await is_silent(client)
        async with connected(fleet["p"]) as client:
            await send_chat(client)
            _, headers = await client.head()
            assert await client.reader.readexactly(int(headers["content-length"]) // 2)
            assert await is_silent(client)


async def test_a_truncated_answer_lacks_its_end() -> None:
    async with Fleet.start(one("{type: truncate, afterTokens: 2}")) as fleet:
        for fields in ({"stream": True}, {}):
            async with connected(fleet["p"]) as client:
                await send_chat(client, **fields)
                with pytest.raises(asyncio.IncompleteReadError):
                    await client.answer()


async def test_a_cleanly_truncated_answer_only_lacks_its_end_mark() -> None:
    async with Fleet.start(one("{type: truncate, afterTokens: 2, clean: true}")) as fleet:
        streamed = await chat(fleet["p"], stream=True)
        assert len(streamed.events) == 3
        assert "[DONE]" not in streamed.events
        with pytest.raises(json.JSONDecodeError):
            _ = (await chat(fleet["p"])).json


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_malformed_json_in_a_wellformed_answer(dialect: str, stream: bool) -> None:
    async with Fleet.start(one("{type: malformed, afterTokens: 1}", dialect=dialect)) as fleet:
        answer = await (chat if dialect == "openai" else message)(fleet["p"], stream=stream)
        assert answer.status == 200
        with pytest.raises(json.JSONDecodeError):
            _ = answer.events if stream else answer.json
        if stream:
            assert b"[DONE]" in answer.body or b"message_stop" in answer.body


@pytest.mark.parametrize("stream", [False, True])
async def test_a_drip_gives_a_few_bytes_at_a_time_and_in_the_end_all(stream: bool) -> None:
    async with Fleet.start(one("{type: drip, bytes: 30, interval: 1h}")) as fleet, connected(fleet["p"]) as client:
        await send_chat(client, stream=stream)
        assert len(await client.reader.read(10_000)) == 30
        assert await is_silent(client)
    async with Fleet.start(one("{type: drip, bytes: 30, interval: 0}")) as fleet:
        answer = await chat(fleet["p"], stream=stream)
        assert answer.events[-1] == "[DONE]" if stream else answer.json["object"] == "chat.completion"


async def test_chance_hits_the_share_that_it_should_and_the_same_requests_each_time() -> None:
    text = one("{type: status, status: 500, probability: 0.3}")

    async def statuses() -> list[int]:
        async with Fleet.start(text) as fleet:
            return [(await chat(fleet["p"], index=index)).status for index in range(60)]

    first = await statuses()
    assert 8 <= first.count(500) <= 28
    assert first == await statuses()


async def test_the_first_fault_whose_window_is_open_wins() -> None:
    faults = "{type: status, status: 500, t0: 1h}, {type: status, status: 502}, {type: status, status: 503}"
    async with Fleet.start(one(faults)) as fleet:
        assert (await chat(fleet["p"])).status == 502


async def test_a_rate_limit_says_when_to_come_back() -> None:
    text = "providers: [{name: p, rateLimit: {rps: 0.001, burst: 2, retryAfter: 2s}}]"
    async with Fleet.start(text) as fleet:
        answers = [await chat(fleet["p"]) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    assert answers[2].headers["retry-after"] == "2"

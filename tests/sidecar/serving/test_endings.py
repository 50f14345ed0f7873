"""After the commit point nothing can be repeated: an answer that breaks says so, and does not look complete."""

import asyncio
import json

import pytest
from tests.app import CHAT
from tests.sidecar.serving.scripted import DONE, Call, chunk, finish, scripted
from tests.world import chat, elsewhere, provider, world

from llmroute import patience
from llmroute.exchange import Exchange
from llmroute.simulator.spec import ErrorEvent, Fault, Malformed, Reset, Speed, Stall, Truncate

SHORT = {"timeouts": {"betweenTokens": "150ms"}}

BREAKS: dict[str, tuple[Fault, str]] = {
    "stall": (Stall(after_tokens=3), "between-tokens-timeout"),
    "cut": (Truncate(after_tokens=3), "broken"),
    "properly ended without an end mark": (Truncate(after_tokens=3, clean=True), "broken"),
    "reset": (Reset(after_tokens=3), "broken"),
    "malformed frame": (Malformed(after_tokens=3), "broken"),
    "error event": (ErrorEvent(after_tokens=3), "server-error"),
}


@pytest.mark.parametrize("to", ["openai", "anthropic"])
@pytest.mark.parametrize("app", ["openai", "anthropic"])
@pytest.mark.parametrize(("fault", "outcome"), BREAKS.values(), ids=BREAKS)
async def test_a_stream_that_breaks_after_content_ends_with_an_error_event(
    fault: Fault, outcome: str, app: str, to: str
) -> None:
    east = provider("east", dialect=to, faults=[fault], tokens_per_second=Speed(median=100))
    failover = SHORT if isinstance(fault, Stall) else {}
    async with world(east, provider("west"), failover=failover) as here:
        async with here.app() as connection:
            ask = "/v1/chat/completions" if app == "openai" else "/v1/messages"
            body = {"model": "chat", "max_tokens": 50, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
            connection.ask(ask, body)
            answer = await connection.answer()

            assert answer.status == 200
            assert answer.text, "what came before is not taken back"
            last = answer.events[-1]
            if app == "openai":
                assert last["error"]["message"]
                assert b"[DONE]" not in answer.body
            else:
                assert answer.frames[-1].startswith(b"event: error\n")
                assert last["type"] == "error"
                assert last["error"]["message"]
                assert b"message_stop" not in answer.body
            assert await connection.closed()

        assert here.requests("west") == 0
        metrics = await here.metrics()
        assert metrics.by("llmroute_attempts_total", "outcome") == {outcome: 1}
        assert metrics.sum("llmroute_failovers_total") == 0


async def test_an_error_of_our_own_after_content_ends_the_stream_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(exchange: Exchange) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(Exchange, "more", fails)
    east = provider("east", tokens_per_second=Speed(median=500))
    async with world(east) as here, here.app() as app:
        app.ask(CHAT, chat(stream=True))
        answer = await app.answer()

        assert answer.status == 200
        assert answer.events[-1]["error"]["code"] == "internal"
        assert await app.closed()
    assert "ZeroDivisionError" in caplog.text


async def test_any_byte_resets_the_silence_even_a_comment() -> None:
    async def pings(call: Call) -> None:
        await call.begin()
        await call.piece(chunk("a"))
        for _ in range(10):
            await asyncio.sleep(0.05)
            await call.piece(b": still there\n\n")
        await call.piece(finish() + DONE)
        await call.end()

    async with (
        scripted(pings) as east,
        world(elsewhere("east", east.url), failover={"timeouts": {"betweenTokens": "400ms"}}) as here,
    ):
        answer = await here.chat(stream=True)
        assert answer.events[-1] == "[DONE]"


async def test_the_end_mark_ends_the_answer_even_if_the_target_never_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AFTER_END", 0.05)

    async def forgets_to_close(call: Call) -> None:
        await call.begin()
        await call.piece(chunk("a") + finish() + DONE)
        await asyncio.sleep(30)

    async with (
        scripted(forgets_to_close) as east,
        world(elsewhere("east", east.url)) as here,
    ):
        answer = await here.chat(stream=True)

        assert answer.whole
        assert answer.events[-1] == "[DONE]"
        assert (await here.metrics()).by("llmroute_attempts_total", "outcome") == {"ok": 1}


async def test_a_connection_that_breaks_behind_the_end_mark_has_answered() -> None:
    async def breaks_late(call: Call) -> None:
        await call.begin()
        await call.piece(chunk("a") + finish())
        await call.piece(DONE)
        await asyncio.sleep(0.02)
        call.reset()

    async with scripted(breaks_late) as east, world(elsewhere("east", east.url)) as here:
        answer = await here.chat(stream=True)

        assert answer.whole
        assert answer.events[-1] == "[DONE]"
        assert (await here.metrics()).by("llmroute_attempts_total", "outcome") == {"ok": 1}


async def test_a_stream_that_closes_after_its_last_frame_without_the_mark_is_judged_by_its_reason() -> None:
    """Some compatible servers never send [DONE]; a finish reason has told the end. Without one it is a cut."""

    async def without_mark(call: Call) -> None:
        await call.begin()
        await call.piece(chunk("a") + finish())
        await call.end()

    async with scripted(without_mark) as east, world(elsewhere("east", east.url)) as here:
        answer = await here.chat(stream=True)

        assert answer.whole
        assert answer.text == "a"
        assert "error" not in json.dumps(answer.events)

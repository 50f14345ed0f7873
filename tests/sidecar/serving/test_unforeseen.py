"""An answer that our own readers trip over is a broken answer of its target, never an error of ours."""

import asyncio

import pytest
from msgspec import Raw
from tests.sidecar.serving.scripted import DONE, Call, chunk, completion, finish, scripted
from tests.world import chat, elsewhere, provider, world

from llmroute import dialects, exchange
from llmroute.dialects import bodies
from llmroute.dialects.openai import streams
from llmroute.dialects.usage import OpenaiCounts, openai_usage, usage_of
from llmroute.request import Usage

UNFORESEEN = b'data: {"id":"c","choices":[],"usage":{"completion_tokens":4711}}\n\n'


@pytest.fixture(autouse=True)
def trips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers trip over one number."""

    def reads(usage: Raw | bytes) -> Usage | None:
        if b"4711" in bytes(usage):
            raise KeyError("a secret of the target")
        return openai_usage(usage)

    def counts(read: OpenaiCounts) -> Usage | None:
        if read.completion_tokens == 4711:
            raise KeyError("a secret of the target")
        return usage_of(read)

    monkeypatch.setattr(streams, "openai_usage", reads)
    monkeypatch.setattr(bodies, "usage_of", counts)


async def test_before_the_first_content_the_next_target_answers() -> None:
    async def answers(call: Call) -> None:
        if b'"stream":true' in call.body.replace(b" ", b""):
            await call.begin()
            await call.piece(chunk(role="assistant") + UNFORESEEN + chunk("x") + finish() + DONE)
            await call.end()
        else:
            await call.answer(completion().replace(b'"completion_tokens": 3', b'"completion_tokens": 4711'))

    async with scripted(answers) as east, world(elsewhere("east", east.url), provider("west")) as here:
        for stream in (True, False):
            answer = await here.chat(stream=stream)

            assert answer.status == 200
            assert answer.attempts == "east:broken, west:ok"
        assert (await here.target_status("east"))["errors"] == 2


async def test_after_it_the_stream_ends_honestly(capfd: pytest.CaptureFixture[str]) -> None:
    begun = asyncio.Event()

    async def answers(call: Call) -> None:
        await call.begin()
        await call.piece(chunk("x"))
        await begun.wait()
        await call.piece(UNFORESEEN + finish() + DONE)
        await call.end()

    async with scripted(answers) as east, world(elsewhere("east", east.url)) as here, here.app() as app:
        app.ask("/v1/chat/completions", chat(stream=True))
        assert (await app.head())[0] == 200
        assert await app.chunk() == chunk("x")
        begun.set()
        rest = b""
        while piece := await app.chunk():
            rest += piece

        assert b"KeyError" in rest
        assert b"a secret" not in rest
        assert DONE not in rest
        assert (await here.target_status("east"))["errors"] == 1
    assert "a secret" not in capfd.readouterr().out


async def test_a_defect_of_ours_behind_the_commit_point_gives_connection_and_slot_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("a defect")

    async def never_ends(call: Call) -> None:
        await call.begin()
        await call.piece(chunk("x"))

    monkeypatch.setattr(dialects, "answer_id", fails)
    async with scripted(never_ends) as east, world(elsewhere("east", east.url)) as here:
        answer = await here.chat(stream=True)
        assert (answer.status, answer.error) == (500, "internal")
        await asyncio.wait_for(east.left.wait(), 5.0)
        assert here.target("east").slots.in_flight == 0


async def test_an_answer_without_a_bottom_is_relayed_like_any_other_that_is_too_large_to_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = b'{"id":"resp_1","output":' + b"[" * 3_000_000
    monkeypatch.setattr(exchange, "ANSWER_LIMIT", 300_000)

    async def answers(call: Call) -> None:
        await call.answer(body)

    async with scripted(answers) as east, world(elsewhere("east", east.url)) as here:
        answer = await here.ask("/v1/responses", {"model": "chat", "input": "x"})
        assert (answer.status, answer.body) == (200, body)

"""The commit point: what is held back until content comes, and what is not awaited any longer."""

import asyncio

import pytest
from tests.sidecar.serving.scripted import DONE, Call, chunk, completion, finish, scripted
from tests.world import chat, elsewhere, provider, world

from llmroute.exchange import ANSWER_LIMIT, HOLD_LIMIT
from llmroute.simulator.spec import Speed

PING = b": ping\n\n"
USAGE = b'data: {"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":1}}\n\n'
EMPTY = {
    "role": chunk(role="assistant"),
    "role and empty text": chunk(role="assistant", content=""),
    "comment": PING,
    "usage only": USAGE,
    "null content": chunk(content=None),
}
CONTENT = {
    "text": chunk("x"),
    "reasoning": chunk(reasoning_content="x"),
    "refusal": chunk(refusal="x"),
    "tool name": chunk(tool_calls=[{"index": 0, "id": "t", "function": {"name": "f", "arguments": ""}}]),
    "tool arguments": chunk(tool_calls=[{"index": 0, "function": {"arguments": "{"}}]),
    "end": finish() + DONE,
}


@pytest.mark.parametrize("frames", EMPTY.values(), ids=EMPTY)
async def test_frames_without_content_do_not_commit(frames: bytes) -> None:
    async def breaks_after_them(call: Call) -> None:
        await call.begin()
        await call.piece(frames)
        call.reset()

    async with (
        scripted(breaks_after_them) as east,
        world(elsewhere("east", east.url), provider("west")) as here,
    ):
        answer = await here.chat(stream=True)

        assert answer.attempts == "east:broken, west:ok"
        assert frames not in answer.body


@pytest.mark.parametrize("frames", CONTENT.values(), ids=CONTENT)
async def test_first_content_commits_and_brings_all_that_was_held(frames: bytes) -> None:
    released = asyncio.Event()

    async def waits_after_it(call: Call) -> None:
        await call.begin()
        await call.piece(chunk(role="assistant"))
        await call.piece(frames)
        await released.wait()
        if DONE not in frames:
            await call.piece(finish() + DONE)
        await call.end()

    async with scripted(waits_after_it) as east, world(elsewhere("east", east.url)) as here, here.app() as app:
        app.ask("/v1/chat/completions", chat(stream=True))
        if DONE in frames:
            released.set()
        status, headers = await app.head()
        first = await app.chunk()

        assert status == 200
        assert first == chunk(role="assistant") + frames
        released.set()
        assert headers["x-llmroute-attempts"] == "east:ok"


async def test_a_stream_that_says_nothing_at_length_is_not_held_for_ever() -> None:
    released = asyncio.Event()
    noise = PING * 100

    async def chatters(call: Call) -> None:
        await call.begin()
        for _ in range(HOLD_LIMIT // len(noise) + 1):
            await call.piece(noise)
        await released.wait()
        await call.piece(chunk("x") + finish() + DONE)
        await call.end()

    async with scripted(chatters) as east, world(elsewhere("east", east.url)) as here, here.app() as app:
        app.ask("/v1/chat/completions", chat(stream=True))
        await app.head()
        assert len(await app.chunk()) > HOLD_LIMIT
        released.set()
        rest = b""
        while piece := await app.chunk():
            rest += piece
        assert rest.endswith(DONE)


async def test_a_whole_answer_commits_when_it_is_complete() -> None:
    async def stalls_at_the_last_byte(call: Call) -> None:
        body = completion()
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body[:-1]))
        await asyncio.sleep(5)

    async with (
        scripted(stalls_at_the_last_byte) as east,
        world(elsewhere("east", east.url), provider("west"), failover={"timeouts": {"total": "100ms"}}) as here,
    ):
        assert (await here.chat()).attempts == "east:total-timeout, west:ok"


def embeddings(size: int) -> bytes:
    """A whole answer to an embeddings request of at least so many bytes."""
    row = b'{"object":"embedding","index":0,"embedding":[%b]}' % b",".join([b"0.123456789"] * 1536)
    rows = b",".join([row] * (size // len(row) + 1))
    return b'{"object":"list","data":[%b],"model":"m","usage":{"prompt_tokens":9,"total_tokens":9}}' % rows


async def test_large_embeddings_pass_untouched_on_both_sides_of_the_limit() -> None:
    small, large = embeddings(ANSWER_LIMIT // 4), embeddings(ANSWER_LIMIT + (1 << 20))
    answers = [small, large]

    async def answers_them(call: Call) -> None:
        await call.answer(answers.pop(0))

    async with scripted(answers_them) as east, world(elsewhere("east", east.url)) as here:
        for expected in (small, large):
            answer = await here.ask("/v1/embeddings", {"model": "chat", "input": ["x"] * 100})
            assert answer.status == 200
            assert answer.whole
            assert answer.body == expected
        assert (await here.target_status("east"))["attempts"] == 2


async def test_a_large_answer_that_breaks_after_it_was_committed_is_cut_and_not_repeated() -> None:
    body = embeddings(ANSWER_LIMIT + (1 << 20))

    async def breaks(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body[:-1000]))
        call.writer.close()

    async with scripted(breaks) as east, world(elsewhere("east", east.url), provider("west")) as here:
        answer = await here.ask("/v1/embeddings", {"model": "chat", "input": "x"})

        assert not answer.whole
        assert body.startswith(answer.body)
        assert here.requests("west") == 0
        assert (await here.metrics()).by("llmroute_attempts_total", "outcome") == {"broken": 1}


async def test_a_large_answer_that_falls_silent_after_it_was_committed_ends() -> None:
    body = embeddings(ANSWER_LIMIT + (1 << 20))

    async def falls_silent(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body[:-1000]))
        await asyncio.sleep(30)

    async with (
        scripted(falls_silent) as east,
        world(elsewhere("east", east.url), failover={"timeouts": {"betweenTokens": "100ms"}}) as here,
    ):
        answer = await here.ask("/v1/embeddings", {"model": "chat", "input": "x"})

        assert not answer.whole
        assert (await here.metrics()).by("llmroute_attempts_total", "outcome") == {"between-tokens-timeout": 1}


async def test_a_translated_answer_is_awaited_whole_however_large() -> None:
    text = "x" * (ANSWER_LIMIT + 1000)

    async def answers(call: Call) -> None:
        await call.answer(completion(text))

    async with scripted(answers) as east, world(elsewhere("east", east.url)) as here:
        answer = await here.message()

        assert answer.status == 200
        assert answer.text == text


async def test_content_is_passed_on_while_the_rest_is_still_generated() -> None:
    async with (
        world(provider("east", tokens_per_second=Speed(median=100))) as here,
        here.app() as app,
    ):
        app.ask("/v1/chat/completions", chat(stream=True, max_tokens=10))
        await app.head()
        assert b"[DONE]" not in await app.chunk()
        app.hang_up()

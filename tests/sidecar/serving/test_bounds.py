"""Memory is bounded whatever comes, and told apart from failure."""

import asyncio

import pytest
from tests.app import CHAT, MESSAGES
from tests.sidecar.serving.raw import head
from tests.sidecar.serving.scripted import Call, completion, scripted
from tests.world import chat, elsewhere, message, provider, world

from llmroute import slots
from llmroute.simulator.spec import BlackHole

KIBIBYTE = 1024
SMALL = {"max_buffer": 300 * KIBIBYTE}


async def test_beyond_the_buffer_the_app_is_told_to_come_back() -> None:
    async with world(provider("east", faults=[BlackHole()]), settings=SMALL) as here, here.app() as holder:
        holder.ask(CHAT, chat("x" * 200 * KIBIBYTE))
        await here.arrived("east")
        for path, body in ((CHAT, chat("x" * 200 * KIBIBYTE)), (MESSAGES, message("x" * 200 * KIBIBYTE))):
            answer = await here.ask(path, body)
            assert (answer.status, answer.error) == (503, "overloaded")
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["x-should-retry"] == "false"
            assert "--max-buffer" in answer.message
        assert here.requests("east") == 1
        holder.hang_up()


async def test_what_was_taken_is_given_back_whatever_the_end() -> None:
    """Each of these takes most of the buffer; if one kept its part, the next would be refused."""
    large = "x" * 200 * KIBIBYTE
    settings = SMALL | {"max_body": 250 * KIBIBYTE, "body_timeout": 0.1}
    async with world(provider("east"), settings=settings) as here:
        for _ in range(2):
            assert (await here.chat(large)).status == 200
            assert (await here.chat(large, stream=True)).status == 200
            assert (await here.chat(large, model="unknown")).status == 404
            assert (await here.ask(CHAT, b"{" + b" " * 200 * KIBIBYTE)).status == 400
            assert (await here.chat(large * 2)).status == 413
            async with here.app() as app:
                app.send(head("content-length: 204800") + b"{")
                assert (await app.answer()).status == 408
            async with here.app() as app:
                app.send(head("content-length: 204800") + b"{" * 1000)
                await asyncio.sleep(0.01)
                app.hang_up()
            async with here.app() as app:
                app.send(head("transfer-encoding: chunked") + b"4000\r\n" + b" " * 0x4000 + b"\r\nzz\r\n")
                assert (await app.answer()).status == 400
            await here.settled()


async def test_a_body_that_declares_more_than_is_left_is_refused_before_it_is_read() -> None:
    async with world(provider("east"), settings=SMALL) as here, here.app() as app:
        app.send(head("content-length: 999999"))
        assert (await app.answer()).error == "overloaded"


async def test_chunks_count_as_they_come() -> None:
    async with world(provider("east"), settings=SMALL) as here, here.app() as app:
        app.send(head("transfer-encoding: chunked"))
        piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(5):
            app.send(piece)
            await asyncio.sleep(0.002)
        answer = await app.answer()
        assert answer.error == "overloaded"


async def test_large_answers_that_are_held_count_as_well() -> None:
    """A whole answer is held until it is complete: many large ones at once must not take all memory."""
    whole = asyncio.Event()
    body = completion("x" * 600 * KIBIBYTE)

    async def answers_half(call: Call) -> None:
        half = len(body) - 1
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body[:half]))
        await whole.wait()
        await call.send(body[half:])

    async with (
        scripted(answers_half) as east,
        world(elsewhere("east", east.url), settings={"max_buffer": 1000 * KIBIBYTE}) as here,
    ):
        first = asyncio.create_task(here.chat())
        second = asyncio.create_task(here.chat())
        done, _ = await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED, timeout=5.0)
        (refused,) = done
        assert (refused.result().status, refused.result().error) == (503, "overloaded")
        assert refused.result().headers["retry-after"] == "1"
        whole.set()
        assert {answer.status for answer in await asyncio.gather(first, second)} == {200, 503}
        assert (await here.chat()).status == 200, "all was given back"
        assert (await here.target_status("east"))["errors"] == 0


async def test_without_room_an_answer_is_not_kept_but_given() -> None:
    async with world(provider("east"), cache={}, settings={"max_buffer": 200}) as here:
        answers = [await here.chat() for _ in range(2)]
        assert [answer.headers["x-llmroute-cache"] for answer in answers] == ["miss", "miss"]
        assert {answer.status for answer in answers} == {200}


async def test_more_wait_for_a_slot_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "MAX_WAITING", 3)
    east = provider("east", faults=[BlackHole()], target={"maxConcurrency": 1})
    async with world(east) as here:
        asked = [asyncio.create_task(here.chat()) for _ in range(5)]
        (refused,) = (await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=5.0))[0]

        answer = refused.result()
        assert (answer.status, answer.error, answer.headers["retry-after"]) == (503, "overloaded", "1")
        assert here.target("east").slots.in_flight == 1
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

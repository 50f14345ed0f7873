"""Long answers, slow apps and apps that leave."""

import asyncio
import gc
import socket
import tracemalloc

import pytest
from tests.app import CHAT, MESSAGES, request
from tests.sidecar.serving.scripted import DONE, Call, chunk, completion, finish, scripted
from tests.world import chat, elsewhere, message, own_key, provider, world

from llmroute.simulator.spec import BlackHole, Duration, Speed, Ttft

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_an_app_that_hangs_up_cancels_the_attempt_at_once(stream: bool) -> None:
    async with world(provider("east", faults=[BlackHole()])) as here:
        async with here.app() as app:
            app.ask(CHAT, chat(stream=stream))
            await here.arrived("east")
            app.hang_up()
            await here.left("east")
        await here.settled()

        metrics = await here.metrics()
        assert metrics.by("llmroute_attempts_total", "outcome") == {"cancelled": 1}
        assert metrics.by("llmroute_requests_total", "outcome") == {"cancelled": 1}


async def test_an_app_that_hangs_up_in_mid_stream_cancels_the_attempt_at_once() -> None:
    async with world(provider("east", tokens_per_second=Speed(median=20))) as here:
        async with here.app() as app:
            app.ask(CHAT, chat(stream=True))
            await app.head()
            await app.chunk()
            app.hang_up()
            await here.left("east")
        await here.settled()
        assert (await here.metrics()).by("llmroute_attempts_total", "outcome") == {"cancelled": 1}


async def test_an_app_that_closes_politely_cancels_as_well() -> None:
    async with world(provider("east", faults=[BlackHole()])) as here, here.app() as app:
        app.ask(CHAT, chat())
        await here.arrived("east")
        app.writer.close()
        await here.left("east")


async def test_an_app_that_hangs_up_while_it_waits_for_a_slot_leaves_the_queue() -> None:
    east = provider("east", ttft=Ttft(median=Duration(0.1)), target={"maxConcurrency": 1})
    async with world(east) as here:
        first = asyncio.create_task(here.chat())
        await here.arrived("east")
        async with here.app() as app:
            app.ask(CHAT, chat())
            await here.queued("east", 1)
            app.hang_up()
            await here.queued("east", 0)
        assert (await first).status == 200
        assert (await here.chat()).status == 200
        assert here.requests("east") == 2


async def test_an_app_that_hangs_up_between_two_attempts_makes_no_second_one() -> None:
    async with world(provider("east", faults=[BlackHole()]), provider("west")) as here, here.app() as app:
        app.ask(CHAT, chat(stream=True), {"x-llmroute-max-latency": "5s"})
        await here.arrived("east")
        app.hang_up()
        await here.settled()
        assert here.requests("west") == 0


async def test_slots_are_given_in_the_order_of_arrival() -> None:
    order: list[int] = []
    free = asyncio.Event()

    async def notes(call: Call) -> None:
        order.append(int(call.body.partition(b"number ")[2].partition(b'"')[0]))
        await free.wait()
        await call.answer(completion())

    async with scripted(notes) as east, world(elsewhere("east", east.url, maxConcurrency=2)) as here:
        asked = []
        for number in range(10):
            asked.append(asyncio.create_task(here.chat(f"number {number}")))
            if number >= 2:
                await here.queued("east", number - 1)
            else:
                while len(order) <= number:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.001)
        assert (await here.target_status("east"))["inFlight"] == 2
        free.set()
        await asyncio.gather(*asked)

        assert order == list(range(10))
        assert (await here.target_status("east"))["inFlight"] == 0


async def test_the_queue_is_a_part_of_the_latency() -> None:
    east = provider("east", ttft=Ttft(median=Duration(0.05)), target={"maxConcurrency": 1})
    async with world(east) as here:
        await asyncio.gather(here.chat(), here.chat())
        latency = (await here.target_status("east"))["latency"]
        assert latency["queue"]["count"] == 2
        assert latency["queue"]["p99"] >= 0.04
        assert latency["total"]["p99"] < 2 * latency["queue"]["p99"] + 0.05


async def test_a_slow_app_slows_the_target_down() -> None:
    """Nothing is read from the target that the app does not take; what is buffered on the way is bounded."""
    written = 0
    stuck = asyncio.Event()
    frame = chunk("x" * 1000)

    async def talks(call: Call) -> None:
        nonlocal written
        await call.begin()
        piece = frame * 64
        while written < 256 * MEBIBYTE:
            try:
                async with asyncio.timeout(0.5):
                    await call.piece(piece)
            except TimeoutError:
                stuck.set()
                return
            written += len(piece)

    async with (
        scripted(talks) as east,
        world(elsewhere("east", east.url), failover={"timeouts": {"betweenTokens": "200ms"}}) as here,
    ):
        app = socket.create_connection(("127.0.0.1", here.sidecar.app_port))
        with app:
            app.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            app.sendall(request(CHAT, chat(stream=True)))
            async with asyncio.timeout(15.0):
                await stuck.wait()

            assert written < 32 * MEBIBYTE, "most of it stands in socket buffers of the kernel"
            assert here.target("east").slots.in_flight == 1, "the app's slowness is no silence of the target"
        await here.settled()
        status = await here.target_status("east")
        assert status["errors"] == 0


async def test_a_stream_of_a_hundred_thousand_chunks_takes_no_memory_to_speak_of() -> None:
    chunks = 100_000
    frame = chunk("word ")
    piece = frame * 250

    async def talks(call: Call) -> None:
        await call.begin()
        for _ in range(chunks // 250):
            await call.piece(piece)
        await call.piece(finish() + DONE)
        await call.end()

    async with scripted(talks) as east, world(elsewhere("east", east.url)) as here, here.app() as app:
        await here.chat(stream=False)
        app.ask(CHAT, chat(stream=True))
        await app.head()
        received = len(await app.chunk())
        gc.collect()
        tracemalloc.start()
        try:
            last = b""
            while part := await app.chunk():
                received += len(part)
                last = part
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert received == chunks * len(frame) + len(finish()) + len(DONE)
        assert last.endswith(DONE)
        assert peak < 8 * MEBIBYTE
        assert (await here.target_status("east"))["outputTokens"] >= 0
        latency = (await here.target_status("east"))["latency"]
        assert latency["generation"]["count"] == 1


async def test_frames_are_relayed_whole_however_they_are_cut_on_the_way() -> None:
    stream = chunk(role="assistant") + chunk("a") + chunk("b") + finish() + DONE

    async def cuts(call: Call) -> None:
        await call.begin()
        for start in range(0, len(stream), 7):
            await call.piece(stream[start : start + 7])
        await call.end()

    async with scripted(cuts) as east, world(elsewhere("east", east.url)) as here, here.app() as app:
        app.ask(CHAT, chat(stream=True))
        await app.head()
        pieces = []
        while piece := await app.chunk():
            pieces.append(piece)
        assert b"".join(pieces) == stream
        assert all(piece.endswith(b"\n\n") for piece in pieces)


async def test_unknown_members_and_events_survive_untouched() -> None:
    odd = b'data: {"choices":[{"index":0,"delta":{"content":"a","x_new":{"deep":[1]}}}],"zzz":1}\n\n'
    stream = odd + b": comment\n\n" + b'event: new.event\ndata: {"a":1}\n\n' + finish() + DONE

    async def says(call: Call) -> None:
        await call.begin()
        await call.piece(stream)
        await call.end()

    async with scripted(says) as east, world(elsewhere("east", east.url)) as here:
        assert (await here.chat(stream=True)).body == stream


async def test_what_goes_to_the_target_is_what_the_app_sent_but_for_the_model() -> None:
    body = b'{ "messages" : [{"role":"user","content":"\\u00e9"}],\n"model"\t:"chat", "x_unknown": 1.50 }'
    calls = []

    async def notes(call: Call) -> None:
        calls.append(call)
        await call.answer(b'{"choices":[]}')

    headers = {
        "authorization": "Bearer of-the-app",
        "x-api-key": "of-the-app",
        "api-key": "of-the-app",
        "cookie": "of-the-app",
        "x-goog-api-key": "of-the-app",
        "x-auth-token": "of-the-app",
        "ocp-apim-subscription-key": "of-the-app",
        "cf-aig-authorization": "of-the-app",
        "x-amz-security-token": "of-the-app",
        "openai-organization": "of-the-app",
        "openai-project": "of-the-app",
        "x-llmroute-tenant": "of-the-app",
        "connection": "keep-alive, x-hop",
        "Connection": "anthropic-hop",
        "x-hop": "of-the-app",
        "anthropic-hop": "of-the-app",
        "te": "trailers",
        "openai-beta": "b",
        "anthropic-beta": "a",
        "user-agent": "app/1",
        "x-trace": "t",
        "accept-encoding": "gzip, br",
    }
    async with (
        scripted(notes) as east,
        world(elsewhere("east", east.url, **own_key())) as here,
    ):
        await here.ask(CHAT, body, headers)
        await here.ask(MESSAGES, message(), headers)

    assert calls[0].body == body.replace(b'"chat"', b'"model-of-east"')
    for call in calls:
        assert b"of-the-app" not in call.head
        assert call.header("authorization") == "Bearer key-of-own"
        assert call.header("accept-encoding") == "identity"
        assert call.header("user-agent") == "app/1"
        assert call.header("x-trace") == "t"
        assert call.line == "POST /v1/chat/completions"
        assert not call.header("te")
    assert (calls[0].header("openai-beta"), calls[1].header("openai-beta")) == ("b", None)
    assert calls[1].header("anthropic-beta") is None


async def test_several_requests_use_one_connection_of_the_app_and_few_of_the_target() -> None:
    async with world(provider("east")) as here, here.app() as app:
        for number in range(10):
            app.ask(CHAT, chat(f"{number}", stream=number % 2 == 0))
            assert (await app.answer()).status == 200
        assert here.fleet["east"].stats.connections_opened <= 2


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with world(provider("east")) as here, here.app() as app:
        app.send(b"".join(request(CHAT, chat(), {"x-request-id": f"r{number}"}) for number in range(5)))
        ids = [(await app.answer()).headers["x-request-id"] for _ in range(5)]
        assert ids == ["r0", "r1", "r2", "r3", "r4"]

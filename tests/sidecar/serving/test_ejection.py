"""Targets are taken out, come back, and are tried all the same when nobody else is left."""

import asyncio

import pytest
from tests.sidecar.serving.scripted import Call, completion, scripted
from tests.world import World, elsewhere, provider, world

from llmroute.simulator.spec import BlackHole, Duration, Refused, Reset, Stall, Status, Ttft


async def eject(here: World, *names: str) -> None:
    """Lets targets fail until they are out."""
    for name in names:
        await here.told(name, Status(status=500))
    for _ in range(20):
        wishes = [{"x-llmroute-target": name, "x-llmroute-max-latency": "50ms"} for name in names]
        await asyncio.gather(*(here.chat(headers=wish) for wish in wishes))
        states = [(await here.target_status(name))["state"] for name in names]
        if set(states) == {"ejected"}:
            return
    raise AssertionError(states)


async def test_a_failing_target_is_ejected_and_the_status_says_why() -> None:
    async with world(provider("east"), provider("west")) as here:
        await eject(here, "east")

        status = await here.target_status("east")
        assert status["state"] == "ejected"
        assert status["reason"] == "server-error"
        assert (await here.target_status("west"))["state"] == "healthy"
        before = here.requests("east")
        assert {(await here.chat()).target for _ in range(10)} == {"west"}
        assert here.requests("east") == before


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_when_all_are_ejected_the_best_is_tried_all_the_same(stream: bool) -> None:
    async with world(provider("east"), provider("west")) as here:
        await eject(here, "east", "west")
        await here.told("east")
        await here.told("west")

        answer = await here.chat(stream=stream)

        assert answer.status == 200
        assert answer.headers["x-llmroute-reason"] == "panic"


async def test_in_panic_the_other_one_is_tried_too() -> None:
    async with world(provider("east"), provider("west")) as here:
        await eject(here, "east", "west")
        await here.told("west")

        answer = await here.chat()

        assert answer.status == 200
        assert answer.target == "west"


async def test_a_fallback_target_comes_before_panic() -> None:
    async with world(provider("east"), provider("spare"), fallbackTargets=["spare"]) as here:
        await eject(here, "east")
        answer = await here.chat()
        assert (answer.target, answer.headers["x-llmroute-reason"]) == ("spare", "fallback")


async def test_a_success_in_panic_brings_the_target_back() -> None:
    async with world(provider("east")) as here:
        await eject(here, "east")
        await here.told("east")

        states = []
        for _ in range(5):
            assert (await here.chat()).status == 200
            states.append((await here.target_status("east"))["state"])

        assert states[0] == "probation"
        assert states[-1] == "healthy"


async def test_those_in_flight_at_an_ejection_move_on_together() -> None:
    """The request that saw the failure is not the only one that is helped, and they do not wait for their timeouts."""
    east = provider("east", ttft=Ttft(median=Duration(0.1)))
    async with world(east, provider("west")) as here:
        asked = [asyncio.create_task(here.chat()) for _ in range(8)]
        await here.arrived("east", 8)
        await here.told("east", Refused(kill=True))
        answers = await asyncio.gather(*asked)

        assert {answer.status for answer in answers} == {200}
        assert {answer.attempts for answer in answers} == {"east:broken, west:ok"}


async def test_one_poisonous_request_does_not_eject_everybody() -> None:
    """It fails alike everywhere, so it counts against nobody."""

    async def chokes(call: Call) -> None:
        if b"poison" in call.body:
            await call.answer(b'{"error":{"message":"boom"}}', "500 Internal Server Error")
        else:
            await call.answer(completion())

    async with (
        scripted(chokes) as east,
        scripted(chokes) as west,
        world(elsewhere("east", east.url), elsewhere("west", west.url), failover={"maxAttempts": 2}) as here,
    ):
        for _ in range(4):
            assert (await here.chat("poison")).status == 502
            assert (await here.chat("good")).status == 200
        for name in ("east", "west"):
            assert (await here.target_status(name))["state"] == "healthy"


async def test_a_poison_that_kills_the_connection_is_pardoned_as_well() -> None:
    async with world(
        provider("east", faults=[Reset()]), provider("west", faults=[Reset()]), failover={"maxAttempts": 2}
    ) as here:
        for _ in range(2):
            assert (await here.chat()).attempts.count("broken") == 2
        for name in ("east", "west"):
            assert (await here.target_status(name))["state"] == "healthy"


async def test_a_target_that_only_ever_fails_is_not_pardoned_for_ever() -> None:
    failing = [provider(name, faults=[Status(status=500)]) for name in ("east", "west")]
    async with world(*failing, failover={"maxAttempts": 2}) as here:
        for _ in range(12):
            await here.chat()
        assert "ejected" in {(await here.target_status(name))["state"] for name in ("east", "west")}


async def test_fast_failures_never_make_a_target_look_fast() -> None:
    slow = provider("west", ttft=Ttft(median=Duration(0.03)))
    async with world(provider("east", faults=[Status(status=500)]), slow) as here:
        targets = [(await here.chat(stream=True)).target for _ in range(15)]
        assert set(targets) == {"west"}


async def test_a_silent_target_is_ejected_by_its_timeouts() -> None:
    async with world(
        provider("east", faults=[BlackHole()]), provider("west"), failover={"timeouts": {"firstToken": "30ms"}}
    ) as here:
        await asyncio.gather(*(here.chat(stream=True) for _ in range(4)))

        status = await here.target_status("east")
        assert (status["state"], status["reason"]) == ("ejected", "first-token-timeout")


async def test_breaks_after_the_commit_point_count_against_the_target_as_well() -> None:
    async with world(
        provider("east", faults=[Stall(after_tokens=2)]), failover={"timeouts": {"betweenTokens": "30ms"}}
    ) as here:
        await asyncio.gather(*(here.chat(stream=True) for _ in range(3)))

        status = await here.target_status("east")
        assert (status["state"], status["reason"]) == ("ejected", "between-tokens-timeout")


async def test_apps_that_hang_up_do_not_eject_a_target() -> None:
    async with world(provider("east", faults=[BlackHole()])) as here:
        for number in range(6):
            async with here.app() as app:
                app.ask("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "x"}]})
                await here.arrived("east", number + 1)
                app.hang_up()
            await here.settled()

        status = await here.target_status("east")
        assert (status["state"], status["errors"], status["attempts"]) == ("healthy", 0, 6)

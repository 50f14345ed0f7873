"""Faults that others met in the field and that no other test shows to be absent; see docs/known-failures.md."""

import asyncio
from typing import Any

import pytest
from tests.app import CHAT, connected
from tests.world import SURFACES, chat, own_key, provider, world

from llmroute import reload
from llmroute.simulator.spec import BlackHole, Duration, Refused, Speed, Status, Ttft


async def test_the_length_of_an_answer_does_not_change_its_time_to_first_token() -> None:
    """Answers of two tokens from one target, of 32 from the other: divided by its tokens the latter would look fast."""
    paced: dict[str, Any] = {"ttft": Ttft(median=Duration(0.05)), "tokens_per_second": Speed(median=2000)}
    async with world(provider("short", **paced), provider("long", **paced)) as here:
        for _ in range(3):
            await here.chat(stream=True, max_tokens=2, headers={"x-llmroute-target": "short"})
            await here.chat(stream=True, headers={"x-llmroute-target": "long"})
        short, long = [(await here.target_status(name))["latency"]["ttft"]["p50"] for name in ("short", "long")]
        assert 0.045 < long < 4 * short
        assert 0.045 < short < 4 * long


async def test_reading_a_kept_answer_does_not_prolong_its_life() -> None:
    async with world(provider("east"), cache={"ttl": "200ms"}) as here:
        results: list[str] = []
        while results.count("miss") < 2:
            results.append((await here.chat()).headers["x-llmroute-cache"])
            await asyncio.sleep(0.02)
            assert len(results) < 100
        assert here.requests("east") == 2


async def test_a_target_that_comes_and_goes_keeps_its_count_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are in flight while the target leaves the configuration and comes back."""
    monkeypatch.setattr(reload, "INTERVAL", 0.01)
    east = provider("east", ttft=Ttft(median=Duration(0.15)))
    async with world(east, provider("west")) as here:
        asked = [asyncio.create_task(here.chat()) for _ in range(3)]
        await here.arrived("east", 3)
        (gone,) = [target for target in here.spec["targets"] if target["name"] == "east"]
        here.spec["targets"].remove(gone)
        here.declare()
        await here.reloaded()
        here.spec["targets"].append(gone)
        here.declare()
        await here.reloaded()
        await here.chat(headers={"x-llmroute-target": "east"})
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}

        assert (await here.target_status("east"))["inFlight"] == 0
        assert (await here.metrics()).sum("llmroute_in_flight") == 0


async def test_a_dead_host_is_taken_out() -> None:
    async with world(provider("east", faults=[Refused()]), provider("west")) as here:
        for _ in range(10):
            assert (await here.chat()).target == "west"
        status = await here.target_status("east")
        while status["state"] != "ejected":
            await here.chat(headers={"x-llmroute-target": "east"})
            status = await here.target_status("east")
        assert status["reason"] == "connect-failed"


async def test_our_own_refusals_count_against_no_target() -> None:
    async with world(
        provider("east", faults=[Status(status=429, retry_after=Duration(30))]),
        provider("west", target=own_key()),
        keys={},
    ) as here:
        answers = [await here.chat() for _ in range(5)]
        assert [answer.error for answer in answers] == ["rate_limited"] * 5
        east, west = await here.target_status("east"), await here.target_status("west")
        assert (east["attempts"], west["attempts"], west["state"]) == (1, 0, "healthy")
        assert (await here.metrics()).sum("llmroute_attempts_total") == 1


async def test_each_attempt_carries_its_own_targets_key_model_and_host() -> None:
    keys = {"EAST": "key-of-east", "WEST": "key-of-west"}
    async with world(
        provider("east", faults=[Status(status=500)], target=own_key("EAST")),
        provider("west", dialect="anthropic", target=own_key("WEST")),
        keys=keys,
    ) as here:
        assert (await here.chat()).attempts == "east:server-error, west:ok"
        (first,), (second,) = here.fleet["east"].requests, here.fleet["west"].requests

        assert first.header(b"authorization") == "Bearer key-of-east"
        assert second.header(b"x-api-key") == "key-of-west"
        assert second.header(b"authorization") is None
        assert b"model-of-east" in first.body
        assert b"model-of-west" in second.body
        assert second.header(b"host") == here.fleet["west"].origin.removeprefix("http://")


async def test_the_probes_answer_while_every_target_hangs() -> None:
    async with world(provider("east", faults=[BlackHole()])) as here:
        asked = [asyncio.create_task(here.chat(stream=number % 2 == 0)) for number in range(100)]
        await here.arrived("east", 100)
        async with connected(here.sidecar.admin_port) as app:
            for path in ("/livez", "/readyz", "/status", "/metrics"):
                app.ask(path)
                assert (await app.answer()).status == 200
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def test_what_apps_make_up_mints_no_series() -> None:
    async with world(provider("east")) as here:
        await here.chat()
        await here.chat(model="made-up")
        before = (await here.metrics()).text.count("\n")
        for number in range(20):
            await here.chat(model=f"made-up-{number}")
            await here.ask(f"/made-up-{number}")
            await here.chat(headers={"x-llmroute-tenant": f"t{number}", "x-request-id": f"r{number}"})
        text = (await here.metrics()).text

        assert "made-up" not in text
        assert text.count("\n") <= before + 60, "one series more for the other refusal, with its buckets"


@pytest.mark.parametrize("path", [path for path in SURFACES if path != "/v1/completions"])
async def test_a_prompt_of_many_megabytes_passes(path: str) -> None:
    large = "word " * 1_000_000
    async with world(provider("east")) as here:
        body = dict(SURFACES[path])
        if "messages" in body:
            body["messages"] = chat(large)["messages"]
        else:
            body["input"] = large
        answer = await here.ask(path, body)
        assert answer.status == 200
        assert here.fleet["east"].requests[0].size > 5_000_000


async def test_an_answer_is_never_begun_twice() -> None:
    """What the app has seen is not said again by another target, and no tool is called a second time."""
    async with (
        world(provider("east", tokens_per_second=Speed(median=500), faults=[]), provider("west")) as here,
        here.app() as app,
    ):
        app.ask(CHAT, chat(stream=True))
        await app.head()
        first = await app.chunk()
        await here.told("east", Refused(kill=True))
        rest = b""
        while piece := await app.chunk():
            rest += piece
        assert b"chat.completion.chunk" in first
        assert b'"error"' in rest
        assert here.requests("west") == 0

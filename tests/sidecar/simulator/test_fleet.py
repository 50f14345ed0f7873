"""A fleet as a whole: timing, order of service, what it remembers, what it can be told."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop
from tests.sidecar.simulator.raw import CHAT, MESSAGE, ask, chat, connected, until

from llmroute.errors import ConfigError
from llmroute.simulator import Command, Fleet
from llmroute.simulator.records import fingerprint
from llmroute.simulator.spec import BlackHole


async def test_a_port_in_use_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            async with Fleet.start(f"providers: [{{name: a}}, {{name: b, port: {port}}}]"):
                pass


async def test_an_unknown_provider_is_an_error_that_lists_the_known() -> None:
    async with Fleet.start("providers: [{name: a}, {name: b}]") as fleet:
        assert list(fleet) == ["a", "b"]
        with pytest.raises(ConfigError, match="no provider is called 'c'; there are a, b"):
            _ = fleet["c"]


async def test_the_base_url_is_what_the_dialects_sdk_takes() -> None:
    async with Fleet.start("providers: [{name: a}, {name: b, dialect: anthropic}]") as fleet:
        assert fleet["a"].url == f"http://127.0.0.1:{fleet['a'].port}/v1"
        assert fleet["b"].url == f"http://127.0.0.1:{fleet['b'].port}"


async def test_the_same_index_gets_the_same_answer_whatever_came_before() -> None:
    text = "seed: {seed}\nproviders: [{{name: p, outputTokens: {{median: 20, sigma: 1}}}}]"

    async def bodies(seed: int, order: list[int]) -> dict[int, bytes]:
        async with Fleet.start(text.format(seed=seed)) as fleet:
            return {index: (await chat(fleet["p"], index=index)).body for index in order}

    first = await bodies(1, [0, 1, 2, 3])
    assert first == await bodies(1, [3, 1, 0, 2])
    assert first != await bodies(2, [0, 1, 2, 3])
    assert len(set(first.values())) == 4


async def test_requests_without_an_index_are_counted() -> None:
    async with Fleet.start("providers: [{name: p, outputTokens: {median: 20, sigma: 1}}]") as fleet:
        counted = [(await chat(fleet["p"])).body for _ in range(3)]
        assert counted == [(await chat(fleet["p"], index=index)).body for index in range(3)]


async def test_longer_prompts_take_longer_and_a_brownout_multiplies() -> None:
    loop = asyncio.get_running_loop()
    async with Fleet.start("providers: [{name: p, ttft: {median: 20ms, perThousandTokens: 40ms}}]") as fleet:

        async def seconds(prompt: str) -> float:
            began = loop.time()
            await chat(fleet["p"], messages=[{"role": "user", "content": prompt}])
            return loop.time() - began

        assert await seconds("x") >= 0.02
        assert await seconds("x" * 4000) >= 0.06
        await fleet["p"].command(Command(latency=5))
        assert await seconds("x") >= 0.1


async def test_tokens_come_one_after_the_other() -> None:
    loop = asyncio.get_running_loop()
    text = "providers: [{name: p, tokensPerSecond: {median: 100}, outputTokens: {median: 6}}]"
    async with Fleet.start(text) as fleet, connected(fleet["p"]) as client:
        began = loop.time()
        client.send("/v1/chat/completions", CHAT | {"stream": True})
        await client.head()
        moments = []
        while await client.chunk():
            moments.append(loop.time() - began)
    assert len(moments) > 3
    assert moments[-1] >= 0.06


async def test_an_early_opening_comes_long_before_the_first_token() -> None:
    text = "providers: [{name: p, dialect: anthropic, ttft: {median: 10s}, earlyOpening: true}]"
    async with Fleet.start(text) as fleet, connected(fleet["p"]) as client:
        client.send("/v1/messages", MESSAGE | {"stream": True})
        assert (await client.head())[0] == 200
        assert (await client.chunk()).startswith(b"event: message_start")


async def test_a_batch_serves_in_order_and_the_rest_waits() -> None:
    text = """
    providers:
    - {name: p, tokensPerSecond: {median: 200}, outputTokens: {median: 10}, batch: {slots: 1, baseWork: 2}}
    """
    ended: list[int] = []
    async with Fleet.start(text) as fleet:

        async def one(number: int) -> None:
            assert (await chat(fleet["p"], stream=number % 2 == 0)).status == 200
            ended.append(number)

        def in_line() -> int:
            return len(ended) + fleet["p"].stats.in_flight

        tasks = []
        for number in range(4):
            tasks.append(asyncio.create_task(one(number)))
            await until(lambda: in_line() == number + 1)  # noqa: B023 - called before the next turn
        assert fleet["p"].stats.queued + len(ended) >= 3
        assert fleet["p"].stats.serving == 1
        await asyncio.gather(*tasks)
        assert fleet["p"].stats.queued == 0
    assert ended == [0, 1, 2, 3]


async def test_one_that_hangs_up_in_a_batch_gives_its_slot_to_the_next() -> None:
    text = "providers: [{name: p, tokensPerSecond: {median: 1}, batch: {slots: 1, baseWork: 1}}]"
    async with Fleet.start(text) as fleet:
        async with connected(fleet["p"]) as holder, connected(fleet["p"]) as waiting:
            for client in (holder, waiting):
                client.send("/v1/chat/completions", CHAT)
            await until(lambda: fleet["p"].stats.queued == 1)
            holder.writer.transport.abort()
            await until(lambda: fleet["p"].stats.queued == 0)
        await until(lambda: fleet["p"].stats.in_flight == 0)
        assert fleet["p"].stats.cancelled == 2


async def test_what_arrived_can_be_looked_at_but_no_credential() -> None:
    async with Fleet.start("providers: [{name: p}]") as fleet:
        body = CHAT | {"user": "ann"}
        headers = {"authorization": "Bearer canary", "x-tenant": "gold"}
        await ask(fleet["p"], "/v1/chat/completions?trace=1", body, headers)
        (seen,) = (await ask(fleet["p"], "/simulator/requests?last=5")).json
        stats = (await ask(fleet["p"], "/simulator/stats")).json
        assert fleet["p"].requests[-1].header(b"authorization") == "Bearer canary"
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/v1/chat/completions", "trace=1")
    assert json.loads(seen["body"]) == body
    assert ["x-tenant", "gold"] in seen["headers"]
    assert ["authorization", fingerprint(b"Bearer canary")] in stats["lastHeaders"]
    assert (stats["requests"], stats["bodies"], stats["inFlight"], stats["statuses"]) == (1, 1, 0, {"200": 1})
    assert "canary" not in json.dumps([seen, stats])


async def test_a_dead_provider_is_told_through_a_living_one() -> None:
    async with Fleet.start("providers: [{name: a}, {name: b}]") as fleet:

        async def tell(**command: Any) -> Any:
            return (await ask(fleet["a"], "/simulator/control", command)).json

        assert (await tell(provider="b", faults=[{"type": "refused", "kill": True}]))["requests"] == 0
        with pytest.raises(ConnectionRefusedError):
            await chat(fleet["b"])
        await tell(provider="b", clear=True)
        assert (await chat(fleet["b"])).status == 200


async def test_a_commanded_fault_lasts_for_its_window_from_now() -> None:
    async with Fleet.start("providers: [{name: p}]") as fleet:
        command = {"faults": [{"type": "status", "status": 503, "t1": "300ms"}]}
        assert (await ask(fleet["p"], "/simulator/control", command)).status == 200
        assert (await chat(fleet["p"])).status == 503
        for _ in range(100):
            if (await chat(fleet["p"])).status == 200:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("the window never ended")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (b"{", "unexpected end of data"),
        ({"latency": 0}, "latency: Expected `float` > 0.0"),
        ({"speed": 2}, "unknown field `speed`"),
        ({"provider": "nobody"}, "no provider is called 'nobody'"),
    ],
)
async def test_a_wrong_command_is_refused_and_changes_nothing(command: Any, words: str) -> None:
    async with Fleet.start("providers: [{name: p}]") as fleet:
        answer = await ask(fleet["p"], "/simulator/control", command)
        assert answer.status == 400
        assert words in answer.json["error"]
        assert (await ask(fleet["p"], "/simulator/other")).status == 404
        assert (await chat(fleet["p"])).status == 200


async def test_the_fleet_ends_although_answers_are_pending() -> None:
    async with AsyncExitStack() as outlives:
        async with Fleet.start("providers: [{name: p, faults: [{type: black-hole}]}]") as fleet:
            member = fleet["p"]
            client = await outlives.enter_async_context(connected(member))
            client.send("/v1/chat/completions", CHAT)
            await until(lambda: member.stats.in_flight == 1)
        with pytest.raises(ConnectionResetError):
            await client.reader.read()
    assert (member.stats.in_flight, member.stats.connections_open) == (0, 0)


def test_it_runs_on_uvloop_too() -> None:
    async def story() -> list[int]:
        async with Fleet.start("providers: [{name: p}]") as fleet:
            statuses = [(await chat(fleet["p"], stream=True)).status]
            for command in (Command(faults=(BlackHole(probability=0),)), Command(clear=True)):
                await fleet["p"].command(command)
                statuses.append((await chat(fleet["p"])).status)
            for _ in range(3):
                answer = await ask(fleet["p"], "/simulator/control", {"faults": [{"type": "refused"}]})
                statuses.append(answer.status)
                with pytest.raises(ConnectionRefusedError):
                    await chat(fleet["p"])
                await fleet["p"].command(Command(clear=True))
            return statuses

    assert uvloop.run(story()) == [200] * 6

"""Rate limits and Retry-After, the app's deadline, the budget of retries."""

import socket

import pytest
from tests.sidecar.serving.scripted import Call, completion, scripted
from tests.world import chat, elsewhere, provider, world

from llmroute.simulator.spec import BlackHole, Duration, RateLimit, Status, Ttft


@pytest.mark.parametrize("form", ["seconds", "date", "milliseconds"])
async def test_a_limited_target_is_left_alone_for_as_long_as_it_asked(form: str) -> None:
    fault = Status(status=429, retry_after=Duration(30), retry_after_form=form)  # type: ignore[arg-type]
    async with world(provider("east", faults=[fault]), provider("west")) as here:
        answers = [await here.chat() for _ in range(5)]

        assert [answer.attempts for answer in answers] == ["east:rate-limited, west:ok"] + ["west:ok"] * 4
        status = await here.target_status("east")
        assert status["state"] == "limited"
        assert 27 < status["limitedForSeconds"] <= 31


async def test_azures_header_counts_too_and_the_finer_one_wins() -> None:
    async def limits(call: Call) -> None:
        await call.answer(b"{}", "429 Too Many Requests", "retry-after: 99\r\nx-ms-retry-after-ms: 20000\r\n")

    async with scripted(limits) as east, world(elsewhere("east", east.url), provider("west")) as here:
        await here.chat()
        assert 17 < (await here.target_status("east"))["limitedForSeconds"] <= 20


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_limit_without_any_header_moves_on_as_well(stream: bool) -> None:
    async with world(provider("east", faults=[Status(status=429)]), provider("west")) as here:
        assert (await here.chat(stream=stream)).attempts == "east:rate-limited, west:ok"
        assert (await here.target_status("east"))["state"] == "limited"


async def test_each_attempts_own_wait_is_kept_not_the_firsts() -> None:
    waits = {"east": 40, "west": 20, "north": 60}
    faults = {name: [Status(status=429, retry_after=Duration(wait))] for name, wait in waits.items()}
    async with world(*(provider(name, faults=fault) for name, fault in faults.items())) as here:
        await here.chat()

        for name, wait in waits.items():
            assert wait - 3 < (await here.target_status(name))["limitedForSeconds"] <= wait


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_when_all_are_limited_the_app_is_told_the_soonest_recovery(stream: bool) -> None:
    async with world(
        provider("east", faults=[Status(status=429, retry_after=Duration(40))]),
        provider("west", faults=[Status(status=429, retry_after=Duration(20))]),
    ) as here:
        first, second = await here.chat(stream=stream), await here.chat(stream=stream)

        assert first.attempts == "east:rate-limited, west:rate-limited"
        for answer in (first, second):
            assert answer.status == 429
            assert answer.error == "rate_limited"
            assert 17 < int(answer.headers["retry-after"]) <= 20
            assert answer.headers["x-should-retry"] == "false"
        assert "x-llmroute-attempts" not in second.headers
        assert (here.requests("east"), here.requests("west")) == (1, 1), "nobody is asked before his time"


async def test_the_recovery_is_told_in_anthropics_words_too() -> None:
    async with world(provider("east", faults=[Status(status=429, retry_after=Duration(40))])) as here:
        answer = await here.message()

        assert answer.status == 429
        assert answer.json["error"]["type"] == "rate_limit_error"
        assert int(answer.headers["retry-after"]) <= 40


async def test_a_limit_that_ends_lets_the_target_come_back() -> None:
    east = provider("east", rate_limit=RateLimit(rps=50, burst=1, retry_after=Duration(0.05)))
    async with world(east, provider("west", ttft=Ttft(median=Duration(0.03)))) as here:
        first, second = await here.chat(), await here.chat()
        assert first.attempts == "east:ok"
        assert second.attempts == "east:rate-limited, west:ok"
        for _ in range(200):
            if (await here.chat()).attempts == "east:ok":
                break
        else:
            raise AssertionError("east never came back")


async def test_a_503_with_retry_after_is_a_limit_and_one_without_is_not() -> None:
    busy = Status(status=503, retry_after=Duration(30))
    async with world(
        provider("east", faults=[busy]), provider("west", faults=[Status(status=503)]), provider("north")
    ) as here:
        await here.chat()

        assert (await here.target_status("west"))["state"] == "healthy"
        east = await here.target_status("east")
        assert east["state"] == "limited", east


async def test_a_retry_after_of_an_answer_is_shown_to_the_app() -> None:
    async def answers(call: Call) -> None:
        await call.answer(completion(), headers="retry-after: 7\r\n")

    async with scripted(answers) as east, world(elsewhere("east", east.url)) as here:
        assert (await here.chat()).headers["retry-after"] == "7"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_nothing_is_tried_after_the_apps_deadline(stream: bool) -> None:
    async with world(provider("east", faults=[BlackHole()]), provider("west")) as here:
        answer = await here.chat(stream=stream, headers={"x-llmroute-max-latency": "80ms"})

        assert answer.status == 504
        assert answer.error == "deadline_exceeded"
        assert answer.attempts == "east:cancelled"
        assert here.requests("west") == 0
        assert (await here.target_status("east"))["errors"] == 0, "the app's hurry is no fault of the target"


async def test_the_deadline_holds_while_connecting() -> None:
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        east = elsewhere("east", f"http://127.0.0.1:{deaf.getsockname()[1]}/v1")
        async with world(east, failover={"timeouts": {"connect": "20s"}}) as here:
            answer = await here.chat(headers={"x-llmroute-max-latency": "80ms"})
            assert answer.error == "deadline_exceeded"


async def test_the_deadline_holds_in_the_queue_for_a_slot() -> None:
    east = provider("east", faults=[BlackHole()], target={"maxConcurrency": 1})
    async with world(east) as here, here.app() as holder:
        holder.ask("/v1/chat/completions", chat())
        await here.arrived("east")
        answer = await here.chat(headers={"x-llmroute-max-latency": "80ms"})

        assert answer.status == 504
        assert answer.error == "deadline_exceeded"
        assert here.requests("east") == 1


async def test_the_queue_for_a_slot_is_not_endless() -> None:
    east = provider("east", faults=[BlackHole()], target={"maxConcurrency": 1})
    async with world(east, failover={"timeouts": {"total": "300ms"}}) as here, here.app() as holder:
        holder.ask("/v1/chat/completions", chat(stream=True))
        await here.arrived("east")
        here.spec["failover"] = {"timeouts": {"total": "50ms"}}
        here.declare()
        await here.reloaded()
        answer = await here.chat()

        assert answer.status == 503
        assert answer.error == "overloaded"
        assert int(answer.headers["retry-after"]) >= 1


async def test_retries_stay_within_their_budget() -> None:
    """Everything fails, so every request would like to be repeated. None of them was in flight at an ejection."""
    failing = [provider(name, faults=[Status(status=500)]) for name in ("east", "west", "north")]
    async with world(*failing, failover={"maxAttempts": 3}) as here:
        for _ in range(150):
            await here.chat()

        attempts = sum(here.requests(name) for name in ("east", "west", "north"))
        assert attempts <= 1.2 * 150 + 100

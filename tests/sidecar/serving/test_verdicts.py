"""What a target says of the request itself, and what it says of our account with it."""

import json
from typing import Any

import pytest
from tests.sidecar.serving.scripted import Call, completion, scripted
from tests.world import elsewhere, own_key, provider, world

from llmroute import attempts
from llmroute.simulator.spec import ContextTooLong, CreditTooLow, Fault, Status

SAID = b'{"error":{"message":"temperature: must be below 2","type":"invalid_request_error","param":"temperature"}}'


def says(status: str, body: bytes) -> Any:
    async def answer(call: Call) -> None:
        await call.answer(body, status, "x-ratelimit-remaining-requests: 7\r\nx-request-id: theirs\r\n")

    return answer


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    "status",
    [
        "400 Bad Request",
        "405 Method Not Allowed",
        "409 Conflict",
        "413 Too Large",
        "415 Unsupported",
        "422 Unprocessable",
    ],
)
async def test_the_apps_own_mistake_is_handed_back_byte_for_byte(status: str, stream: bool) -> None:
    async with scripted(says(status, SAID)) as east, world(elsewhere("east", east.url), provider("west")) as here:
        answer = await here.chat(stream=stream)

        assert answer.status == int(status.split()[0])
        assert answer.body == SAID
        assert answer.attempts == "east:client-error"
        assert answer.headers["x-should-retry"] == "false"
        assert "x-llmroute-error" not in answer.headers, "it is not ours"
        assert answer.headers["x-ratelimit-remaining-requests"] == "7"
        assert answer.headers["x-upstream-request-id"] == "theirs"
        assert here.requests("west") == 0


async def test_the_apps_mistakes_cost_the_target_nothing() -> None:
    async with (
        scripted(says("422 Unprocessable", SAID)) as east,
        world(elsewhere("east", east.url), provider("west")) as here,
    ):
        answers = [await here.chat() for _ in range(20)]

        assert {answer.status for answer in answers} == {422}
        status = await here.target_status("east")
        assert status["state"] == "healthy"
        assert status["errors"] == 0


async def test_the_apps_mistake_is_told_in_its_own_dialect() -> None:
    async with scripted(says("400 Bad Request", SAID)) as east, world(elsewhere("east", east.url)) as here:
        answer = await here.message()

        assert answer.status == 400
        assert answer.json == {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "temperature: must be below 2"},
        }


async def test_a_page_of_a_web_server_is_no_verdict_on_the_request() -> None:
    async with (
        scripted(says("404 Not Found", b"<html>nginx</html>")) as east,
        world(elsewhere("east", east.url), provider("west")) as here,
    ):
        assert (await here.chat()).attempts == "east:server-error, west:ok"


async def test_a_context_that_is_too_long_goes_to_a_larger_window_only() -> None:
    small, large = {"contextWindow": 1000}, {"contextWindow": 4000}
    async with world(
        provider("east", faults=[ContextTooLong()], target=small),
        provider("west", target=small),
        provider("north", target=large),
    ) as here:
        answer = await here.chat()

        assert answer.attempts == "east:context-too-long, north:ok"
        assert here.requests("west") == 0
        assert (await here.target_status("east"))["errors"] == 0


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_context_that_is_too_long_for_all_is_told_to_the_app_as_the_target_said_it(stream: bool) -> None:
    """Apps shorten their history when they see this code."""
    async with world(provider("east", faults=[ContextTooLong()]), provider("west")) as here:
        answer = await here.chat(stream=stream)

        assert answer.status == 400
        assert answer.json["error"]["code"] == "context_length_exceeded"
        assert answer.attempts == "east:context-too-long"
        assert "x-llmroute-error" not in answer.headers


async def test_a_prompt_that_cannot_fit_is_not_sent_to_a_window_too_small() -> None:
    async with world(
        provider("east", target={"contextWindow": 100}), provider("west", target={"contextWindow": 100_000})
    ) as here:
        answer = await here.chat("word " * 1000)
        assert answer.attempts == "west:ok"


async def test_a_verdict_that_nobody_else_can_change_is_told_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PAUSE", 60.0)
    async with world(provider("east", faults=[ContextTooLong()])) as here:
        assert (await here.chat()).status == 400


ACCOUNT: dict[str, tuple[Fault, str]] = {
    "wrong key": (Status(status=401), "authentication"),
    "no credit": (CreditTooLow(), "billing"),
}


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize(("fault", "reason"), ACCOUNT.values(), ids=ACCOUNT)
async def test_trouble_with_the_account_ejects_at_once_and_loudly(
    fault: Fault, reason: str, dialect: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with world(provider("east", faults=[fault], dialect=dialect), provider("west")) as here:
        answers = [await here.chat() for _ in range(5)]

        assert [answer.attempts for answer in answers] == [f"east:{reason}, west:ok"] + ["west:ok"] * 4
        status = await here.target_status("east")
        assert status["state"] == "ejected"
        assert status["reason"] == reason
        metrics = await here.metrics()
        assert metrics.sum("llmroute_target_state", target="east", state="ejected") == 1
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["level"] for line in lines if line.get("event") == "target-state"] == ["error"]


async def test_a_model_that_the_target_does_not_have_ejects_it() -> None:
    async with world(provider("east", models=("another",)), provider("west")) as here:
        answers = [await here.chat() for _ in range(3)]

        assert [answer.attempts for answer in answers] == ["east:model-not-found, west:ok", "west:ok", "west:ok"]
        assert (await here.target_status("east"))["reason"] == "model-not-found"


async def test_a_missing_path_of_the_providers_own_api_does_not_eject_its_target() -> None:
    """A bare 404 in an API's own words is the app's, not the model's."""
    body = (
        b'{"error":{"message":"Unknown request URL","type":"invalid_request_error","param":null,"code":"unknown_url"}}'
    )
    async with (
        scripted(says("404 Not Found", body)) as east,
        world(elsewhere("east", east.url), provider("west")) as here,
    ):
        answer = await here.chat()

        assert answer.status == 404
        assert (await here.target_status("east"))["state"] == "healthy"


async def test_trouble_with_every_account_is_told_as_the_targets_failure() -> None:
    async with world(provider("east", faults=[Status(status=401)])) as here:
        first, second = await here.chat(), await here.chat()

        for answer in (first, second):
            assert answer.status == 502
            assert answer.error == "rejected"
            assert answer.attempts == "east:authentication"
            assert "credential" in answer.message
        assert here.requests("east") == 2, "in panic a target that may have been mended is asked once more"


async def test_a_key_that_is_wrong_is_not_quoted_to_the_app() -> None:
    body = b'{"error":{"message":"Incorrect API key provided: key-of-own","code":"invalid_api_key"}}'
    async with (
        scripted(says("401 Unauthorized", body)) as east,
        world(elsewhere("east", east.url, **own_key())) as here,
    ):
        answer = await here.chat()
        assert b"key-of-own" not in answer.body


async def test_a_stateful_request_makes_one_attempt() -> None:
    async with world(provider("east", faults=[Status(status=500)]), provider("west")) as here:
        answer = await here.ask("/v1/responses", {"model": "chat", "input": "go on", "background": True})

        assert answer.status == 502
        assert answer.attempts == "east:server-error"
        assert here.requests("west") == 0


async def test_what_no_target_can_express_names_the_field() -> None:
    async with world(provider("claude", dialect="anthropic")) as here:
        answer = await here.chat(logprobs=True)

        assert answer.status == 400
        assert answer.error == "unsupported"
        assert answer.json["error"]["param"] == "logprobs"
        assert "logprobs" in answer.message
        assert here.requests("claude") == 0


async def test_what_one_target_cannot_express_goes_to_another() -> None:
    async with world(provider("claude", dialect="anthropic"), provider("east")) as here:
        assert (await here.chat(logprobs=True)).attempts == "east:ok"


async def test_a_target_may_answer_below_200_first() -> None:
    async def informs(call: Call) -> None:
        await call.send(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
        await call.answer(completion())

    async with scripted(informs) as east, world(elsewhere("east", east.url)) as here:
        assert (await here.chat()).attempts == "east:ok"


@pytest.mark.parametrize("status", ["401 Unauthorized", "402 Payment Required"])
async def test_a_bare_status_moves_on_but_takes_no_target_out(status: str) -> None:
    async with (
        scripted(says(status, b'{"error":{"message":"nope"}}')) as east,
        world(elsewhere("east", east.url), provider("west")) as here,
    ):
        assert (await here.chat()).attempts.endswith(", west:ok")
        told = await here.target_status("east")
        assert (told["state"], told["errors"]) == ("healthy", 1)

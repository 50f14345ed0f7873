"""Keys: where they are looked for, what happens while one is missing, and that none ever comes out."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tests.app import CHAT, MESSAGES, connected
from tests.sidecar.serving.scripted import Call, chunk, scripted
from tests.world import Provider, World, chat, elsewhere, message, own_key, provider, world

from llmroute import reload
from llmroute.simulator.spec import (
    BlackHole,
    CreditTooLow,
    Duration,
    ErrorEvent,
    Fault,
    Malformed,
    Refused,
    Reset,
    Status,
    Truncate,
    Ttft,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the files more often than people would want it."""
    monkeypatch.setattr(reload, "INTERVAL", 0.01)


def keyed(key: str, name: str = "east", **members: Any) -> Provider:
    """A provider that asks for a key."""
    return provider(name, api_key=key, target=own_key(), **members)


def put(directory: Path, key: str, name: str = "OWN_KEY") -> None:
    """Writes a key as kubelet mounts it."""
    (directory / "llmroute-credentials").mkdir(exist_ok=True)
    (directory / "llmroute-credentials" / name).write_text(key)


async def available(here: World, name: str, wanted: bool = True) -> None:
    """Waits until a target's key is there, or gone."""
    async with asyncio.timeout(5.0):
        while here.target(name).credential.available is not wanted:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def test_a_key_may_stand_in_the_file_in_a_directory_or_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(keyed("of-the-file"), keys={"OWN_KEY": "of-the-file"}) as here:
        assert (await here.chat()).status == 200
    put(tmp_path, "of-the-directory\n")
    monkeypatch.setenv("OWN_KEY", "of-the-environment")
    async with world(keyed("of-the-directory"), keys={}, settings={"secrets_dir": str(tmp_path)}) as here:
        assert (await here.chat()).status == 200
    async with world(keyed("of-the-environment"), keys={}) as here:
        assert (await here.chat()).status == 200


async def test_without_a_declared_credential_the_providers_usual_name_is_looked_for() -> None:
    async with world(provider("claude", dialect="anthropic", api_key="a"), keys={"ANTHROPIC_API_KEY": "a"}) as here:
        assert (await here.chat()).status == 200


async def test_a_target_without_its_key_is_not_chosen_and_the_status_says_where_it_was_looked_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {"secrets_dir": str(tmp_path)}
    async with world(keyed("k"), provider("west"), keys={}, settings=settings) as here:
        assert (await here.chat()).attempts == "west:ok"
        told = (await here.target_status("east"))["credential"]
        assert told.startswith("missing: ")
        assert f"file {tmp_path}/llmroute-credentials/OWN_KEY" in told
        assert "environment variable OWN_KEY" in told
        assert here.requests("east") == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["level"] for line in lines if line["event"] == "credential"] == ["error"]


async def test_without_any_key_the_app_is_told_so() -> None:
    async with world(keyed("k"), keys={}) as here:
        answer = await here.chat()
        assert (answer.status, answer.error) == (503, "no_candidate")
        assert "east: its key is missing: environment variable OWN_KEY" in answer.message


async def test_a_key_that_arrives_later_is_used(tmp_path: Path) -> None:
    async with world(keyed("k"), keys={}, settings={"secrets_dir": str(tmp_path)}) as here:
        assert (await here.chat()).status == 503
        put(tmp_path, "k")
        await available(here, "east")
        assert (await here.chat()).attempts == "east:ok"


def told_of_states(captured: str) -> list[tuple[str, str]]:
    """Changes of targets' states in the log."""
    lines = [json.loads(line) for line in captured.splitlines()]
    return [(line["before"], line["after"]) for line in lines if line["event"] == "target-state"]


async def test_a_rotated_key_is_read_again_and_ends_the_ejection_for_the_old_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "old")
    async with world(keyed("new"), provider("west"), keys={}, settings={"secrets_dir": str(tmp_path)}) as here:
        assert (await here.chat()).attempts == "east:authentication, west:ok"
        assert (await here.target_status("east"))["state"] == "ejected"
        put(tmp_path, "new")
        async with asyncio.timeout(5.0):
            while (await here.target_status("east"))["state"] == "ejected":  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)
        answers = [await here.chat(headers={"x-llmroute-target": "east"}) for _ in range(3)]
        assert {answer.attempts for answer in answers} == {"east:ok"}
    changes = told_of_states(capfd.readouterr().out)
    assert changes == [("healthy", "ejected"), ("ejected", "probation"), ("probation", "healthy")]


async def test_a_key_that_is_taken_away_takes_its_target_out(tmp_path: Path) -> None:
    put(tmp_path, "k")
    async with world(keyed("k"), provider("west"), keys={}, settings={"secrets_dir": str(tmp_path)}) as here:
        assert (await here.chat()).attempts == "east:ok"
        put(tmp_path, "")
        await available(here, "east", False)
        assert (await here.chat()).attempts == "west:ok"


async def test_a_key_that_vanishes_while_a_request_waits_for_its_slot_is_a_failed_attempt(tmp_path: Path) -> None:
    put(tmp_path, "k")
    slow = Ttft(median=Duration(0.1))
    east = provider("east", api_key="k", target={**own_key(), "maxConcurrency": 1}, ttft=slow)
    async with world(east, keys={}, settings={"secrets_dir": str(tmp_path)}) as here:
        first = asyncio.create_task(here.chat())
        await here.arrived("east")
        second = asyncio.create_task(here.chat())
        await here.queued("east", 1)
        put(tmp_path, "")
        await available(here, "east", False)

        assert (await first).status == 200
        answer = await second
        assert (answer.status, answer.error) == (503, "credential_missing")
        assert answer.attempts == "east:credential-missing"
        assert f"file {tmp_path}/llmroute-credentials/OWN_KEY" in answer.message


async def test_a_key_corrected_in_the_file_ends_the_ejection_for_the_wrong_one(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with world(keyed("right"), provider("west"), keys={"OWN_KEY": "wrong"}) as here:
        assert (await here.chat()).attempts == "east:authentication, west:ok"
        here.spec["models"] = ["chat", "other"]
        here.declare()
        await here.reloaded()
        assert (await here.target_status("east"))["state"] == "ejected", "the key is still the wrong one"

        here.resources[1]["stringData"]["OWN_KEY"] = "right"
        here.declare()
        await here.reloaded()
        assert (await here.target_status("east"))["state"] != "ejected"
        async with asyncio.timeout(5.0):
            while here.target("east").learned.health.refused:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)
        assert (await here.chat(headers={"x-llmroute-target": "east"})).status == 200
    assert told_of_states(capfd.readouterr().out) == [("healthy", "ejected"), ("ejected", "probation")]


@pytest.mark.parametrize("key", ["with\nnewline", "with\0nul", "schlüssel"])
async def test_a_key_that_cannot_be_a_header_counts_as_missing(key: str, tmp_path: Path) -> None:
    put(tmp_path, key)
    async with world(keyed("k"), provider("west"), keys={}, settings={"secrets_dir": str(tmp_path)}) as here:
        assert (await here.chat()).attempts == "west:ok"


CANARY = "sk-canary-7f3a9"
APPS = "app-canary-51c2e"

FAULTS: list[tuple[Fault, ...]] = [
    (),
    (Status(status=401),),
    (Status(status=403),),
    (Status(status=400),),
    (Status(status=500),),
    (Status(status=429),),
    (CreditTooLow(),),
    (ErrorEvent(after_tokens=2),),
    (Malformed(),),
    (Truncate(after_tokens=2),),
    (Reset(),),
    (BlackHole(),),
    (Refused(),),
]


async def quotes_the_key(call: Call) -> None:
    """Some providers say which key it was that they refused."""
    key = call.header("authorization") or ""
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {key}", "code": "invalid_api_key"}})
    await call.answer(body.encode(), "401 Unauthorized")


QUOTING = [
    "400 Bad Request",
    "402 Payment Required",
    "403 Forbidden",
    "404 Not Found",
    "422 Unprocessable",
    "429 Too Many Requests",
    "500 Oops",
]
KEY = 'sk-canary/7f3a9+"0b'
"""With characters that JSON may write in more than one way."""


def quotations() -> dict[str, bytes]:
    """A provider's ways of saying KEY."""
    usual = json.dumps({"error": {"message": f"Bearer {KEY} may not set temperature", "param": KEY}}).encode()
    cut = json.dumps({"error": {"message": "x" * 482 + KEY}}).encode()
    return {"as is": usual, "escaped": usual.replace(b"/", rb"\/"), "cut off": cut, "no JSON": f"<p>{KEY}".encode()}


@pytest.mark.parametrize("quotation", quotations().values(), ids=quotations())
@pytest.mark.parametrize("status", QUOTING)
async def test_a_key_that_a_provider_quotes_is_taken_out_whatever_the_status(
    status: str, quotation: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    async def quotes(call: Call) -> None:
        await call.answer(quotation, status)

    async with (
        scripted(quotes) as east,
        world(elsewhere("east", east.url, **own_key()), keys={"OWN_KEY": KEY}, failover={"maxAttempts": 1}) as here,
    ):
        for stream in (True, False):
            for answer in (await here.chat(stream=stream), await here.message(stream=stream)):
                assert answer.status >= 400
                assert b"canary" not in answer.body
    captured = capfd.readouterr()
    assert "canary" not in captured.out + captured.err


@pytest.mark.parametrize("text", [f"key {KEY} is broke", "x" * 482 + KEY], ids=["as is", "cut off"])
@pytest.mark.parametrize("committed", [False, True])
async def test_a_key_in_an_error_event_is_taken_out(
    committed: bool, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async def quotes(call: Call) -> None:
        await call.begin()
        await call.piece(chunk("x") if committed else chunk(role="assistant"))
        await asyncio.sleep(0.02)
        await call.piece(b"data: %b\n\n" % json.dumps({"error": {"message": text}}).encode())
        await call.end()

    async with (
        scripted(quotes) as east,
        world(elsewhere("east", east.url, **own_key()), keys={"OWN_KEY": KEY}, failover={"maxAttempts": 1}) as here,
    ):
        for answer in (await here.chat(stream=True), await here.message(stream=True)):
            assert b"error" in answer.body
            assert b"canary" not in answer.body
    captured = capfd.readouterr()
    assert "canary" not in captured.out + captured.err


async def test_a_short_key_spoils_no_words() -> None:
    said = b'{"error":{"message":"temperature: too high"}}'

    async def answers(call: Call) -> None:
        await call.answer(said, "400 Bad Request")

    async with (
        scripted(answers) as east,
        world(elsewhere("east", east.url, **own_key()), keys={"OWN_KEY": "t"}) as here,
    ):
        assert (await here.chat()).body == said


async def test_no_key_ever_comes_out(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """Every error path is driven with keys that must not be seen; then everything that came out is searched."""
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    app_keys = {"authorization": f"Bearer {APPS}", "x-api-key": APPS, "api-key": APPS, "cookie": f"session={APPS}"}
    failover = {"maxAttempts": 2, "timeouts": {"firstToken": "30ms", "total": "30ms", "betweenTokens": "30ms"}}
    async with (
        scripted(quotes_the_key) as tattler,
        world(
            keyed(CANARY),
            provider("claude", dialect="anthropic", api_key=CANARY),
            elsewhere("tattler", tattler.url, **own_key()),
            keys={"OWN_KEY": CANARY, "ANTHROPIC_API_KEY": CANARY},
            failover=failover,
            cache={},
        ) as here,
    ):
        for number, faults in enumerate(FAULTS):
            await here.told("east", *faults)
            await here.told("claude", *faults)
            for target in ("east", "claude", "tattler"):
                wish = {"x-llmroute-target": target}
                for path, body in ((CHAT, chat(f"{number}")), (MESSAGES, message(f"{number}"))):
                    for stream in (False, True):
                        answer = await here.ask(path, body | {"stream": stream}, app_keys | wish)
                        seen += [answer.body.decode(), str(answer.headers)]
        await here.told("east")
        others: list[tuple[str, Any, dict[str, str]]] = [
            ("/v1/files", None, {}),
            ("/v1/files/../x", None, {}),
            (CHAT, b"nonsense", {}),
            (CHAT, chat(model="unknown"), {}),
            (CHAT, chat(), {"x-llmroute-colour": "red"}),
            (CHAT, chat(), {"x-llmroute-dry-run": "true"}),
            ("/v1/models", None, {}),
        ]
        for path, wrong, wish in others:
            answer = await here.ask(path, wrong, app_keys | wish)
            seen += [answer.body.decode(), str(answer.headers)]
        here.resources[1]["stringData"]["OWN_KEY"] = f"{CANARY}-2"
        here.declare()
        await here.reloaded()
        await here.chat()
        here.file.write_text(here.file.read_text().replace("stringData:", "stringdata:"))
        await asyncio.sleep(0.05)
        seen += [json.dumps(await here.status()), (await here.metrics()).text]
        async with connected(here.sidecar.admin_port) as app:
            app.ask("/nowhere", headers=app_keys)
            seen.append((await app.answer()).body.decode())
        seen += [everything(here.sidecar.cell.runtime), repr(here.sidecar.__dict__)]
        for live in here.route.targets.values():
            seen += [repr(live.credential), str(live.credential), live.credential.looked_in]
    captured = capfd.readouterr()
    seen += [captured.out, captured.err, caplog.text]

    assert "authentication" in captured.out, "the paths were really taken"
    for secret in (CANARY, APPS):
        assert not [text for text in seen if secret in text]


def everything(thing: object, depth: int = 6) -> str:
    """The reprs of an object and of what it holds, as an error report or a debugger would show them."""
    if depth == 0:
        return ""
    held: list[object] = []
    if isinstance(thing, dict):
        held = [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        held = list(thing)
    names = {name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())} | set(
        getattr(thing, "__dict__", {})
    )
    shown = {name for name in names if not name.startswith("_")}
    held += [getattr(thing, name, None) for name in shown]
    own = "" if isinstance(thing, bytes | str | int | float) else repr(thing)
    return own + "".join(everything(each, depth - 1) for each in held)

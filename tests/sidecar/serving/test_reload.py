"""The files change while requests are served."""

import asyncio
import copy
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from tests.app import CHAT, Answer, connected
from tests.world import World, chat, provider, world, write

from llmroute import configuration, reload
from llmroute.load import Loaded, load
from llmroute.server import sidecar
from llmroute.settings import Settings
from llmroute.simulator.spec import Duration, Speed, Status, Ttft


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the files more often than people would want it."""
    monkeypatch.setattr(reload, "INTERVAL", 0.01)


async def rejected(here: World, times: int = 1) -> None:
    """Waits until a configuration was refused."""
    async with asyncio.timeout(5.0):
        while (await here.metrics()).sum("llmroute_config_reloads_total", result="rejected") < times:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_changed_file_takes_over_and_what_was_learned_stays() -> None:
    async with world(provider("east"), provider("west"), cache={}) as here:
        for _ in range(3):
            await here.chat()
        await here.told("west", Status(status=401))
        await here.chat(headers={"x-llmroute-target": "west"})
        before = await here.status()
        here.spec["models"] = ["chat", "new"]
        here.spec["targets"][0]["maxConcurrency"] = 3
        here.declare()
        await here.reloaded()

        after = await here.status()
        assert after["revision"] != before["revision"]
        assert after["routes"][0]["models"] == ["chat", "new"]
        assert (await here.chat(model="new")).status == 200
        for name in ("east", "west"):
            old, new = ({t["name"]: t for t in s["routes"][0]["targets"]}[name] for s in (before, after))
            assert (new["attempts"], new["state"], new["reason"]) == (old["attempts"], old["state"], old["reason"])
            assert new["latency"] == old["latency"]
        assert new["state"] == "ejected"
        assert (await here.chat()).headers["x-llmroute-cache"] == "hit", "the kept answers stay as well"
        assert here.target("east").slots.limit == 3
        metrics = await here.metrics()
        assert metrics.sum("llmroute_config_reloads_total", result="applied") == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_a_changed_prior_holds_for_a_target_of_whom_nothing_is_known(stream: bool) -> None:
    async with world(provider("east"), provider("west")) as here:
        here.spec["targets"][0]["prior"] = {"ttft": "3s", "tokensPerSecond": 1}
        here.spec["targets"][1]["prior"] = {"ttft": "10ms", "tokensPerSecond": 900}
        asked = await here.chat(stream=stream, headers={"x-llmroute-dry-run": "true"})
        assert asked.json["target"] == "east"
        here.declare()
        await here.reloaded()
        asked = await here.chat(stream=stream, headers={"x-llmroute-dry-run": "true"})
        assert asked.json["target"] == "west"


@pytest.mark.parametrize("change", [{"name": "renamed"}, {"model": "another"}])
async def test_another_target_begins_anew(change: dict[str, str]) -> None:
    async with world(provider("east")) as here:
        await here.chat()
        here.spec["targets"][0] |= change
        here.declare()
        await here.reloaded()

        (target,) = (await here.status())["routes"][0]["targets"]
        assert (target["attempts"], target["latency"]) == (0, {})


async def test_a_broken_file_changes_nothing_and_says_where_it_is_broken(capfd: pytest.CaptureFixture[str]) -> None:
    async with world(provider("east")) as here:
        revision = (await here.status())["revision"]
        good = here.file.read_text()
        line = next(number for number, text in enumerate(good.splitlines(), 1) if "provider: " in text)
        here.file.write_text(good.replace("provider: openai-compatible", "provider: open-ai"))
        await rejected(here)

        assert (await here.chat()).status == 200
        assert (await here.status())["revision"] == revision
        here.file.write_text(good)
        await asyncio.sleep(0.03)
        assert (await here.metrics()).sum("llmroute_config_reloads_total", result="rejected") == 1
    lines = [json.loads(text) for text in capfd.readouterr().out.splitlines()]
    (told,) = [line["message"] for line in lines if line["event"] == "reload" and line["level"] == "error"]
    assert f"route.yaml:{line}: spec.targets[0].provider" in told


@pytest.mark.parametrize("content", ["", "\0", "a: [", "kind: LLMRoute", "- 1", None, "\ud800"])
async def test_whatever_the_file_becomes_the_last_good_configuration_serves(content: str | None) -> None:
    async with world(provider("east")) as here:
        if content is None:
            here.file.unlink()
        else:
            here.file.write_bytes(content.encode("utf-8", "surrogatepass"))
        await rejected(here)
        assert (await here.chat()).status == 200
        here.spec["models"] = ["again"]
        here.declare()
        await here.reloaded()
        assert (await here.chat(model="again")).status == 200


async def test_an_address_that_is_none_is_refused_and_the_watching_goes_on() -> None:
    async with world(provider("east")) as here:
        good = here.file.read_text()
        here.file.write_text(good.replace("http://127.0.0.1", "http://[::::]"))
        await rejected(here)
        here.file.write_text(good.replace("http://127.0.0.1", "http://[::::1::]"))
        await rejected(here, 2)
        assert (await here.chat()).status == 200


async def test_a_refused_configuration_does_not_move_any_bound_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first route is fine by itself, and shares what was learned with the one that serves."""

    def with_an_address_that_is_none(files: Sequence[Path]) -> Loaded:
        loaded = load(files)
        first, second = loaded.routes
        targets = [msgspec.structs.replace(target, url="http://[::::]") for target in second.spec.targets]
        wrong = msgspec.structs.replace(second, spec=msgspec.structs.replace(second.spec, targets=targets))
        return msgspec.structs.replace(loaded, routes=(first, wrong))

    async with world(provider("east", target={"maxConcurrency": 7})) as here:
        monkeypatch.setattr(configuration, "load", with_an_address_that_is_none)
        here.spec["targets"][0]["maxConcurrency"] = 1
        second = copy.deepcopy(here.resources[0])
        second["metadata"]["name"] = "second"
        second["spec"]["models"] = ["another"]
        here.resources.append(second)
        here.declare()
        await rejected(here)
        assert here.target("east").slots.limit == 7


async def test_a_defect_in_looking_at_the_files_does_not_stop_the_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(provider("east")) as here:
        with monkeypatch.context() as broken:
            broken.setattr(configuration, "load", lambda files: 1 / 0)
            here.declare()
            await asyncio.sleep(0.05)
        here.spec["models"] = ["again"]
        here.declare()
        await here.reloaded()
        assert (await here.chat(model="again")).status == 200


async def test_requests_in_flight_end_as_they_began() -> None:
    async with world(provider("east", tokens_per_second=Speed(median=200))) as here, here.app() as app:
        app.ask(CHAT, chat(stream=True))
        await app.head()
        await app.chunk()
        here.spec["targets"][0] |= {"name": "other", "url": "http://127.0.0.1:1/v1"}
        here.declare()
        await here.reloaded()
        body = b""
        while piece := await app.chunk():
            body += piece
        assert body.endswith(b"data: [DONE]\n\n")


async def test_no_request_is_lost_while_the_file_changes_again_and_again() -> None:
    async with world(provider("east", ttft=Ttft(median=Duration(0.002))), provider("west")) as here:
        answers: list[Answer] = []
        changing = True

        async def ask() -> None:
            while changing:
                answers.append(await here.chat(stream=len(answers) % 2 == 0))

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        for number in range(8):
            here.spec["models"] = ["chat", f"m{number}"]
            here.spec["targets"].reverse()
            here.declare()
            await here.reloaded()
        changing = False
        await asyncio.gather(*asking)

        assert {answer.status for answer in answers} == {200}
        assert all(answer.whole for answer in answers)


async def test_a_lowered_bound_holds_and_a_raised_one_lets_those_who_wait_in() -> None:
    east = provider("east", ttft=Ttft(median=Duration(0.3)), target={"maxConcurrency": 1})
    async with world(east) as here:
        asked = [asyncio.create_task(here.chat()) for _ in range(4)]
        await here.arrived("east")
        here.spec["targets"][0]["maxConcurrency"] = 4
        here.declare()
        await here.reloaded()
        await here.arrived("east", 4)
        assert (await here.target_status("east"))["inFlight"] == 4
        await asyncio.gather(*asked)


async def test_several_files_are_one_configuration(tmp_path: Path) -> None:
    async with world(provider("east", api_key="the-key")) as here:
        first, second, secrets = tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "secrets.yaml"
        route = here.resources[0]
        route["spec"]["targets"][0]["credential"] = {"secretRef": {"name": "keys", "key": "EAST"}}
        other = copy.deepcopy(route)
        other["metadata"]["name"] = "other"
        write(first, [route])
        write(second, [other])
        write(secrets, [secret("keys", EAST="the-key")])
        settings = Settings(listen_port=0, admin_port=0)
        async with (
            sidecar(settings, [first, second, secrets], Random(1)) as running,
            connected(running.app_port) as app,
        ):
            for model in ("chat", "other"):
                app.ask(CHAT, chat(model=model))
                assert (await app.answer()).status == 200

            write(secrets, [secret("keys", EAST="another-key")])
            before = running.cell.runtime
            async with asyncio.timeout(5.0):
                while running.cell.runtime is before:  # noqa: ASYNC110 - the sidecar tells nobody
                    await asyncio.sleep(0.005)
            app.ask(CHAT, chat())
            assert (await app.answer()).headers["x-llmroute-attempts"] == "east:authentication"


def secret(name: str, **values: str) -> dict[str, Any]:
    """A Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


async def test_a_file_that_is_replaced_by_a_link_swap_is_seen(tmp_path: Path) -> None:
    """As kubelet does it: the file is a link, and what it points to is exchanged."""
    async with world(provider("east")) as here:
        old, new, link = tmp_path / "1.yaml", tmp_path / "2.yaml", tmp_path / "route.yaml"
        write(old, here.resources)
        here.spec["models"] = ["new"]
        write(new, here.resources)
        link.symlink_to(old)
        async with sidecar(Settings(listen_port=0, admin_port=0), [link], Random(1)) as running:
            swap = tmp_path / "swap"
            swap.symlink_to(new)
            swap.rename(link)
            async with asyncio.timeout(5.0):
                while "new" not in running.cell.runtime.models:  # noqa: ASYNC110 - the sidecar tells nobody
                    await asyncio.sleep(0.005)

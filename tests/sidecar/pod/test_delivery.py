"""Routes as they come to a pod: late, changed, broken, gone, and again after a restart of the container."""

import asyncio
import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.app import MESSAGES
from tests.sidecar.pod.world import mounted, pod, route
from tests.world import Metrics, message, provider

from llmroute import reload
from llmroute.pod import PodMounts, rendered

TARGET = {"name": "a", "provider": "openai", "model": "m"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the mounts more often than a sidecar does."""
    monkeypatch.setattr(reload, "INTERVAL", 0.01)


async def test_a_pod_that_is_older_than_its_routes_is_ready_and_says_why_it_answers_nothing() -> None:
    async with mounted(provider("east")) as here, here.started():
        assert (await here.admin("/readyz")).status == 200
        answer = await here.chat()
        assert answer.status == 404
        assert answer.json["error"]["message"].startswith("no route of the namespace shop serves the model 'chat'")
        answer = await here.ask(MESSAGES, message())
        assert answer.status == 404
        assert answer.json["error"]["type"] == "not_found_error"
        status = await here.status()
        assert (status["routes"], status["rejected"]) == ([], None)

        here.render("aaaaaaaaaaaa")
        await here.runs("aaaaaaaaaaaa")
        assert (await here.chat()).status == 200


async def test_status_tells_the_pod_the_files_revision_and_each_routes_uid_and_generation() -> None:
    async with pod(provider("east")) as here:
        status = await here.status()
        assert status["revision"] == "000000000001"
        assert status["pod"] == {"name": "shop-1", "namespace": "shop", "region": None}
        (told,) = status["routes"]
        assert (told["name"], told["namespace"]) == ("chat", "shop")
        assert (told["uid"], told["generation"]) == ("uid-of-chat", 1)


async def test_a_changed_config_map_takes_over_at_once() -> None:
    async with pod(provider("east")) as here:
        here.spec["models"] = ["new"]
        here.routes[0]["metadata"]["generation"] = 2
        here.render("000000000002")
        status = await here.runs("000000000002")
        assert status["routes"][0]["generation"] == 2
        assert (await here.chat("new")).status == 200
        assert (await here.chat("chat")).status == 404
        metrics = Metrics((await here.admin("/metrics")).body.decode())
        assert metrics.sum("llmroute_config_revision") == 0x2
        assert metrics.sum("llmroute_config_reloads_total", result="applied") == 2


@pytest.mark.parametrize("zipped", [False, True])
async def test_gzip_is_told_by_its_magic_bytes(zipped: bool) -> None:
    async with mounted(provider("east")) as here:
        here.render("aaaaaaaaaaaa", zipped=zipped)
        async with here.started():
            assert (await here.status())["revision"] == "aaaaaaaaaaaa"


async def test_a_config_map_that_is_deleted_takes_nothing_away_but_an_empty_list_does() -> None:
    async with pod(provider("east")) as here:
        here.config.write(routes__json=None)
        await asyncio.sleep(0.05)
        assert (await here.chat()).status == 200
        assert (await here.status())["rejected"] is None

        here.routes = []
        here.render("000000000002")
        await here.runs("000000000002")
        assert (await here.chat()).status == 404


GOOD = {"format": 1, "revision": "bbbbbbbbbbbb", "routes": []}
BROKEN: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is not whole"),
    "half of it": (json.dumps(GOOD).encode()[:20], "is not whole"),
    "half of the zipped": (gzip.compress(json.dumps(GOOD).encode())[:30], "is not whole"),
    "not what was zipped": (b"\x1f\x8b" + b"\0" * 20, "is not whole"),
    "another form": (b"[]", "expected an object"),
    "no revision": (b'{"format": 1, "routes": []}', "revision"),
    "no format": (b'{"revision": "b", "routes": []}', "format: expected a whole number"),
    "an odd format": (b'{"revision": "b", "format": true, "routes": []}', "format: expected a whole number"),
    "no list": (b'{"revision": "b", "format": 1, "routes": {}}', "routes: expected a list"),
    "too large": (b" " * (rendered.MAX_BYTES + 1), "larger than 2 MiB"),
    "too large when unzipped": (gzip.compress(b" " * (rendered.MAX_TEXT + 1)), "larger than 16 MiB when unzipped"),
    "too deep": (b'{"routes":' + b"[" * 100_000, "is not whole"),
    "a newer format": (json.dumps(GOOD | {"format": 2}).encode(), "format 2 is newer than 1"),
}


@pytest.mark.parametrize(("content", "told"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_file_changes_nothing_and_is_told(content: bytes, told: str) -> None:
    async with pod(provider("east")) as here:
        here.config.write(routes__json=content)
        refused = await here.refuses()
        assert refused["error"].startswith("routes.json: ")
        assert told in refused["error"]
        assert (await here.chat()).status == 200
        assert (await here.status())["revision"] == "000000000001"
        metrics = Metrics((await here.admin("/metrics")).body.decode())
        assert metrics.sum("llmroute_config_reloads_total", result="rejected") == 1

        here.render("000000000003")
        assert (await here.runs("000000000003"))["rejected"] is None


async def test_a_newer_format_names_its_revision() -> None:
    async with pod(provider("east")) as here:
        here.config.write(routes__json=json.dumps(GOOD | {"format": 2}))
        assert (await here.refuses())["revision"] == "bbbbbbbbbbbb"


async def test_what_a_newer_operator_adds_is_ignored_at_every_level() -> None:
    async with mounted(provider("east", target={"newer": 1}), newer={"a": []}, failover={"newer": True}) as here:
        here.routes[0] |= {"newer": 1, "status": {"conditions": []}}
        here.routes[0]["metadata"] |= {"newer": "x", "labels": {"a": "b"}}
        here.render("aaaaaaaaaaaa", newer=[1])
        async with here.started():
            assert (await here.chat()).status == 200
            assert (await here.status())["rejected"] is None


UNREADABLE: dict[str, tuple[dict[str, Any], str]] = {
    "a provider that is not known here": ({"targets": [TARGET | {"provider": "newest"}]}, "Invalid enum value"),
    "no targets": ({"targets": []}, "targets"),
    "a broken rule": ({"targets": [TARGET], "fallbackTargets": ["b"]}, "fallbackTargets must name existing targets"),
    "a service": ({"targets": [TARGET | {"service": {"name": "s", "port": 1}}]}, "service has not been made a url"),
    "a line break": ({"targets": [TARGET | {"name": "a\n"}]}, "control characters"),
    "no money": ({"targets": [TARGET | {"cost": {"inputPerMillion": "sNaN"}}]}, "money"),
    "no duration": ({"targets": [TARGET], "cache": {"ttl": "soon"}}, "expected a duration"),
}


@pytest.mark.parametrize(("spec", "told"), UNREADABLE.values(), ids=UNREADABLE)
async def test_a_route_that_cannot_be_read_stays_as_it_was_and_holds_no_other_up(
    spec: dict[str, Any], told: str
) -> None:
    async with pod(provider("east")) as here:
        good = here.routes[0]
        here.routes = [good | {"spec": spec, "metadata": good["metadata"] | {"generation": 2}}]
        here.routes.append(route("other", good["spec"]["targets"], generation=5))
        here.render("000000000002")
        status = await here.runs("000000000002")
        assert {one["name"]: one["generation"] for one in status["routes"]} == {"chat": 1, "other": 5}
        assert status["rejected"]["revision"] == "000000000002"
        assert status["rejected"]["error"].startswith("LLMRoute shop/chat: ")
        assert told in status["rejected"]["error"]
        assert (await here.chat("chat")).status == 200
        assert (await here.chat("other")).status == 200


async def test_a_route_that_never_could_be_read_is_left_out() -> None:
    async with mounted(provider("east")) as here:
        here.routes += [{"spec": 1}, "?", route("other", [TARGET | {"provider": "newest"}])]  # type: ignore[list-item]
        here.routes.append(here.routes[0])
        here.render("aaaaaaaaaaaa")
        async with here.started():
            status = await here.status()
            assert [one["name"] for one in status["routes"]] == ["chat"]
            told = status["rejected"]["error"].splitlines()
            assert [line.split(":")[0] for line in told] == [
                "LLMRoute routes[1]", "LLMRoute routes[2]", "LLMRoute shop/other", "LLMRoute shop/chat",
            ]  # fmt: skip
            assert (await here.chat()).status == 200


class TestARestartOfTheContainer:
    @pytest.mark.parametrize("content", [None, b"", b"{"])
    async def test_comes_back_with_what_served_when_the_mount_is_empty_or_broken(self, content: bytes | None) -> None:
        async with mounted(provider("east")) as here:
            here.render("aaaaaaaaaaaa")
            async with here.started():
                assert (await here.chat()).status == 200
            here.config.write(routes__json=content)
            async with here.started():
                assert (await here.status())["revision"] == "aaaaaaaaaaaa"
                assert (await here.chat()).status == 200

    async def test_comes_back_with_what_is_mounted_when_that_is_newer(self) -> None:
        async with mounted(provider("east")) as here:
            here.render("aaaaaaaaaaaa")
            async with here.started():
                pass
            here.render("bbbbbbbbbbbb")
            async with here.started():
                assert (await here.status())["revision"] == "bbbbbbbbbbbb"

    async def test_keeps_a_route_that_cannot_be_read_as_it_was(self) -> None:
        async with mounted(provider("east")) as here:
            here.render("aaaaaaaaaaaa")
            async with here.started():
                pass
            here.spec["targets"][0]["provider"] = "newest"
            here.routes[0]["metadata"]["generation"] = 2
            for _ in range(2):
                here.render("bbbbbbbbbbbb")
                async with here.started():
                    status = await here.status()
                    assert (status["revision"], status["routes"][0]["generation"]) == ("bbbbbbbbbbbb", 1)
                    assert (await here.chat()).status == 200

    async def test_an_empty_list_is_remembered_too(self) -> None:
        async with mounted(provider("east")) as here:
            here.render("aaaaaaaaaaaa")
            async with here.started():
                here.routes = []
                here.render("bbbbbbbbbbbb")
                await here.runs("bbbbbbbbbbbb")
            here.config.write(routes__json=None)
            async with here.started():
                assert (await here.chat()).status == 404

    @pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"[1]"])
    async def test_survives_a_broken_memory(self, content: bytes) -> None:
        async with mounted(provider("east")) as here:
            here.state.write_bytes(content)
            async with here.started():
                assert (await here.chat()).status == 404
                here.render("aaaaaaaaaaaa")
                await here.runs("aaaaaaaaaaaa")
            assert rendered.read(here.state.read_bytes()).revision == "aaaaaaaaaaaa"

    async def test_serves_although_nothing_can_be_remembered(self) -> None:
        async with mounted(provider("east")) as here:
            here.state.parent.rmdir()
            here.render("aaaaaaaaaaaa")
            async with here.started():
                assert (await here.chat()).status == 200

    async def test_what_is_remembered_is_bounded_as_the_mount_is(self) -> None:
        async with mounted(provider("east")) as here:
            here.routes += [
                route(f"r{number}", [here.spec["targets"][0] | {"model": "m" * 256}], models=[f"m-{number}"])
                for number in range(1000)
            ]
            here.render("aaaaaaaaaaaa", zipped=True)
            async with here.started():
                await here.runs("aaaaaaaaaaaa")
            kept = here.state.read_bytes()
            assert kept.startswith(rendered.GZIP)
            assert len(rendered.read(kept).routes) == 1001
            assert [entry.name for entry in here.state.parent.iterdir()] == ["routes.json"]


async def test_no_request_is_lost_while_the_mount_changes_again_and_again() -> None:
    async with pod(provider("east"), provider("west")) as here:
        statuses: list[int] = []
        changing = True

        async def ask() -> None:
            while changing:
                statuses.append((await here.chat()).status)

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        contents = Random(3).sample(sorted(BROKEN), 5)
        for number, name in enumerate(contents):
            here.config.write(routes__json=BROKEN[name][0])
            await here.refuses()
            here.spec["targets"].reverse()
            here.render(f"00000000001{number}")
            await here.runs(f"00000000001{number}")
        changing = False
        await asyncio.gather(*asking)
        assert set(statuses) == {200}


def test_the_mounted_file_may_be_no_file_at_all(tmp_path: Path) -> None:
    (tmp_path / "config" / "routes.json").mkdir(parents=True)
    found = PodMounts(tmp_path, "shop").read()
    assert found.routes == ()
    assert found.refused is not None
    assert found.refused.error == "routes.json: cannot be read: Is a directory"

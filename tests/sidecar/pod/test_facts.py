"""What the pod says of itself decides which routes it gets, and what is told of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.sidecar.pod.world import InPod, Volume, mounted, pod, route
from tests.world import provider

from llmroute import reload
from llmroute.pod.downward import pairs


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the mounts more often than a sidecar does."""
    monkeypatch.setattr(reload, "INTERVAL", 0.01)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('app="shop"', "shop"),
        ('app=""', ""),
        (r'app="a \"quoted\" \\ back"', 'a "quoted" \\ back'),
        (r'app="a\nb\tc\r\a\b\f\v"', "a\nb\tc\r\a\b\f\v"),
        (r'app="\x00\x7f"', "\x00\x7f"),
        (r'app="\u200b\U0001f600 é"', "\u200b\U0001f600 é"),
        (r'app="\ud800"', "\N{REPLACEMENT CHARACTER}"),
        (r'app="\Uffffffff"', "\N{REPLACEMENT CHARACTER}"),
        ('app="a=b"', "a=b"),
    ],
)
def test_values_are_quoted_as_go_quotes(line: str, value: str) -> None:
    assert pairs(f'a/b="1"\n{line}\nz="2"') == {"a/b": "1", "app": value, "z": "2"}


@pytest.mark.parametrize("line", ["", "app", "app=", 'app="', 'app="a', 'app="a"b"', "app=a", '="a"', r'app="a\"'])
def test_a_line_that_is_no_pair_is_left_out(line: str) -> None:
    assert pairs(f'a="1"\n{line}\n') == {"a": "1"}


def only_for(here: InPod, **workloads: Any) -> None:
    here.routes.append(route("own", here.spec["targets"], workloads=workloads))


async def test_a_route_for_other_workloads_is_none_for_this_pod() -> None:
    async with mounted(provider("east")) as here:
        only_for(here, matchLabels={"app": "till"})
        here.render()
        async with here.started():
            assert [one["name"] for one in (await here.status())["routes"]] == ["chat"]
            answer = await here.chat("own")
            assert answer.status == 404
            assert "known models: chat" in answer.json["error"]["message"]


async def test_a_route_for_this_workload_is_served() -> None:
    async with mounted(provider("east")) as here:
        only_for(here, matchLabels={"app": "shop"}, matchExpressions=[{"key": "canary", "operator": "DoesNotExist"}])
        here.render()
        async with here.started():
            assert (await here.chat("own")).status == 200


async def test_a_pod_that_is_labelled_anew_gets_other_routes() -> None:
    async with mounted(provider("east")) as here:
        only_for(here, matchLabels={"app": "till"})
        here.render()
        async with here.started():
            here.labels["app"] = "till"
            here.describe()
            await until_served(here, "own")


async def until_served(here: InPod, model: str) -> None:
    for _ in range(500):
        if (await here.chat(model)).status == 200:
            return
    raise AssertionError(f"{model} never came")


async def test_a_label_that_changes_while_the_routes_are_broken_counts_as_well() -> None:
    async with mounted(provider("east")) as here:
        only_for(here, matchLabels={"app": "till"})
        here.render()
        async with here.started():
            here.config.write(routes__json="{")
            await here.refuses()
            here.labels["app"] = "till"
            here.describe()
            await until_served(here, "own")


async def test_the_region_comes_later_by_an_annotation_and_nothing_is_built_anew_for_it() -> None:
    async with pod(provider("east")) as here:
        before = here.sidecar.cell.runtime
        here.annotations = {"llmroute.dev/region": "eu-west", "llmroute.dev/revision": "000000000001", "x": 'a\n"b"'}
        here.describe()
        for _ in range(500):
            if (await here.status())["pod"]["region"] == "eu-west":
                break
        assert (await here.status())["pod"]["region"] == "eu-west"
        assert here.sidecar.cell.runtime is before


async def test_facts_that_vanish_are_still_known() -> None:
    async with mounted(provider("east")) as here:
        here.annotations = {"llmroute.dev/region": "eu-west"}
        only_for(here, matchLabels={"app": "shop"})
        here.describe()
        here.render()
        async with here.started():
            here.config.write(labels=None, annotations=None)
            here.render("000000000002")
            status = await here.runs("000000000002")
            assert status["pod"]["region"] == "eu-west"
            assert [one["name"] for one in status["routes"]] == ["chat", "own"]


def test_a_volume_of_these_tests_is_swapped_as_kubelet_does_it(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "v")
    volume.write(a="1", b="2")
    file = tmp_path / "v" / "a"
    first = file.stat().st_ino
    volume.write(a="1")
    assert file.is_symlink()
    assert file.stat().st_ino != first
    volume.write(b=None)
    assert [entry.name for entry in sorted((tmp_path / "v").iterdir()) if not entry.name.startswith("..")] == ["a"]
    assert json.loads(file.read_text()) == 1

"""Whatever is mounted: reading it never fails, what was good stays, and what is kept can be read again."""

import copy
import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llmroute.pod import PodMounts, rendered
from llmroute.pod.downward import pairs

DOCUMENT: dict[str, Any] = {
    "apiVersion": "llmroute.dev/v1alpha1",
    "kind": "LLMRoute",
    "metadata": {"name": "chat", "namespace": "shop", "uid": "u", "generation": 1},
    "spec": {
        "models": ["chat"],
        "targets": [
            {
                "name": "a", "provider": "openai", "model": "m", "url": "https://h/v1", "endpoints": "each",
                "credential": {"secretRef": {"name": "k", "key": "K"}}, "cost": {"inputPerMillion": "1.5"},
                "prior": {"ttft": "1s"}, "labels": {"x": "y"}, "capabilities": ["tools"],
            },
            {"name": "b", "provider": "anthropic", "model": "m", "tenants": ["gold"]},
        ],
        "workloads": {"matchLabels": {"app": "shop"}, "matchExpressions": [{"key": "k", "operator": "DoesNotExist"}]},
        "constraints": {"maxTTFT": "2s", "regions": ["eu"]},
        "fallbackTargets": ["b"],
        "cache": {"ttl": "1m", "maxBytes": "1Mi"},
        "autoscaling": {"targetRef": {"name": "shop"}, "maxReplicas": 3},
    },
}  # fmt: skip
WHOLE: dict[str, Any] = {"format": 1, "revision": "aaaaaaaaaaaa", "routes": [DOCUMENT]}
SURROGATE = json.loads('"\\ud800"')
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just(SURROGATE),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(child, (*path, key))


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A whole file with some of its values exchanged or taken away."""
    holder: dict[str, Any] = {"": copy.deepcopy(WHOLE)}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(holder))[1:] or [("",)]))
        parent: Any = holder
        for part in path[:-1]:
            parent = parent[part]
        if draw(st.booleans()) or path == ("",):
            parent[path[-1]] = draw(JSON)
        else:
            del parent[path[-1]]
        holder.setdefault("", None)
    return json.dumps(holder[""]).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A whole file, zipped or not, with bytes changed or cut off."""
    whole = json.dumps(WHOLE).encode()
    content = bytearray(gzip.compress(whole) if draw(st.booleans()) else whole)
    for _ in range(draw(st.integers(0, 3))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)))])


CONTENTS = st.none() | st.binary(max_size=200) | changed() | damaged() | st.binary().map(lambda b: rendered.GZIP + b)


@settings(deadline=None, max_examples=150)
@given(changed() | damaged() | st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_file_is_read_or_refused_and_what_is_kept_reads_the_same(content: bytes) -> None:
    try:
        read = rendered.read(content)
    except rendered.Unreadable as refused:
        assert str(refused).startswith("routes.json: ")
        return
    again = rendered.read(rendered.written(read))
    assert (again.revision, again.routes, again.unreadable) == (read.revision, read.routes, {})


@settings(deadline=None)
@given(st.text() | st.binary().map(lambda content: content.decode("utf-8", "replace")))
def test_whatever_the_downward_api_writes(text: str) -> None:
    assert all(isinstance(value, str) for value in pairs(text).values())


class Mounts(RuleBasedStateMachine):
    """A mount that becomes this and that, while containers come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(mkdtemp())
        (self.directory / "config").mkdir()
        (self.directory / "state").mkdir()
        (self.directory / "config" / "labels").write_text('app="shop"')
        self.mounts = PodMounts(self.directory, "shop")
        self.good: list[str] = []
        """Models of what served last."""

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    @rule(content=CONTENTS)
    def the_mount_becomes(self, content: bytes | None) -> None:
        file = self.directory / "config" / "routes.json"
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        try:
            routes = rendered.read(content or b"").routes
            unreadable = rendered.read(content or b"").unreadable
        except rendered.Unreadable:
            routes, unreadable = {}, {"": ""}
        found = self.mounts.read()
        self.mounts.in_force()
        if not unreadable:
            assert found.refused is None
            means_us = (route.declared.spec.workloads.selects({"app": "shop"}) for route in routes.values())
            assert len(found.routes) == sum(means_us)
        elif content is not None:
            assert found.refused is not None
        if not routes and unreadable == {"": ""}:
            assert [route.key for route in found.routes] == self.good
        self.good = [route.key for route in found.routes]

    @rule()
    def the_container_restarts(self) -> None:
        self.mounts = PodMounts(self.directory, "shop")

    @invariant()
    def what_was_good_is_still_known(self) -> None:
        self.mounts._labels = {"app": "shop"}
        assert [route.key for route in self.mounts.last_good().routes] == self.good


Mounts.TestCase.settings = settings(deadline=None, max_examples=30, stateful_step_count=8)
TestMounts = Mounts.TestCase

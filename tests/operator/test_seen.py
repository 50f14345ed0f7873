"""Which events mean work, and what a list shows that no watch told."""

from typing import Any

import pytest

from llmroute_operator import names
from llmroute_operator.seen import DELETED, Seen


def route(name: str = "chat", generation: int = 1, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "generation": generation}, **more}


def pod(**status: Any) -> dict[str, Any]:
    metadata = {"name": "app", "namespace": "shop", "uid": "1", "labels": {"app": "shop"}}
    return {"metadata": metadata, "spec": {"nodeName": "n"}, "status": {"phase": "Running", **status}}


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_what_is_new_means_work_and_its_repetition_does_not(seen: Seen) -> None:
    assert seen.event("llmroutes", None, route()) == "shop"
    assert seen.event("llmroutes", "MODIFIED", route()) is None
    assert seen.event("llmroutes", "MODIFIED", route(generation=2)) == "shop"
    assert seen.event("llmroutes", DELETED, route(generation=2)) == "shop"
    assert seen.event("llmroutes", "ADDED", route(generation=2)) == "shop"


def test_our_own_status_is_an_echo(seen: Seen) -> None:
    seen.event("llmroutes", None, route())
    assert seen.event("llmroutes", "MODIFIED", route(status={"conditions": []})) is None


def test_our_own_configuration_is_an_echo_and_an_edit_is_not(seen: Seen) -> None:
    metadata = {"name": names.CONFIG, "namespace": "shop", "labels": {names.MANAGED_BY: "llmroute"}}
    seen.wrote("configmaps", {"metadata": metadata, "data": {"routes.json": "a"}})
    assert seen.event("configmaps", "MODIFIED", {"metadata": metadata, "data": {"routes.json": "a"}}) is None
    assert seen.event("configmaps", "MODIFIED", {"metadata": metadata, "data": {"routes.json": "b"}}) == "shop"
    bare = {"name": names.CONFIG, "namespace": "shop"}
    assert seen.event("configmaps", "MODIFIED", {"metadata": bare, "data": {"routes.json": "b"}}) == "shop"


def test_a_nudge_is_an_echo_and_readiness_is_not(seen: Seen) -> None:
    seen.event("pods", None, pod())
    nudged = pod()
    nudged["metadata"]["annotations"] = {names.REVISION: "abc"}
    assert seen.event("pods", "MODIFIED", nudged) is None
    ready = pod(conditions=[{"type": "Ready", "status": "True"}])
    assert seen.event("pods", "MODIFIED", ready) == "shop"


def test_a_namespace_means_work_when_it_asks_for_sidecars_or_goes(seen: Seen) -> None:
    plain: dict[str, Any] = {"metadata": {"name": "shop"}}
    asks = {"metadata": {"name": "shop", "labels": {names.INJECTION: "enabled"}}}
    going = {"metadata": {**asks["metadata"], "deletionTimestamp": "now"}}
    assert seen.event("namespaces", None, plain) == "shop"
    assert seen.event("namespaces", "MODIFIED", {"metadata": {"name": "shop", "labels": {"a": "b"}}}) is None
    assert seen.event("namespaces", "MODIFIED", asks) == "shop"
    assert seen.event("namespaces", "MODIFIED", going) == "shop"


def test_a_list_that_shows_what_was_told_means_nothing(seen: Seen) -> None:
    seen.event("llmroutes", None, route())
    assert seen.listed([route()], 100.0) == set() and seen.deaf(200.0) == 0.0


def test_a_change_that_no_watch_tells_means_work_and_after_a_while_a_dead_watch(seen: Seen) -> None:
    seen.event("llmroutes", None, route())
    assert seen.listed([route(generation=2), route("new")], 100.0) == {"shop"}
    assert seen.deaf(150.0) == 50.0
    assert seen.listed([route(generation=2), route("new")], 160.0) == {"shop"}
    assert seen.deaf(170.0) == 70.0, "the time runs from when it was first missed"
    seen.event("llmroutes", "MODIFIED", route(generation=2))
    seen.event("llmroutes", "ADDED", route("new"))
    assert seen.deaf(300.0) == 0.0, "the event was only late"


def test_a_deletion_that_no_watch_tells_means_work_once(seen: Seen) -> None:
    seen.event("llmroutes", None, route())
    assert seen.listed([], 100.0) == {"shop"}
    assert seen.listed([], 160.0) == set() and seen.deaf(999.0) == 0.0

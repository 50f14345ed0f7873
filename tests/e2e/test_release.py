"""The release is upgraded, rolled back and uninstalled under load, and no app notices."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.e2e.conftest import NAMESPACE, install
from tests.e2e.story import IMAGES, Story

IDLE = {"containers": [{"name": "main", "image": IMAGES["e2e-app"], "command": ["sleep", "600"]}]}
"""A pod that waits: an app that was never given a sidecar has no key either, and would not start."""


def test_an_upgrade_and_a_rollback_lose_no_request(story: Story) -> None:
    with asked_all_the_time(story):
        install(story.cluster, "operator.logLevel=debug", "injector.logLevel=debug", "injector.timeoutSeconds=7")
        assert webhook(story)["timeoutSeconds"] == 7
        new_pods_are_served(story, "upgraded")
        routes_are_delivered(story, "after-upgrade")

        story.cluster.helm("rollback", "llmroute", "-n", NAMESPACE, "--wait", "--timeout", "120s")
        assert webhook(story)["timeoutSeconds"] == 5
        new_pods_are_served(story, "rolled-back")
        routes_are_delivered(story, "after-rollback")


@pytest.mark.last
def test_uninstalling_leaves_apps_served_and_routes_in_place(story: Story) -> None:
    try:
        with asked_all_the_time(story):
            story.cluster.helm("uninstall", "llmroute", "-n", NAMESPACE, "--wait", "--timeout", "120s")

            assert story.get("llmroutes", "chat")
            assert story.get("configmap", "llmroute-config")
            assert story.ask("shop", "Is anybody there?")
            story.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "late"}, "spec": IDLE})
            assert "initContainers" not in story.get("pod", "late")["spec"]
    finally:
        install(story.cluster)
    # The former operators could not give their Lease back, as the right to went first: the new ones wait for its end.
    story.cluster.until("the webhook is trusted again", lambda: trusted(story))
    new_pods_are_served(story, "installed-again")
    routes_are_delivered(story, "after-installing-again")


@contextmanager
def asked_all_the_time(story: Story) -> Iterator[None]:
    """An app asks ten questions a second, half of them answered as streams. None may fail or break."""
    story.providers(east={"ttft": {"median": "20ms"}})
    story.secret(OPENAI_API_KEY="the-key-of-the-company")
    story.route("chat", serving(story, "chat"))
    story.app("shop", RATE="5")
    story.app("reader", RATE="5", STREAM="true")
    for app in ("shop", "reader"):
        story.cluster.until(f"{app} is answered", lambda app=app: answered(story, app))  # type: ignore[misc]
    before = {app: counted(story, app) for app in ("shop", "reader")}
    yield
    for app, (failed, broken) in before.items():
        assert counted(story, app) == (failed, broken), story.counts(app)
        answered_so_far = story.counts(app)["answered"]
        story.cluster.until(f"{app} goes on", lambda app=app, n=answered_so_far: story.counts(app)["answered"] > n)  # type: ignore[misc]


def serving(story: Story, model: str) -> dict[str, Any]:
    east = {"name": "east", "provider": "openai", "model": "gpt-5", "url": f"http://east.{story.name}.svc/v1"}
    return {"models": [model], "targets": [east]}


def answered(story: Story, app: str) -> bool:
    return story.counts(app).get("answered", 0) > 0


def counted(story: Story, app: str) -> tuple[int, int]:
    counts = story.counts(app)
    return counts.get("failed", 0), counts.get("broken", 0)


def webhook(story: Story) -> Any:
    """The first webhook; its authority must be there, whoever upgraded."""
    assert trusted(story)
    return story.get("mutatingwebhookconfiguration", "llmroute-injector")["webhooks"][0]


def trusted(story: Story) -> bool:
    """Whether both webhooks have an authority."""
    found = story.get("mutatingwebhookconfiguration", "llmroute-injector")["webhooks"]
    return all(hook["clientConfig"].get("caBundle") for hook in found)


def new_pods_are_served(story: Story, name: str) -> None:
    story.app(name)
    assert story.ask(name, "How are you?")


def routes_are_delivered(story: Story, name: str) -> None:
    story.route(name, serving(story, name))
    story.kubectl("wait", f"llmroute/{name}", "--for=condition=Programmed", "--timeout=60s", seconds=70)

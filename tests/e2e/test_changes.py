"""A route is changed with kubectl: every sidecar soon runs it, and no request notices. A bad change changes nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles
from typing import Any

import pytest
from tests.e2e.cluster import CommandFailed
from tests.e2e.story import Story

CHANGES = 20
PODS = 4
WATCH = """
import sys, time, urllib.request
def revision(pod):
    return urllib.request.urlopen(f"http://{pod}:4001/readyz", timeout=60).read()
told, at = None, time.monotonic()
while time.monotonic() < at + 180:
    revisions = set(map(revision, sys.argv[1:]))
    if len(revisions) == 1 and revisions != told:
        told, at = revisions, time.monotonic()
        print("all run", *revisions, flush=True)
    time.sleep(0.05)
print("not all run", *revisions, flush=True)
"""
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"spec": {"targets": []}}, "spec.targets"),
    ({"target": {"provider": "opnai"}}, "spec.targets[0].provider"),
    ({"target": {"provider": "azure-openai", "url": None}}, "url or service is required for azure-openai"),
    ({"target": {"url": "gopher://models"}}, "spec.targets[0].url"),
    ({"target": {"urll": "http://models"}}, 'unknown field "spec.targets[0].urll"'),
    ({"spec": {"fallbackTargets": ["west"]}}, "fallbackTargets must name existing targets"),
    ({"spec": {"objective": {"priority": "speed", "weights": {"latency": 1}}}}, "either a priority or weights"),
    ({"spec": {"failover": {"timeouts": {"firstToken": "0s"}}}}, "a duration must be longer than nothing"),
]


def test_a_change_reaches_every_sidecar_and_no_request_notices(story: Story, report: Callable[[str], None]) -> None:
    story.providers(east={"ttft": {"median": "20ms"}})
    story.secret(OPENAI_API_KEY="the-key-of-the-company")
    story.route("chat", serving(story))
    story.rendered("chat")
    story.app("shop", replicas=PODS, RATE="3", STREAM="half")
    seconds = []
    with story.unharmed("shop"), sidecars_watched(story) as all_run_another:
        for change in range(CHANGES):
            began = time.monotonic()
            story.route("chat", serving(story, labels={"change": f"number-{change}"}))
            all_run_another()
            seconds.append(time.monotonic() - began)
    story.becomes("chat", "Programmed", "True")
    p50, p99 = (quantiles(seconds, n=100, method="inclusive")[which] for which in (49, 98))
    report(
        f"a changed route, from `kubectl apply` to all of {PODS} sidecars, {CHANGES} changes: "
        f"p50 {p50:.1f} s, p99 {p99:.1f} s, longest {max(seconds):.1f} s (goal: p99 5 s)"
    )


def test_what_makes_no_sense_is_refused_at_apply(story: Story) -> None:
    for change, told in REFUSED:
        spec = {**serving(story), **change.get("spec", {})}
        spec["targets"] = [{**target, **change.get("target", {})} for target in spec["targets"]]
        with pytest.raises(CommandFailed) as refused:
            story.route("chat", spec)
        assert told in refused.value.said
    assert story.get("llmroutes") == []


def test_what_only_the_operator_sees_is_told_and_changes_nothing(story: Story) -> None:
    story.providers(east={"ttft": {"median": "20ms"}})
    story.secret(OPENAI_API_KEY="the-key-of-the-company")
    story.route("chat", serving(story))
    story.rendered("chat")
    story.app("shop", RATE="5")
    story.becomes("chat", "Programmed", "True")
    before = story.get("configmap", "llmroute-config")["data"]
    with story.unharmed("shop"):
        story.route("chat", serving(story, labels={"tier of the model": "gold"}))  # keys are beyond a schema's reach

        accepted = story.becomes("chat", "Accepted", "False")
        assert accepted["reason"] == "Invalid"
        assert accepted["message"].startswith('spec.targets[0].labels["tier of the model"]: ')
        story.event("Invalid", "tier of the model")
        assert "version before" in story.becomes("chat", "Programmed", "False")["message"]
        assert story.cell("chat", "READY") == "False"
        assert story.get("configmap", "llmroute-config")["data"] == before
        assert story.ask("shop", "How are you?")

        story.route("chat", serving(story, labels={"tier": "gold"}))
        story.becomes("chat", "Programmed", "True")
        assert story.cell("chat", "READY") == "True"


def test_of_two_routes_with_one_model_the_older_serves_and_the_other_is_told(story: Story) -> None:
    story.providers(east={}, west={})
    story.secret(OPENAI_API_KEY="the-key-of-the-company")
    story.route("older", {"models": ["chat"], "targets": [story.target("east")]})
    story.rendered("older")
    story.route("younger", {"models": ["poem", "chat"], "targets": [story.target("west")]})

    refused = story.becomes("younger", "Accepted", "False")
    assert refused["reason"] == "ModelConflict"
    assert refused["message"].startswith("spec.models: the model 'chat' is already served by the LLMRoute 'older'")
    assert story.becomes("older", "Accepted", "True")
    story.app("shop")
    assert story.ask("shop", "How are you?")
    assert story.stats("west")["requests"] == 0

    story.kubectl("delete", "llmroute", "older")
    story.becomes("younger", "Programmed", "True")
    assert story.ask("shop", "And you?")
    assert story.stats("west")["requests"] == 1


def serving(story: Story, **members: Any) -> dict[str, Any]:
    return {"models": ["chat"], "targets": [story.target("east", **members)]}


@contextmanager
def sidecars_watched(story: Story) -> Iterator[Callable[[], None]]:
    """What is given waits until all sidecars run one and the same revision, another one than the last time."""
    addresses = [pod["status"]["podIP"] for pod in story.pods("shop")]
    watch = ("exec", "deployment/providers", "-c", "main", "--", "python3", "-c", WATCH, *addresses)
    with story.cluster.following("-n", story.name, *watch) as lines:

        def all_run_another() -> None:
            line = next(lines, "nothing")
            assert line.startswith("all run"), line

        all_run_another()
        yield all_run_another

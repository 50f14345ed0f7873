"""An app that ends well loses no stream: its sidecar stays until all are read, and then goes, too."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from tests.e2e.story import Story

TOKENS = 60
SPEED = {"ttft": {"median": "100ms"}, "tokensPerSecond": {"median": 20}, "outputTokens": {"median": TOKENS}}
"""A stream takes three seconds."""
CODES = (
    "jsonpath={.metadata.name} {.status.initContainerStatuses[0].state.terminated.exitCode} "
    '{.status.containerStatuses[0].state.terminated.exitCode}{"\\n"}'
)


def test_no_stream_breaks_when_pods_are_replaced_or_fewer(story: Story, report: Callable[[str], None]) -> None:
    story.providers(east=SPEED)
    story.secret(OPENAI_API_KEY="the-key-of-the-company")
    story.route("chat", {"models": ["chat"], "targets": [story.target("east")]})
    story.rendered("chat")
    story.app("reader", replicas=3, RATE="1", STREAM="true", TOKENS=str(TOKENS))
    reading(story)

    def replaced() -> None:
        story.kubectl("rollout", "restart", "deployment/reader")
        story.cluster.ready("deployment", "reader", story.name)

    def fewer() -> None:
        story.kubectl("scale", "deployment/reader", "--replicas=1")

    began = time.monotonic()
    first = those_that_end(story, replaced)
    reading(story)
    second = those_that_end(story, fewer)
    assert (len(first), len(second)) == (3, 2)
    for counts in (*first, *second):
        assert counts["answered"] == counts["asked"] > 0
        assert not counts.keys() & {"failed", "broken"}, counts
    (left,) = story.pods("reader")
    with story.unharmed("reader"):
        assert left["status"]["initContainerStatuses"][0]["restartCount"] == 0
    streams = sum(counts["answered"] for counts in (*first, *second))
    report(f"pods replaced and fewer: {streams} streams of 3 s whole, in {time.monotonic() - began:.0f} s; none broken")


def reading(story: Story) -> None:
    """Waits until all pods have read streams."""
    with story.unharmed("reader"):
        pass


def those_that_end(story: Story, change: Callable[[], None]) -> list[dict[str, int]]:
    """What the pods that a change ends have counted until their end. All their containers must end well."""
    names = [pod["metadata"]["name"] for pod in story.pods("reader")]
    with ExitStack() as followed:
        logs = {}
        for name in names:
            following = story.cluster.following("-n", story.name, "logs", "-f", name, "-c", "main")
            logs[name] = followed.enter_context(following)
            assert next(logs[name]) == "serving\n"
        watch = ("get", "pods", "-l", "app=reader", "--watch", "-o", CODES)
        codes = followed.enter_context(story.cluster.following("-n", story.name, *watch))
        change()
        ended = set(names) - {pod["metadata"]["name"] for pod in story.pods("reader")}
        all_end_well(codes, ended)
        return [last_words(logs[name]) for name in ended]


def all_end_well(codes: Iterator[str], ended: set[str]) -> None:
    """Waits for the exit codes of the pods' sidecar and app."""
    missing = set(ended)
    while missing:
        name, *both = next(codes).split()
        if name in missing and len(both) == 2:
            assert both == ["0", "0"], f"{name}: {both}"
            missing.remove(name)


def last_words(log: Iterator[str]) -> dict[str, Any]:
    """The last line of an app."""
    *_, line = log
    return dict(json.loads(line))

"""The control plane fails: apps do not notice, and what was asked of it is done in the end, once."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.e2e.cluster import Cluster
from tests.e2e.conftest import NAMESPACE
from tests.e2e.story import Story

from llmroute_operator.names import LEASE

OPERATOR = ("deployment/llmroute-operator", "-n", NAMESPACE)
THERE = "import os; print(os.path.exists('/etc/llmroute/config/routes.json'))"
QUESTIONS = 30
"""That an app asks while nobody is there: six seconds. Controllers come back the later, the longer they were alone."""


@pytest.mark.last
@pytest.mark.usefixtures("disposable")
def test_without_operator_and_api_server_apps_go_on_and_a_sidecar_comes_back(story: Story) -> None:
    served(story)
    story.app("shop", RATE="5", STREAM="half")
    story.app("kiosk", RATE="5")
    (shop,), (kiosk,) = story.pods("shop"), story.pods("kiosk")
    with story.unharmed("shop"):
        with no_operator(story.cluster):
            story.kubectl("delete", "configmap", "llmroute-config")  # all that is left is what the sidecars remember
            story.cluster.until("the kiosk's file is gone", lambda: file_is_gone(story, kiosk))
            with no_api_server(story.cluster):
                before = revision(story, kiosk)
                enough = {app: answered(story, pod) + QUESTIONS for app, pod in (("shop", shop), ("kiosk", kiosk))}
                story.cluster.way.kill(container(kiosk["status"]["initContainerStatuses"][0]))
                story.cluster.until("the kiosk goes on", lambda: answered(story, kiosk) >= enough["kiosk"])
                story.cluster.until("the shop goes on", lambda: answered(story, shop) >= enough["shop"])
                assert revision(story, kiosk) == before
            story.cluster.until("kubelet tells of the restart", lambda: restarts(story, kiosk) == 1)
        story.rendered("chat")
        story.route("chat", serving(story, "changed-again"))
        story.becomes("chat", "Programmed", "True")
        assert story.cell("chat", "SIDECARS") == "2/2"


@pytest.mark.last
@pytest.mark.usefixtures("disposable")
def test_a_leader_that_dies_amid_changes_leaves_none_undone_or_done_twice(
    story: Story, neighbour: Story, report: Callable[[str], None]
) -> None:
    for each in (story, neighbour):
        served(each)
    story.app("shop", RATE="5", STREAM="half")
    story.becomes("chat", "Programmed", "True")
    died = leader(story.cluster)
    pod = story.cluster.get("pod", died, "-n", NAMESPACE)
    with story.unharmed("shop"), written(story) as first, written(neighbour) as second:
        story.route("chat", serving(story, "just-before"))
        story.cluster.way.kill(container(pod["status"]["containerStatuses"][0]))
        began = time.monotonic()
        story.cluster.kubectl("delete", "pod", died, "-n", NAMESPACE, "--force", "--grace-period=0", "--wait=false")
        neighbour.route("chat", serving(neighbour, "just-after"))
        story.cluster.until("another leads", lambda: leader(story.cluster) not in ("", died))
        took_over = time.monotonic() - began
        story.becomes("chat", "Programmed", "True")
        neighbour.becomes("chat", "Accepted", "True")
        converged = time.monotonic() - began
        for each in (story, neighbour):
            each.route("chat", serving(each, "at-last"))
        assert until_written(first, "at-last") == ["just-before"]
        assert until_written(second, "at-last") == ["just-after"]
    story.cluster.ready("deployment", "llmroute-operator", NAMESPACE)
    report(
        f"the operator's leader was killed: another leads after {took_over:.1f} s (goal: 20 s), "
        f"all changes are everywhere after {converged:.1f} s, each written once"
    )


def served(story: Story) -> None:
    """A provider, its key and a route to it."""
    story.providers(east={"ttft": {"median": "20ms"}})
    story.secret(OPENAI_API_KEY="the-key-of-the-company")
    story.route("chat", serving(story, "none"))
    story.rendered("chat")


def serving(story: Story, change: str) -> dict[str, Any]:
    return {"models": ["chat"], "targets": [story.target("east", labels={"change": change})]}


@contextmanager
def no_operator(cluster: Cluster) -> Iterator[None]:
    """There is none; then there is one again."""
    cluster.kubectl("scale", *OPERATOR, "--replicas=0")
    pods = ("get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=operator", "-o", "name")
    try:
        cluster.until("no operator is left", lambda: not cluster.kubectl(*pods).strip())
        yield
    finally:
        cluster.kubectl("scale", *OPERATOR, "--replicas=2")
        cluster.ready("deployment", "llmroute-operator", NAMESPACE)


@contextmanager
def no_api_server(cluster: Cluster) -> Iterator[None]:
    """It is killed; then it is started again."""
    cluster.way.stop("kube-apiserver")
    try:
        yield
    finally:
        cluster.way.start("kube-apiserver")
        cluster.until("the API server answers", lambda: cluster.kubectl("get", "--raw", "/readyz"))


def file_is_gone(story: Story, pod: Any) -> bool:
    """Whether a pod's volume is without routes.json; kubelet looks whenever an annotation changes."""
    name = pod["metadata"]["name"]
    story.kubectl("annotate", "pod", name, "--overwrite", f"looked-at={time.monotonic()}")
    return "False" in story.kubectl("exec", name, "-c", "llmroute-sidecar", "--", "python", "-c", THERE)


def answered(story: Story, pod: Any) -> int:
    """How many questions of the app in a pod were answered so far; the pod itself is asked."""
    return int(json.loads(asked(story, pod, 8000, "counts"))["answered"])


def restarts(story: Story, pod: Any) -> int:
    """How often a pod's sidecar was started again, as far as kubelet has told."""
    (sidecar,) = story.get("pod", pod["metadata"]["name"])["status"]["initContainerStatuses"]
    return int(sidecar["restartCount"])


def revision(story: Story, pod: Any) -> str:
    """What a sidecar says when it is asked whether it is ready: which configuration it runs."""
    return asked(story, pod, 4001, "readyz")


def asked(story: Story, pod: Any, port: int, path: str) -> str:
    return story.cluster.way.fetch(f"http://{pod['status']['podIP']}:{port}/{path}")


def container(status: Any) -> str:
    """The id that containerd knows a container by."""
    return str(status["containerID"].removeprefix("containerd://"))


def leader(cluster: Cluster) -> str:
    """The pod whose name is in the operator's Lease."""
    return str(cluster.get("lease", LEASE, "-n", NAMESPACE)["spec"]["holderIdentity"])


@contextmanager
def written(story: Story) -> Iterator[Iterator[str]]:
    """The namespace's configurations from now on, as they are written."""
    watch = ("get", "configmap", "llmroute-config", "--watch", "-o", r'jsonpath={.data.routes\.json}{"\n"}')
    with story.cluster.following("-n", story.name, *watch) as lines:
        next(lines)
        yield lines


def until_written(configurations: Iterator[str], last: str) -> list[str]:
    """The changes that were written before the last one."""
    changes = (json.loads(one)["routes"][0]["spec"]["targets"][0]["labels"]["change"] for one in configurations)
    return list(iter(changes.__next__, last))

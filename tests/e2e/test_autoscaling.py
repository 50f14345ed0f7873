"""Replicas follow the requests in flight, by real Prometheus, KEDA and HorizontalPodAutoscalers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from tests.e2e.cluster import Cluster
from tests.e2e.conftest import PROMETHEUS
from tests.e2e.story import IMAGES, Story, service

CROWD = """
import asyncio, contextlib, sys, aiohttp
async def ask(people, url):
    with contextlib.suppress(aiohttp.ClientError):
        async with people.post(url, data="How are you?") as answer:
            await answer.read()
async def main(url, rate):
    each_comes_anew = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=each_comes_anew) as people, asyncio.TaskGroup() as questions:
        while True:
            questions.create_task(ask(people, url))
            await asyncio.sleep(1 / float(rate))
asyncio.run(main(*sys.argv[1:]))
"""
PER_POD = 4
"""Requests in flight that a replica should have."""
MOST = 6
"""Replicas."""


@pytest.mark.usefixtures("autoscaling")
def test_replicas_follow_load_and_not_a_brownout(story: Story) -> None:
    story.providers(east={"ttft": {"median": "2s"}}, west={"ttft": {"median": "400ms"}})
    story.secret(OPENAI_API_KEY="the-key-of-the-company")
    for app, provider in (("shop", "east"), ("bank", "west")):
        scaled(story, app, provider)
        story.app(app, MODEL=app)
        story.apply(service(app, app, 8000))
    crowd(story, "bank", rate=10)
    for app in ("shop", "bank"):
        story.becomes(app, "Autoscaling", "True")
    story.cluster.until(
        "it is known how long answers take", lambda: measured(story, "bank", "llmroute_baseline_seconds{}")
    )

    story.command("west", latency=10)
    crowd(story, "shop", rate=12)
    story.cluster.until("the shop grows", lambda: replicas(story, "shop") >= 3)
    story.cluster.until("another one works", lambda: working(story, "shop") >= 2)
    story.kubectl("scale", "deployment/crowd-of-shop", "--replicas=0")
    grown = replicas(story, "shop")
    story.cluster.until("the shop shrinks", lambda: replicas(story, "shop") < grown, 180)

    story.cluster.until(
        "requests in flight alone would ask for all replicas",
        lambda: measured(story, "bank", "avg_over_time(llmroute_in_flight{}[1m])") > MOST * PER_POD,
        180,
    )
    assert replicas(story, "bank") <= MOST / 2
    assert story.counts("bank").get("failed", 0) == 0
    with no_prometheus(story.cluster):
        before = replicas(story, "bank")
        story.cluster.until("KEDA falls back", lambda: fallen_back(story, "bank"))
        assert replicas(story, "bank") == before


@pytest.mark.usefixtures("autoscaling")
def test_a_users_own_autoscaler_stays_the_only_one(story: Story) -> None:
    story.app("shop")
    (pod,) = story.pods("shop")
    (sidecar,) = pod["spec"]["initContainers"]
    assert sidecar["resources"]["requests"]["cpu"]  # without it, no autoscaler by CPU would work
    by_cpu = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
    }
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}
    spec = {"scaleTargetRef": reference, "maxReplicas": 3, "metrics": [by_cpu]}
    own = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "by-cpu"}}
    story.apply({**own, "spec": spec})

    scaled(story, "shop", "east")
    refused = story.becomes("shop", "Autoscaling", "False")
    assert refused["reason"] == "ConflictingHPA"
    assert "'by-cpu'" in refused["message"]
    assert story.get("scaledobjects") == []

    story.kubectl("delete", "hpa", "by-cpu")
    story.becomes("shop", "Autoscaling", "True")
    assert story.get("scaledobject", "llmroute-shop")


def scaled(story: Story, app: str, provider: str) -> None:
    """A route for an app that scales with it."""
    autoscaling = {"targetRef": {"name": app}, "maxReplicas": MOST, "inFlightPerPod": PER_POD}
    patient = {**autoscaling, "ttft": {"threshold": "3s"}}
    story.route(app, {"models": [app], "targets": [story.target(provider)], "autoscaling": patient})
    story.rendered(app)


def crowd(story: Story, app: str, *, rate: float) -> None:
    """People who ask an app so many questions a second, whether or not they are answered."""
    container = {"image": IMAGES["e2e-app"], "command": ["python3", "-c", CROWD, f"http://{app}/ask", str(rate)]}
    story.deploy(f"crowd-of-{app}", container, labels={"llmroute.dev/inject": "false"})


@contextmanager
def no_prometheus(cluster: Cluster) -> Iterator[None]:
    """There is none; then there is one again."""
    prometheus = ("deployment/prometheus", "-n", "monitoring")
    cluster.kubectl("scale", *prometheus, "--replicas=0")
    try:
        yield
    finally:
        cluster.kubectl("scale", *prometheus, "--replicas=1")
        cluster.ready("deployment", "prometheus", "monitoring")


def fallen_back(story: Story, app: str) -> bool:
    """Whether KEDA has no number of an app's."""
    conditions = story.get("scaledobject", f"llmroute-{app}")["status"]["conditions"]
    return any((each["type"], each["status"]) == ("Fallback", "True") for each in conditions)


def replicas(story: Story, app: str) -> int:
    """How many an app is told to have."""
    return int(story.get("deployment", app)["spec"]["replicas"])


def working(story: Story, app: str) -> int:
    """How many of an app are ready."""
    return int(story.get("deployment", app)["status"].get("readyReplicas", 0))


def measured(story: Story, app: str, metric: str) -> float:
    """The sum of a metric over an app's sidecars; 0 without any."""
    chosen = f'namespace="{story.name}",workload="Deployment/{app}"'
    query = f"sum({metric.replace('{}', f'{{{chosen}}}')})"
    status, said = story.call("providers", "GET", f"{PROMETHEUS}/api/v1/query?query={quote(query)}")
    assert status == 200, said
    return sum(float(one["value"][1]) for one in json.loads(said)["data"]["result"])

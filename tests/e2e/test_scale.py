"""Story 15: 500 routes in 50 namespaces with 1,000 pods, and a change is the business of its own namespace alone."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from tests.e2e import fleet
from tests.e2e.cluster import Cluster
from tests.e2e.conftest import NAMESPACE
from tests.e2e.fleet import NAMESPACES, PODS, ROUTES, create, names, route

from llmroute_operator.names import LEASE

ALL_PODS, ALL_ROUTES = NAMESPACES * PODS, NAMESPACES * ROUTES
PATIENCE = 600
"""Seconds that each step may take."""
CALM, SILENCE = 30, 45
"""Seconds. After 30 seconds without an answer a sidecar is said to be unreachable."""
CONFIGS = ("configmaps", "-A", "--field-selector=metadata.name=llmroute-config")
ITS_PODS = ("pods", "-A", "-l", "llmroute.dev/sidecar=true")
REVISION = r"{.metadata.annotations.llmroute\.dev/revision}"
USED = """
import os
used, ticks = open("/proc/1/stat").read().rpartition(")")[2].split(), os.sysconf("SC_CLK_TCK")
memory = dict(line.split(":", 1) for line in open("/proc/1/status"))
print((int(used[11]) + int(used[12])) / ticks, int(memory["VmRSS"].split()[0]), int(memory["VmHWM"].split()[0]))
"""


class Used(msgspec.Struct, frozen=True):
    """What the operator has used since it began. Memory in MiB."""

    processor: float
    memory: float
    most_memory: float
    calls: int
    writes: int


class Operator:
    """The replica that leads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @property
    def pod(self) -> str:
        """Whoever leads now."""
        return str(self._cluster.get("lease", LEASE, "-n", NAMESPACE)["spec"]["holderIdentity"])

    def used(self) -> Used:
        run = ("exec", self.pod, "-n", NAMESPACE, "--", "python3", "-c", USED)
        processor, memory, most = map(float, self._cluster.kubectl(*run).split())
        calls, writes = self.count("api_calls_total"), self.count("api_calls_total", "P")
        return Used(processor, memory / 1024, most / 1024, calls, writes)

    def count(self, metric: str, verb: str = "") -> int:
        """Sum of a metric, over all of its labels or those whose verb begins so."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{self.pod}:8080/proxy/metrics"
        lines = [one for one in self._cluster.kubectl("get", "--raw", path).splitlines() if verb_of(one, verb)]
        found = [
            one for one in lines if one.startswith((f"llmroute_operator_{metric} ", f"llmroute_operator_{metric}{{"))
        ]
        return int(sum(float(one.rsplit(" ", 1)[1]) for one in found))

    @contextmanager
    def measured(self, what: str, report: Callable[[str], None]) -> Iterator[None]:
        """Reports what it uses meanwhile."""
        before, began = self.used(), time.monotonic()
        yield
        took, after = time.monotonic() - began, self.used()
        report(
            f"scale: {what}: {took:.1f} s, operator {after.processor - before.processor:.1f} s CPU, "
            f"{after.calls - before.calls} API calls ({after.writes - before.writes} writes), "
            f"RSS {after.memory:.0f} MiB (at most {after.most_memory:.0f})"
        )


def verb_of(line: str, verb: str) -> bool:
    return f'verb="{verb}' in line if verb else True


@pytest.mark.last
def test_a_thousand_pods(fake_nodes: Cluster, report: Callable[[str], None]) -> None:
    cluster = fake_nodes
    operator = Operator(cluster)
    with fleet.fleet(cluster) as sidecars:
        with operator.measured(f"{ALL_PODS} pods appear in {NAMESPACES} namespaces", report):
            cluster.until("all pods confirm", lambda: confirming(operator) == ALL_PODS, PATIENCE)
            cluster.until("nobody is to be nudged", lambda: operator.count("nudges_pending") == 0, PATIENCE)
        with operator.measured(f"{ALL_ROUTES} routes are applied and arrive everywhere", report):
            many_routes_arrive(cluster, report)
            cluster.until("all pods confirm", lambda: confirming(operator) == ALL_PODS, PATIENCE)
            cluster.until("nobody is to be nudged", lambda: operator.count("nudges_pending") == 0, PATIENCE)
        cluster.until(
            "every status is written", lambda: programmed(cluster) == {f"{PODS}/{PODS}": ALL_ROUTES}, PATIENCE
        )
        a_change_is_the_business_of_its_namespace(cluster, operator, report)
        with operator.measured("nothing happens", report):
            time.sleep(CALM)
        with sidecars.silent(), operator.measured("no sidecar answers", report):
            time.sleep(SILENCE)


def many_routes_arrive(cluster: Cluster, report: Callable[[str], None]) -> None:
    began = time.monotonic()
    create(cluster, *(route(name, number) for name in names() for number in range(ROUTES)))
    applied = time.monotonic()
    cluster.until("every ConfigMap is written", lambda: written(cluster) == [ROUTES] * NAMESPACES, PATIENCE)
    rendered = time.monotonic()
    cluster.until("every pod is nudged", lambda: all_are_nudged(cluster), PATIENCE)
    nudged = time.monotonic()
    report(
        f"scale: kubectl took {applied - began:.1f} s; all ConfigMaps {rendered - applied:.1f} s later, "
        f"all pods nudged {nudged - applied:.1f} s later"
    )


def a_change_is_the_business_of_its_namespace(
    cluster: Cluster, operator: Operator, report: Callable[[str], None]
) -> None:
    changed = names()[7]
    before = versions(cluster)
    with operator.measured("one route changes and arrives", report):
        create(cluster, route(changed, 3, model="gpt-6"))
        row = ("get", "llmroute", "route-3", "-n", changed, "-o", "jsonpath={.status.conditions}")
        cluster.until("the change has arrived", lambda: arrived(cluster.kubectl(*row)))
    after = versions(cluster)
    touched = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert {namespace for _, namespace, _ in touched} == {changed}
    assert len(touched) == 1 + PODS, "its ConfigMap and its pods"


def confirming(operator: Operator) -> int:
    return operator.count('sidecars{state="current"}')


def written(cluster: Cluster) -> list[int]:
    """Routes of each namespace's ConfigMap."""
    return [len(json.loads(one["data"]["routes.json"])["routes"]) for one in cluster.get(*CONFIGS)]


def all_are_nudged(cluster: Cluster) -> bool:
    revisions = {
        one["metadata"]["namespace"]: json.loads(one["data"]["routes.json"])["revision"]
        for one in cluster.get(*CONFIGS)
    }
    template = rf"{{range .items[*]}}{{.metadata.namespace}} {REVISION}{{'\n'}}{{end}}"
    told = [line.split(" ") for line in cluster.kubectl("get", *ITS_PODS, "-o", f"jsonpath={template}").splitlines()]
    return len(told) == ALL_PODS and all(revision.partition(".")[0] == revisions[name] for name, revision in told)


def programmed(cluster: Cluster) -> dict[str, int]:
    """How many routes say that so many sidecars run them."""
    template = "{range .items[*]}{.status.sidecars.current}/{.status.sidecars.desired}{'\\n'}{end}"
    counted: dict[str, int] = {}
    for line in cluster.kubectl("get", "llmroutes", "-A", "-o", f"jsonpath={template}").splitlines():
        counted[line] = counted.get(line, 0) + 1
    return counted


def versions(cluster: Cluster) -> dict[tuple[str, str, str], str]:
    """Versions of all ConfigMaps and pods by kind, namespace and name."""
    template = "{range .items[*]}{.kind} {.metadata.namespace} {.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}"
    lines = [
        line.split()
        for objects in (CONFIGS, ITS_PODS)
        for line in cluster.kubectl("get", *objects, "-o", f"jsonpath={template}").splitlines()
    ]
    return {(kind, namespace, name): version for kind, namespace, name, version in lines}


def arrived(conditions: str) -> bool:
    return any(
        (one["type"], one["status"], one["observedGeneration"]) == ("Programmed", "True", 2)
        for one in json.loads(conditions or "[]")
    )

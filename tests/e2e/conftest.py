"""One cluster with one release for all stories, a namespace for each, and what is shown when one fails."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.ways import HERE, NoWay, Way, run, way, within
from tests.e2e.cluster import CHECKOUT, Cluster, CommandFailed
from tests.e2e.story import Story

NAMESPACE = "llmroute-system"
PROMETHEUS = "http://prometheus.monitoring.svc.cluster.local:9090"
OURS = "LLMROUTE_E2E_CLUSTER"
"""Names a cluster that stays up after the tests, for those who write them; the first run brings it up."""

_told = pytest.StashKey[Story]()
_skipped: list[str] = []
_reported: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "last: disturbs the cluster for others, and runs after them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The stories come after all other tests, since the cluster keeps the machine busy; what disturbs it, last."""
    here = Path(__file__).parent
    items.sort(key=lambda item: (here in item.path.parents, item.get_closest_marker("last") is not None))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which stories were not told and why, and the seconds that were measured."""
    for reason in _skipped:
        terminalreporter.write_line(f"end-to-end tests skipped: {reason}", yellow=True)
    for line in _reported:
        terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A story that failed shows its namespace, and what the control plane has to say."""
    report = yield
    story = item.stash.get(_told, None)
    if report.failed and story is not None:
        for namespace in (story.name, NAMESPACE):
            report.sections.append((f"namespace {namespace}", described(story.cluster, namespace)))
    return report


def described(cluster: Cluster, namespace: str) -> str:
    """Objects, events and logs of a namespace, as far as the API server still answers."""
    asked = [
        ("get", "llmroutes,configmaps,deployments,pods", "-o", "wide"),
        ("describe", "llmroutes"),
        ("get", "events", "--sort-by=.lastTimestamp"),
    ]
    parts = []
    try:
        pods = cluster.kubectl("get", "pods", "-n", namespace, "-o", "name", seconds=10).split()
        for arguments in [*asked, *(("logs", pod, "--all-containers", "--prefix", "--tail=40") for pod in pods)]:
            parts.append(cluster.kubectl("-n", namespace, *arguments, seconds=10)[-8000:])
    except CommandFailed as error:
        parts.append(str(error))
    return "\n".join(parts)


@pytest.fixture(scope="session")
def report() -> Callable[[str], None]:
    """Keeps a line for the end of the run: what was measured is reported, not asserted."""
    return _reported.append


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """A cluster with our images on its nodes, by the first way that fits."""
    kept = os.environ.get(OURS)
    try:
        chosen = way(kept or f"test-{os.getpid()}")
    except NoWay as reason:
        _skipped.append(str(reason))
        pytest.skip(str(reason))
    try:
        with seen(pytestconfig):
            if not kept:  # who keeps a cluster waits only for what the chosen stories need
                chosen.prepare()
            archives = project_images(chosen)
            reached = chosen.up(None if kept else os.getpid())
        for archive in archives:
            chosen.load(archive)
        with within(reached.network):
            yield Cluster(chosen, reached, {archive.stem.rpartition("-")[0]: archive.stem for archive in archives})
    finally:
        if not kept:
            chosen.down()


@contextmanager
def seen(config: pytest.Config) -> Iterator[None]:
    """What takes minutes the first time says so while it does."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        yield


def project_images(chosen: Way) -> list[Path]:
    """The archives of our images, built from this checkout where something changed."""
    if chosen.name == "given":
        return []
    builder = "docker" if chosen.name == "kind" else "buildah"
    return [Path(line) for line in run(str(HERE / "project-images"), builder).splitlines()]


@pytest.fixture(scope="session")
def llmroute(cluster: Cluster) -> Cluster:
    """The cluster with our chart installed, as its documentation says."""
    install(cluster)
    return cluster


def install(cluster: Cluster, *settings: str) -> None:
    """Installs or upgrades the release. Raises CommandFailed."""
    images = ("images.sidecar.tag=e2e", "images.operator.tag=e2e")
    build = cluster.images.get("operator", "")  # another one, under the same tag, is started all the same
    builds = [f"{workload}.podAnnotations.build={build}" for workload in ("operator", "injector")]
    values = [word for setting in (*images, *builds, *settings) for word in ("--set", setting)]
    release = ("llmroute", str(CHECKOUT / "charts/llmroute"), "-n", NAMESPACE, "--create-namespace")
    cluster.helm("upgrade", "--install", *release, *values, "--wait", "--timeout", "120s")


@pytest.fixture(scope="session")
def autoscaling(llmroute: Cluster) -> Cluster:
    """The cluster with Prometheus, which scrapes every sidecar each second, and KEDA; the operator knows of both."""
    add(llmroute, "prometheus")
    add(llmroute, "keda")
    quick = ("scaleUpSeconds=2", "scaleDownSeconds=5", f"prometheusAddress={PROMETHEUS}")
    install(llmroute, *(f"autoscaling.{setting}" for setting in quick))
    return llmroute


@pytest.fixture(scope="session")
def fake_nodes(llmroute: Cluster) -> Cluster:
    """The cluster with kwok: nodes annotated `kwok.x-k8s.io/node: fake`, and their pods, are played and run nothing."""
    add(llmroute, "kwok")
    return llmroute


def add(cluster: Cluster, addon: str) -> None:
    """Adds a part that only some stories need, or skips them with the reason."""
    try:
        cluster.way.add(addon)
    except NoWay as reason:
        _skipped.append(str(reason))
        pytest.skip(str(reason))


@pytest.fixture
def disposable(cluster: Cluster) -> None:
    """Skips a story that breaks what others may use."""
    if not cluster.way.disposable:
        _skipped.append(f"what breaks a cluster: {cluster.way.name} is not ours")
        pytest.skip(_skipped[-1])


@pytest.fixture
def story(llmroute: Cluster, request: pytest.FixtureRequest) -> Iterator[Story]:
    """A namespace whose pods get sidecars, named after the test."""
    name = request.node.name.removeprefix("test_").replace("_", "-").partition("[")[0][:50].strip("-")
    for told in in_namespace(llmroute, name, {"llmroute.dev/injection": "enabled"}):
        request.node.stash[_told] = told
        yield told


@pytest.fixture
def neighbour(llmroute: Cluster, story: Story) -> Iterator[Story]:
    """Another namespace whose pods get sidecars."""
    yield from in_namespace(llmroute, f"{story.name}-neighbour", {"llmroute.dev/injection": "enabled"})


def in_namespace(cluster: Cluster, name: str, labels: dict[str, str]) -> Iterator[Story]:
    """A namespace with labels, and its end."""
    names = {"name": name, "labels": labels}
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", seconds=120)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": names})
    cluster.until("the namespace has a ServiceAccount", lambda: cluster.get("-n", name, "serviceaccount", "default"))
    yield Story(cluster, name)
    try:
        cluster.kubectl("delete", "namespace", name, "--wait=false")
    except (CommandFailed, subprocess.SubprocessError) as error:
        _reported.append(f"namespace {name} is left: {error}")

"""Pods that a real API server gets, with the chart's webhooks and the injector as a process."""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.operator.apiserver import CannotBeHad
from tests.operator.injected_pods import OURS, app, environment, pod, sidecar
from tests.operator.injecting_cluster import Client, InjectingCluster, controllers, injecting, webhooks
from tests.operator.injector_server import issue

from llmroute_operator.inject import asks, is_injected
from llmroute_operator.pods import pod_of

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
ENABLED = {"llmroute.dev/injection": "enabled"}
COMPLIANT = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InjectingCluster]:
    try:
        with injecting(tmp_path_factory.mktemp("injecting")) as both:
            asyncio.run(install(both))
            yield both
    except CannotBeHad as reason:
        pytest.skip(f"no API server can be had here: {reason}")


async def install(cluster: InjectingCluster) -> None:
    """Returns when the API server calls the webhooks."""
    async with cluster.client() as client:
        configuration = webhooks(cluster, cluster.server.folder / "programs/helm")
        assert (await client.create(CONFIGURATIONS, configuration)).status == 201
        namespace = await client.namespace(**ENABLED)
        async with asyncio.timeout(30):
            while not is_injected((await client.pod(namespace, pod(), dry=True)).object):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


@pytest.fixture
async def client(cluster: InjectingCluster) -> AsyncIterator[Client]:
    async with cluster.client() as opened:
        yield opened


@pytest.fixture
async def team(client: Client) -> str:
    """A namespace that asks for sidecars."""
    return await client.namespace(**ENABLED)


async def injected(client: Client, namespace: str, given: dict[str, Any], **how: bool) -> dict[str, Any]:
    """The pod as it was stored, with its sidecar."""
    created = await client.pod(namespace, given, **how)
    assert created.status == 201, created.object
    assert created.warnings == []
    assert is_injected(created.object)
    return created.object


def mounts(container: dict[str, Any]) -> dict[str, str]:
    return {one["mountPath"]: one["name"] for one in container.get("volumeMounts", [])}


class TestWhoGetsOne:
    @pytest.mark.parametrize(
        ("namespace", "label"),
        [
            (namespace, label)
            for namespace in ({}, ENABLED, {"llmroute.dev/injection": "off"})
            for label in (None, "true", "false", "yes")
        ],
    )
    async def test_labels_decide_and_no_pod_is_sent_twice(
        self, cluster: InjectingCluster, client: Client, namespace: dict[str, str], label: str | None
    ) -> None:
        labels = {} if label is None else {"llmroute.dev/inject": label}
        home, before = await client.namespace(**namespace), cluster.reviews()
        created = await client.pod(home, pod(labels=labels))
        asked = asks(labels, namespace)
        assert is_injected(created.object) is asked
        assert cluster.reviews() - before == ({"injected": 1} if asked else {})

    @pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "llmroute-system"])
    async def test_the_clusters_own_and_ours_never(
        self, cluster: InjectingCluster, client: Client, namespace: str
    ) -> None:
        await client.create("/api/v1/namespaces", {"metadata": {"name": namespace, "labels": ENABLED}})
        await client.account(namespace)
        before = cluster.reviews()
        created = await client.pod(namespace, pod(labels={"llmroute.dev/inject": "true"}))
        assert created.status == 201, created.object
        assert cluster.reviews() == before

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            (pod(hostNetwork=True), "with hostNetwork"),
            (pod(os={"name": "windows"}), "runs on Linux only"),
            (pod(app(ports=[{"containerPort": 4001}])), "listens on 4001"),
            (pod(app("llmroute-sidecar")), "container named llmroute-sidecar"),
            (pod(volumes=[{"name": "llmroute-state", "emptyDir": {}}]), "volume named llmroute-state"),
        ],
    )
    async def test_who_cannot_have_one_starts_without_and_is_told(
        self, client: Client, team: str, given: dict[str, Any], why: str
    ) -> None:
        created = await client.pod(team, given)
        assert created.status == 201, created.object
        assert not is_injected(created.object)
        assert why in created.warnings[0]


class TestWhatTheyGet:
    async def test_no_token_in_the_sidecar_though_each_other_container_has_one(self, client: Client, team: str) -> None:
        made = await injected(client, team, pod(initContainers=[app("migrate")]))
        assert made["spec"]["volumes"][0]["name"].startswith("kube-api-access-")  # mounted before we were asked
        (token,) = [path for path, volume in mounts(made["spec"]["containers"][0]).items() if "kube-api" in volume]
        assert token == TOKEN
        assert TOKEN in mounts(made["spec"]["initContainers"][1])
        assert mounts(sidecar(made))[TOKEN] == "llmroute-no-token"
        assert not any("kube-api" in volume for volume in mounts(sidecar(made)).values())

    async def test_a_pod_without_token(self, client: Client, team: str) -> None:
        made = await injected(client, team, pod(automountServiceAccountToken=False))
        assert not any("kube-api" in volume["name"] for volume in made["spec"]["volumes"])

    @pytest.mark.parametrize("mesh", [[], [app("linkerd-network-validator", securityContext=COMPLIANT)]])
    async def test_a_restricted_namespace_takes_them(self, client: Client, mesh: list[dict[str, Any]]) -> None:
        namespace = await client.namespace(**RESTRICTED, **ENABLED)
        refused = await client.pod(namespace, pod())
        assert refused.status == 403
        assert "llmroute-sidecar" not in refused.object["message"]  # the app's fault alone
        await injected(client, namespace, pod(app(securityContext=COMPLIANT), initContainers=mesh))

    async def test_owned_pods_name_their_workload(self, client: Client, team: str) -> None:
        for kind, name, labels, workload in (
            ("ReplicaSet", "shop-5d9c7b", {"pod-template-hash": "5d9c7b"}, "Deployment/shop"),
            ("StatefulSet", "db", {}, "StatefulSet/db"),
            ("Job", "import", {}, "Job/import"),
            ("Job", "report-29654321", {}, "CronJob/report"),
        ):
            owner = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": name, "controller": True}
            made = await injected(client, team, pod(labels=labels, metadata={"ownerReferences": [owner]}))
            assert made["metadata"]["annotations"]["llmroute.dev/workload"] == workload

    async def test_a_generated_name(self, client: Client, team: str) -> None:
        given = {**pod(), "metadata": {"generateName": "batch-"}}
        created = await client.create(f"/api/v1/namespaces/{team}/pods", given)
        assert created.object["metadata"]["annotations"]["llmroute.dev/workload"] == "Pod/batch"

    async def test_environment_of_the_users_stays(self, client: Client, team: str) -> None:
        given = pod(
            app(env=[{"name": "NO_PROXY", "value": "corp"}, {"name": "HTTP_PROXY", "value": "http://p"}]),
            app("keys", envFrom=[{"secretRef": {"name": "keys"}}]),
            app("own", env=[{"name": "OPENAI_BASE_URL", "value": "https://own.example"}]),
        )
        made = await injected(client, team, given)
        assert environment(made)["NO_PROXY"] == "corp,127.0.0.1,localhost"
        assert environment(made, "keys") == OURS
        assert environment(made, "own")["OPENAI_BASE_URL"] == "https://own.example"

    async def test_resources_of_the_pod_as_a_whole(self, client: Client, team: str) -> None:
        whole = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}
        created = await client.pod(team, pod(app(resources=whole), resources=whole))
        assert created.status == 201, created.object
        assert is_injected(created.object)

    @pytest.mark.parametrize("value", ["", "0", "-1", "1e9", "100Ei", "5m", "٣", "x" * 300, "99999", "a,b,,../c"])
    async def test_no_annotation_can_keep_a_pod_from_starting(self, client: Client, team: str, value: str) -> None:
        names = ("secrets", "port", "log-level", "cpu-request", "cpu-limit", "memory-request", "memory-limit", "image")
        created = await client.pod(team, pod(annotations={f"llmroute.dev/{name}": value for name in names}))
        assert created.status == 201, created.object
        assert is_injected(created.object)
        assert created.warnings

    async def test_the_largest_pod(self, client: Client, team: str) -> None:
        given = pod(app(args=["<" * 1_000_000, "x" * 1_900_000]))
        await injected(client, team, given, dry=True)  # more than etcd takes, less than the API server reads

    async def test_a_dry_run(self, client: Client, team: str) -> None:
        await injected(client, team, pod(), dry=True)


@contextlib.asynccontextmanager
async def later_webhook(cluster: InjectingCluster, client: Client, namespace: str, folder: Path) -> AsyncIterator[None]:
    """Another mutating webhook, called after ours, that adds a container."""

    async def add(request: web.Request) -> web.Response:
        asked = (await request.json())["request"]
        response = {"uid": asked["uid"], "allowed": True}
        if not any(one["name"] == "late" for one in asked["object"]["spec"]["containers"]):
            patch = [{"op": "add", "path": "/spec/containers/-", "value": app("late")}]
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})

    other = web.Application()
    other.router.add_post("/", add)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issue(cluster.authority, folder)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    runner = web.AppRunner(other)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    bundle = base64.b64encode(cluster.authority.cert_pem.bytes()).decode()
    webhook = {
        "name": "late.example.com",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": f"https://127.0.0.1:{runner.addresses[0][1]}/", "caBundle": bundle},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "sideEffects": "None",
    }
    try:
        await client.create(CONFIGURATIONS, {"metadata": {"name": "zz-late"}, "webhooks": [webhook]})
        yield
    finally:
        await client.delete(f"{CONFIGURATIONS}/zz-late")
        await runner.cleanup()


async def test_a_container_that_a_later_webhook_adds_gets_its_environment(
    cluster: InjectingCluster, client: Client, team: str, tmp_path: Path
) -> None:
    async with later_webhook(cluster, client, team, tmp_path):
        async with asyncio.timeout(30):
            while True:
                before, made = cluster.reviews(), (await client.pod(team, pod())).object
                if len(made["spec"]["containers"]) == 2:
                    break
                await asyncio.sleep(0.1)
    assert environment(made, "late") == environment(made)
    assert cluster.reviews() - before == {"injected": 1, "completed": 1}


async def test_whatever_makes_the_pods(cluster: InjectingCluster, client: Client, team: str) -> None:
    labels = {"app": "shop"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [app()]}}
    once = {"template": {"spec": {"containers": [app()], "restartPolicy": "Never"}}}
    apps, batch = f"/apis/apps/v1/namespaces/{team}", f"/apis/batch/v1/namespaces/{team}"
    lasting = {"selector": {"matchLabels": labels}, "template": template}
    with controllers(cluster):
        for path, kind, spec in (
            (f"{apps}/deployments", "Deployment", lasting),
            (f"{apps}/statefulsets", "StatefulSet", {**lasting, "serviceName": "shop"}),
            (f"{batch}/jobs", "Job", once),
            (f"{batch}/cronjobs", "CronJob", {"schedule": "* * * * *", "jobTemplate": {"spec": once}}),
        ):
            made = await client.create(path, {"kind": kind, "metadata": {"name": kind.lower()}, "spec": spec})
            assert made.status == 201, made.object
        hour_ago = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        await client.merge(f"{batch}/cronjobs/cronjob/status", {"status": {"lastScheduleTime": hour_ago}})
        async with asyncio.timeout(60):
            while len(pods := await client.pods(team)) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    assert all(is_injected(one) for one in pods)
    assert {one["metadata"]["annotations"]["llmroute.dev/workload"] for one in pods} == {
        "Deployment/deployment",
        "StatefulSet/statefulset",
        "Job/job",
        "CronJob/cronjob",
    }


async def test_without_an_injector_pods_start_and_are_known_to_lack_it(
    cluster: InjectingCluster, client: Client, team: str
) -> None:
    cluster.stop()
    created = await client.pod(team, pod())
    assert created.status == 201
    assert pod_of(created.object).misses_sidecar(ENABLED)
    assert cluster.process.returncode == 0

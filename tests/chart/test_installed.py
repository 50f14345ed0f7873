"""The chart on a real API server: what it takes, what the operator then may do, and what outlives upgrades."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.chart.charts import EVERYTHING, NAMESPACED, OWN, RELEASE_NAME, Helm, Manifest, Release, Values
from tests.operator.apiserver import ApiServer
from tests.operator.test_scaling import CRDS, KEDA

from llmroute_operator import names
from llmroute_operator.cluster import PATCHES, Call, Cluster
from llmroute_operator.errors import ClusterError, Forbidden
from llmroute_operator.objects import sidecars_service
from llmroute_operator.paths import collection, member

OPERATOR = f"system:serviceaccount:{OWN}:llmroute-operator"
INJECTOR = f"system:serviceaccount:{OWN}:llmroute-injector"
FOREIGN = ("PodMonitor", "PrometheusRule", "Certificate", "Issuer")
"""Kinds that others bring."""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def installed(helm: Helm, api_server: ApiServer) -> Release:
    """With the default values; who changes that brings them back."""
    release = Release(helm, str(api_server.admin))
    release.upgrade()
    return release


@pytest.fixture
async def operator(
    api_server: ApiServer, installed: Release, cluster: Cluster, namespace: str
) -> AsyncIterator[Cluster]:
    """The API server as the operator sees it, once both policies are in force: that takes the server a moment."""
    kubeconfig = api_server.kubeconfig(OPERATOR, "system:serviceaccounts")
    kubeconfig = kubeconfig.rename(api_server.folder / "operator.kubeconfig")  # a colon would divide it into two
    async with Cluster(str(kubeconfig)) as opened:
        probe = (await cluster.create("pods", namespace, pod()))["metadata"]["name"]
        await _refused(tried(opened, "PATCH", member("pods", namespace, probe), {"metadata": {"labels": {"a": "b"}}}))
        await _refused(tried(opened, "POST", collection("secrets", namespace), {"metadata": {"name": "probe"}}))
        yield opened


@pytest.fixture
async def namespace(cluster: Cluster) -> str:
    name = f"shop-{next(_numbers)}"
    await cluster.create("namespaces", None, {"metadata": {"name": name}})
    return name


async def may(cluster: Cluster, user: str, verb: str, resource: str, **where: str) -> bool:
    """Whether the API server would allow it."""
    group, _, plain = resource.rpartition("/")
    attributes = {"verb": verb, "group": group, "resource": plain, **where}
    spec = {
        "user": user,
        "groups": ["system:authenticated", "system:serviceaccounts"],
        "resourceAttributes": attributes,
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    return bool((await cluster.call(Call(verb="POST", path=path, body=body)))["status"]["allowed"])


@pytest.mark.parametrize("values", [{}, EVERYTHING, NAMESPACED], ids=["default", "everything", "namespaced"])
async def test_the_server_takes_every_manifest_to_the_letter(helm: Helm, cluster: Cluster, values: Values) -> None:
    for name in (OWN, "shop", "bank"):
        if not await cluster.read("namespaces", None, name):
            await cluster.create("namespaces", None, {"metadata": {"name": name}})

    for manifest in helm.manifests({**values, "crd": {"install": False}}):
        if manifest["kind"] not in FOREIGN:
            await _try(cluster, manifest)


async def _try(cluster: Cluster, manifest: Manifest) -> None:
    """Server-side dry run; a field that the server does not know is an error."""
    group = manifest["apiVersion"].rpartition("/")[0]
    plural = "networkpolicies" if manifest["kind"] == "NetworkPolicy" else f"{manifest['kind'].lower()}s"
    plural = plural.replace("policys", "policies")
    root = f"/apis/{manifest['apiVersion']}" if group else f"/api/{manifest['apiVersion']}"
    inside = f"/namespaces/{manifest['metadata']['namespace']}" if "namespace" in manifest["metadata"] else ""
    renamed = {**manifest, "metadata": {**manifest["metadata"], "name": f"{manifest['metadata']['name']}-tried"}}
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    await cluster.call(Call(verb="POST", path=f"{root}{inside}/{plural}", query=query, body=renamed))


async def test_users_secrets_are_out_of_reach(installed: Release, cluster: Cluster, namespace: str) -> None:
    for verb in ("get", "list", "watch", "update", "patch", "delete"):
        assert not await may(cluster, OPERATOR, verb, "secrets", namespace=namespace, name=names.CREDENTIALS_SECRET)
        assert not await may(cluster, OPERATOR, verb, "secrets", namespace=namespace)
        assert not await may(cluster, OPERATOR, verb, "secrets")

    assert await may(cluster, OPERATOR, "get", "secrets", namespace=namespace, name=names.FLEET_SECRET)
    assert await may(cluster, OPERATOR, "get", "secrets", namespace=OWN, name=names.CERTIFICATE_SECRET)
    assert not await may(cluster, OPERATOR, "get", "secrets", namespace=namespace, name=names.CERTIFICATE_SECRET)


async def test_the_operator_may_do_its_work_and_not_more(installed: Release, cluster: Cluster, namespace: str) -> None:
    config = {"namespace": namespace, "name": names.CONFIG}
    allowed: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("list", "llmroute.dev/llmroutes", {}),
        ("watch", "llmroute.dev/llmroutes", {}),
        ("patch", "llmroute.dev/llmroutes", {"namespace": namespace, "subresource": "status"}),
        ("create", "configmaps", {"namespace": namespace}),
        ("update", "configmaps", config),
        ("list", "pods", {}),
        ("patch", "pods", {"namespace": namespace}),
        ("create", "coordination.k8s.io/leases", {"namespace": OWN}),
        ("update", "coordination.k8s.io/leases", {"namespace": OWN, "name": names.LEASE}),
        ("patch", "admissionregistration.k8s.io/mutatingwebhookconfigurations", {"name": "llmroute-injector"}),
        ("create", "keda.sh/scaledobjects", {"namespace": namespace}),
    )
    for verb, resource, where in allowed:
        assert await may(cluster, OPERATOR, verb, resource, **where), (verb, resource)
    forbidden: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("patch", "llmroute.dev/llmroutes", {"namespace": namespace}),
        ("delete", "configmaps", config),
        ("get", "configmaps", {"namespace": namespace, "name": "app-settings"}),
        ("list", "configmaps", {}),
        ("delete", "pods", {"namespace": namespace}),
        ("create", "pods", {"namespace": namespace}),
        ("get", "pods", {"namespace": namespace, "subresource": "exec"}),
        ("update", "coordination.k8s.io/leases", {"namespace": "kube-system", "name": names.LEASE}),
        ("patch", "admissionregistration.k8s.io/mutatingwebhookconfigurations", {"name": "istio-sidecar-injector"}),
        ("patch", "nodes", {"name": "node"}),
        ("create", "rbac.authorization.k8s.io/rolebindings", {"namespace": namespace}),
    )
    for verb, resource, where in forbidden:
        assert not await may(cluster, OPERATOR, verb, resource, **where), (verb, resource)


async def test_the_injector_may_do_nothing(installed: Release, cluster: Cluster, namespace: str) -> None:
    for resource in ("pods", "secrets", "configmaps", "llmroute.dev/llmroutes"):
        for verb in ("get", "list", "create", "patch"):
            assert not await may(cluster, INJECTOR, verb, resource, namespace=namespace)


async def test_who_may_edit_a_namespace_may_edit_its_routes(installed: Release, cluster: Cluster) -> None:
    """The aggregation itself is the controller manager's; the label that it goes by is the chart's."""
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/llmroute-edit"
    role = await cluster.call(Call(verb="GET", path=path))

    assert role["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert role["rules"][0]["resources"] == ["llmroutes"]


def pod(**metadata: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"app-{next(_numbers)}", "annotations": {"team": "shop"}, **metadata},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    }


def tried(cluster: Cluster, verb: str, path: str, body: Manifest) -> Callable[[], Awaitable[Manifest]]:
    """A call that the server judges and does not carry out."""
    how = PATCHES["merge"] if verb == "PATCH" else "application/json"
    return lambda: cluster.call(Call(verb=verb, path=path, query={"dryRun": "All"}, body=body, content_type=how))


async def _refused(attempt: Callable[[], Awaitable[Manifest]]) -> None:
    for _ in range(100):
        try:
            await attempt()
        except Forbidden:
            return
        await asyncio.sleep(0.2)
    raise AssertionError("the policy never came into force")


async def test_the_operator_may_nudge_a_pod(cluster: Cluster, operator: Cluster, namespace: str) -> None:
    made = await cluster.create("pods", namespace, pod(labels={"app": "shop"}))
    name = made["metadata"]["name"]

    for change in ({names.REVISION: "abc", names.REGION: "eu"}, {names.REVISION: "def"}, {names.REGION: None}):
        await operator.patch("pods", namespace, name, {"metadata": {"annotations": change}})

    now = await cluster.read("pods", namespace, name)
    assert now is not None
    assert now["metadata"]["annotations"] == {"team": "shop", names.REVISION: "def"}


async def test_the_operator_may_nudge_a_pod_without_annotations(
    cluster: Cluster, operator: Cluster, namespace: str
) -> None:
    made = await cluster.create("pods", namespace, pod(annotations={}))

    nudge = {"metadata": {"annotations": {names.REVISION: "abc"}}}
    now = await operator.patch("pods", namespace, made["metadata"]["name"], nudge)

    assert now["metadata"]["annotations"] == {names.REVISION: "abc"}


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"annotations": {"team": "bank"}}},
        {"metadata": {"annotations": {"team": None}}},
        {"metadata": {"annotations": {"new": "one"}}},
        {"metadata": {"annotations": {names.SECRETS: "others"}}},
        {"metadata": {"annotations": {names.REVISION: "abc", names.IMAGE: "evil:1"}}},
        {"metadata": {"labels": {"app": "bank"}}},
        {"metadata": {"labels": None}},
        {"metadata": {"finalizers": ["held.example.com/forever"]}},
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y"}]}},
        {"spec": {"containers": [{"name": "app", "image": "evil:1"}]}},
        {"spec": {"activeDeadlineSeconds": 1}},
        {"metadata": {"annotations": {names.REVISION: "abc"}}, "spec": {"activeDeadlineSeconds": 1}},
    ],
    ids=str,
)
async def test_the_operator_may_change_nothing_else_of_a_pod(
    cluster: Cluster, operator: Cluster, namespace: str, change: Manifest
) -> None:
    made = await cluster.create("pods", namespace, pod(labels={"app": "shop"}))
    name = made["metadata"]["name"]

    with pytest.raises(Forbidden, match="the operator may change no"):
        await operator.patch("pods", namespace, name, change)

    assert await cluster.read("pods", namespace, name) == made


async def test_the_policies_are_about_nobody_else(installed: Release, cluster: Cluster, namespace: str) -> None:
    made = await cluster.create("pods", namespace, pod())

    await cluster.patch("pods", namespace, made["metadata"]["name"], {"metadata": {"labels": {"app": "bank"}}})
    await cluster.create("secrets", namespace, {"metadata": {"name": "anything"}})


async def test_the_operator_may_write_no_secret_that_could_hold_a_token(operator: Cluster, namespace: str) -> None:
    """With a Secret of this type and a name that it may read, it could become any ServiceAccount of the namespace."""
    stolen = {
        "metadata": {"name": names.FLEET_SECRET, "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    }

    with pytest.raises(Forbidden, match="no other Secrets than its own"):
        await operator.create("secrets", namespace, stolen)

    made = await operator.create(
        "secrets", namespace, {"metadata": {"name": names.FLEET_SECRET}, "data": {"key": "a2V5"}}
    )
    with pytest.raises(ClusterError):
        await operator.replace("secrets", namespace, {**made, "type": stolen["type"]})


async def test_the_operator_may_write_no_secrets_of_other_names(operator: Cluster, namespace: str) -> None:
    with pytest.raises(Forbidden, match="no other Secrets"):
        await operator.create("secrets", namespace, {"metadata": {"name": names.CREDENTIALS_SECRET}})


async def test_the_operator_may_write_the_injectors_certificate_in_its_own_namespace(
    operator: Cluster, namespace: str
) -> None:
    certificate = {
        "metadata": {"name": names.CERTIFICATE_SECRET},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": "", "tls.key": ""},
    }

    await tried(operator, "POST", collection("secrets", OWN), certificate)()
    with pytest.raises(Forbidden, match="no other Secrets"):
        await operator.create("secrets", namespace, certificate)


@pytest.mark.parametrize(
    ("kind", "own", "change"),
    [
        ("configmaps", {"metadata": {"name": names.CONFIG}}, {"metadata": {"name": "app-settings"}}),
        ("services", None, {"metadata": {"name": "shop"}}),
        ("services", None, {"spec": {"clusterIP": None, "type": "NodePort"}}),
        ("services", None, {"spec": {"externalIPs": ["203.0.113.1"]}}),
    ],
    ids=str,
)
async def test_the_operator_may_create_no_configmap_or_service_but_its_own(
    operator: Cluster, namespace: str, kind: str, own: Manifest | None, change: Manifest
) -> None:
    own = own or sidecars_service(namespace)
    others = {**own, **{part: {**own.get(part, {}), **fields} for part, fields in change.items()}}
    await _refused(tried(operator, "POST", collection(kind, namespace), others))

    made = await operator.create(kind, namespace, own)
    await operator.replace(kind, namespace, made)


async def test_the_operator_may_touch_nobody_elses_scaledobjects(
    cluster: Cluster, operator: Cluster, namespace: str
) -> None:
    theirs: Manifest = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "theirs"}}
    label = {"metadata": {"labels": {names.MANAGED_BY: names.MANAGED_BY_VALUE}}}
    ours = {**theirs, "metadata": {"name": "ours", **label["metadata"]}}
    await cluster.call(Call(verb="POST", path=CRDS, body=KEDA))
    await _patiently(lambda: cluster.create("scaledobjects", namespace, theirs))
    place = member("scaledobjects", namespace, "theirs")

    await _refused(tried(operator, "DELETE", place, {}))
    await _refused(tried(operator, "PATCH", place, label))
    await _refused(
        tried(operator, "POST", collection("scaledobjects", namespace), {**theirs, "metadata": {"name": "x"}})
    )

    await operator.create("scaledobjects", namespace, ours)
    await operator.patch("scaledobjects", namespace, "ours", {"spec": {"minReplicaCount": 2}})
    await operator.delete("scaledobjects", namespace, "ours")


async def bundles(cluster: Cluster) -> list[str | None]:
    found = await cluster.read("mutatingwebhookconfigurations", None, "llmroute-injector")
    assert found is not None
    return [hook["clientConfig"].get("caBundle") for hook in found["webhooks"]]


async def test_the_webhooks_authority_outlives_upgrades_and_rollbacks(
    installed: Release, cluster: Cluster, operator: Cluster
) -> None:
    authority = "Q0E="
    changes = [{"op": "add", "path": f"/webhooks/{n}/clientConfig/caBundle", "value": authority} for n in (0, 1)]
    await operator.patch("mutatingwebhookconfigurations", None, "llmroute-injector", changes, how="json")

    await asyncio.to_thread(installed.upgrade, {"injector": {"timeoutSeconds": 7, "excludedNamespaces": ["databases"]}})
    assert await bundles(cluster) == [authority] * 2

    found = await cluster.read("mutatingwebhookconfigurations", None, "llmroute-injector")
    assert found is not None
    assert [hook["timeoutSeconds"] for hook in found["webhooks"]] == [7, 7]

    await asyncio.to_thread(installed.helm, "rollback", RELEASE_NAME)
    assert await bundles(cluster) == [authority] * 2


async def test_an_upgrade_brings_the_resources_changes(installed: Release, cluster: Cluster) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/llmroutes.llmroute.dev"
    await asyncio.to_thread(installed.upgrade, {"crd": {"install": False}})
    assert await cluster.call(Call(verb="GET", path=path))  # no upgrade takes it away, either

    await asyncio.to_thread(installed.upgrade)

    crd = await cluster.call(Call(verb="GET", path=path))
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


async def test_uninstalling_leaves_routes_and_what_sidecars_read(
    installed: Release, cluster: Cluster, operator: Cluster, namespace: str
) -> None:
    target = {"name": "openai", "provider": "openai", "model": "gpt-4o-mini"}
    route = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": "chat"},
        "spec": {"targets": [target]},
    }
    await _patiently(lambda: cluster.create("llmroutes", namespace, route))
    await operator.create(
        "configmaps", namespace, {"metadata": {"name": names.CONFIG}, "data": {names.CONFIG_KEY: "{}"}}
    )

    await asyncio.to_thread(installed.helm, "uninstall", RELEASE_NAME)

    assert await cluster.read("llmroutes", namespace, "chat")
    assert await cluster.read("configmaps", namespace, names.CONFIG)
    assert not await cluster.read("mutatingwebhookconfigurations", None, "llmroute-injector")
    await asyncio.to_thread(installed.upgrade)  # the next installation takes the resource over
    assert await cluster.read("llmroutes", namespace, "chat")


async def _patiently(attempt: Callable[[], Awaitable[Any]]) -> None:
    """A new kind takes the API server a moment."""
    for _ in range(50):
        try:
            await attempt()
        except ClusterError:
            await asyncio.sleep(0.2)
        else:
            return
    raise AssertionError("it never succeeded")

"""What the chart renders, for what values, and which values it refuses."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
import yaml
from tests.chart.charts import (
    CHART,
    EVERYTHING,
    NAMESPACED,
    OWN,
    SNAPSHOTS,
    Helm,
    Manifest,
    Refused,
    Values,
    environment,
    of_kind,
    the,
)
from tests.operator import rights

import llmroute
from llmroute_operator import injection_settings, names, settings

CASES: dict[str, Values] = {"default": {}, "everything": EVERYTHING, "namespaced": NAMESPACED}


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_lint_finds_nothing(helm: Helm, values: Values) -> None:
    helm.run("lint", "--strict", "--kube-version", "1.34.4", str(CHART), values=values)


@pytest.mark.parametrize("case", CASES)
def test_manifests_are_as_reviewed(helm: Helm, case: str) -> None:
    """UPDATE_SNAPSHOTS=1 writes them anew, for the next review."""
    copies = ("CustomResourceDefinition", "PrometheusRule")  # of files that are reviewed themselves
    manifests = [one for one in helm.manifests(CASES[case]) if one["kind"] not in copies]
    for one in manifests:
        if one["metadata"]["name"] == "llmroute-dashboard":
            one["data"] = sorted(one["data"])
    text = yaml.safe_dump_all(manifests, sort_keys=True, width=120).replace(llmroute.__version__, "VERSION")
    snapshot = SNAPSHOTS / f"{case}.yaml"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        snapshot.write_text(text)
    assert text == snapshot.read_text()


def test_the_chart_installs_the_images_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["appVersion"] == chart["version"] == llmroute.__version__
    readme = (CHART.parents[1] / "README.md").read_text()
    assert (
        f"load docker-image llmroute/sidecar:{llmroute.__version__} llmroute/operator:{llmroute.__version__}" in readme
    )


def test_the_resource_comes_among_the_templates_and_stays(helm: Helm) -> None:
    crd = the(helm.manifests(), "CustomResourceDefinition", "llmroutes.llmroute.dev")
    generated = yaml.safe_load((CHART.parents[1] / "crds/llmroutes.yaml").read_text())

    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert crd["spec"] == generated["spec"]
    assert not (CHART / "crds").exists()  # Helm installs what is in there once, and never again


@pytest.mark.parametrize("case", CASES)
def test_pods_meet_the_restricted_standard(helm: Helm, case: str) -> None:
    for deployment in of_kind(helm.manifests(CASES[case]), "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_where_the_cluster_assigns_users_none_is_named(helm: Helm) -> None:
    manifests = helm.manifests({"clusterAssignsUsers": True})

    for deployment in of_kind(manifests, "Deployment"):
        assert "runAsUser" not in deployment["spec"]["template"]["spec"]["securityContext"]
    assert environment(manifests, "llmroute-injector")["LLMROUTE_SIDECAR_USER"] == "any"


@pytest.mark.parametrize("case", CASES)
def test_the_operator_and_the_injector_take_what_the_chart_tells_them(helm: Helm, case: str) -> None:
    """By the code that will read it: a variable that is misspelt or refused fails here."""
    manifests = helm.manifests(CASES[case])

    told = settings.from_environment(environment(manifests, "llmroute-operator"))
    injected = injection_settings.from_environment(environment(manifests, "llmroute-injector"))

    values: dict[str, Any] = {"operator": {}, "autoscaling": {}, **CASES[case]}
    assert told.namespaces == tuple(sorted(values.get("namespaces", [])))
    assert told.nudge == values["operator"].get("nudge", True)
    assert told.autoscaling == values["autoscaling"].get("enabled", True)
    assert told.prometheus_address == values["autoscaling"].get("prometheusAddress", "")
    assert told.scale_up_after == values["autoscaling"].get("scaleUpSeconds", 30)
    assert told.scale_down_after == values["autoscaling"].get("scaleDownSeconds", 300)
    assert injected.injection.defaults.image.endswith((f"llmroute/sidecar:{llmroute.__version__}", "0" * 64))
    assert injected.injection.defaults.cpu.request == "50m"


def test_names_are_those_of_the_code(helm: Helm) -> None:
    manifests = helm.manifests()

    the(manifests, "Service", names.INJECTOR_SERVICE)
    (webhook,) = of_kind(manifests, "MutatingWebhookConfiguration")
    told = settings.from_environment(environment(manifests, "llmroute-operator"))
    assert told.webhook_name == webhook["metadata"]["name"]
    assert told.injector_service == names.INJECTOR_SERVICE
    assert told.certificate_secret == names.CERTIFICATE_SECRET
    injector = the(manifests, "Deployment", "llmroute-injector")["spec"]["template"]["spec"]
    assert injector["volumes"][0]["secret"]["secretName"] == names.CERTIFICATE_SECRET


def test_the_injector_has_no_rights_and_no_token(helm: Helm) -> None:
    manifests = helm.manifests()
    injector = the(manifests, "Deployment", "llmroute-injector")["spec"]["template"]["spec"]

    assert injector["automountServiceAccountToken"] is False
    for binding in of_kind(manifests, "RoleBinding", "ClusterRoleBinding"):
        assert [subject["name"] for subject in binding["subjects"]] == ["llmroute-operator"]


def rules(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The operator's rules, with the namespace that they hold in; "" is everywhere."""
    for role in of_kind(manifests, "Role", "ClusterRole"):
        if role["metadata"]["name"] == "llmroute-operator":
            for rule in role["rules"]:
                yield role["metadata"].get("namespace", ""), rule


@pytest.mark.parametrize("case", CASES)
def test_no_rule_is_wide(helm: Helm, case: str) -> None:
    for namespace, rule in rules(helm.manifests(CASES[case])):
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])
        if "secrets" in rule["resources"]:
            readable = rule.get("resourceNames", [])
            assert rule["verbs"] == (["get", "update"] if readable else ["create"])
            assert readable in ([], ["llmroute-fleet"], ["llmroute-injector-tls"])
            assert readable != ["llmroute-injector-tls"] or namespace == OWN


def test_the_right_to_patch_pods_can_be_left_out(helm: Helm) -> None:
    def verbs(values: Values) -> set[str]:
        return {
            verb for _, rule in rules(helm.manifests(values)) if "pods" in rule["resources"] for verb in rule["verbs"]
        }

    assert verbs({}) == {"list", "watch", "patch"}
    assert verbs({"operator": {"nudge": False}}) == {"list", "watch"}


def single(rules: Iterable[Mapping[str, Any]]) -> set[tuple[str, ...]]:
    """Group, resource, verb and name ("" is any) of all that some rules grant."""
    return {
        (group, resource, verb, name)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def test_the_operator_gets_the_rights_that_it_is_tested_with_and_no_others(helm: Helm) -> None:
    """The tests of the operator run it with these on a real API server: they are enough."""
    webhooks = ("admissionregistration.k8s.io", "mutatingwebhookconfigurations")
    certificate = [
        rights.rule("", "secrets", "create"),
        rights.rule("", "secrets", "get update", names.CERTIFICATE_SECRET),
    ]

    authority = rights.rule(*webhooks, "get patch", "llmroute-injector")

    found = list(rules(helm.manifests()))
    assert single(rule for where, rule in found if not where) == single(
        [*rights.SERVED, *rights.WHOLE_CLUSTER, authority]
    )
    assert single(rule for where, rule in found if where == OWN) == single([*rights.OWN, *certificate])

    listed = helm.manifests({**NAMESPACED, "operator": {"nudge": True}, "autoscaling": {"enabled": True}})
    for namespace in ("shop", "bank"):
        assert single(rule for where, rule in rules(listed) if where == namespace) == single(rights.SERVED)
    assert single(rule for where, rule in rules(listed) if where == OWN) == single(rights.OWN)


def test_with_a_list_of_namespaces_nothing_reaches_beyond_them(helm: Helm) -> None:
    manifests = helm.manifests(NAMESPACED)

    assert not of_kind(manifests, "ClusterRole", "ClusterRoleBinding")
    assert {role["metadata"]["namespace"] for role in of_kind(manifests, "Role", "RoleBinding")} == {
        OWN,
        "shop",
        "bank",
    }
    (webhook,) = of_kind(manifests, "MutatingWebhookConfiguration")
    for hook in webhook["webhooks"]:
        here = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop", "bank"]}
        assert here in hook["namespaceSelector"]["matchExpressions"]


def test_no_pod_is_sent_to_the_injector_twice_nor_ever_one_of_its_own_namespace(helm: Helm) -> None:
    (webhook,) = of_kind(
        helm.manifests({"injector": {"excludedNamespaces": ["databases"]}}), "MutatingWebhookConfiguration"
    )

    of_namespaces, of_pods = webhook["webhooks"]
    opted = [hook["namespaceSelector"]["matchExpressions"][0] for hook in (of_namespaces, of_pods)]
    assert opted == [{"key": names.INJECTION, "operator": word, "values": ["enabled"]} for word in ("In", "NotIn")]
    for hook in webhook["webhooks"]:
        left_out = hook["namespaceSelector"]["matchExpressions"][1]["values"]
        assert left_out == ["kube-system", "kube-public", "kube-node-lease", OWN, "databases"]


def test_the_webhooks_authority_is_named_only_where_it_is_provided(helm: Helm) -> None:
    """What the operator or cert-manager puts there must outlive upgrades: Helm leaves alone what no chart names."""
    for values, expected in ((EVERYTHING, set()), ({}, set()), (NAMESPACED, {"Q0E="})):
        (webhook,) = of_kind(helm.manifests(values), "MutatingWebhookConfiguration")
        assert {hook["clientConfig"].get("caBundle") for hook in webhook["webhooks"]} - {None} == expected


def test_before_kubernetes_1_30_there_are_no_policies(helm: Helm) -> None:
    assert of_kind(helm.manifests(), "ValidatingAdmissionPolicy")
    assert not of_kind(helm.manifests(kubernetes="1.29.0"), "ValidatingAdmissionPolicy")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"replicas": 3}, "replicas"),
        ({"operator": {"replicas": 0}}, "/operator/replicas"),
        ({"operator": {"logLevel": "loud"}}, "/operator/logLevel"),
        ({"injector": {"failurePolicy": "Retry"}}, "/injector/failurePolicy"),
        ({"injector": {"timeoutSeconds": 60}}, "/injector/timeoutSeconds"),
        ({"sidecar": {"cpuRequest": ""}}, "/sidecar/cpuRequest"),
        ({"sidecar": {"memoryLimit": "lots"}}, "/sidecar/memoryLimit"),
        ({"images": {"sidecar": {"digest": "sha256:1"}}}, "/images/sidecar/digest"),
        ({"namespaces": "shop"}, "/namespaces"),
        ({"autoscaling": {"prometheusAddress": "prometheus:9090"}}, "/autoscaling/prometheusAddress"),
        ({"autoscaling": {"scaleDownSeconds": 3601}}, "/autoscaling/scaleDownSeconds"),
        ({"certificates": {"method": "by-hand"}}, "/certificates/method"),
        ({"namespaces": ["shop"]}, "set certificates.method to cert-manager or provided"),
        ({"certificates": {"method": "provided"}}, "set certificates.provided.secretName"),
        ({"namespaces": [OWN], "certificates": {"method": "cert-manager"}}, "install into another"),
    ],
)
def test_wrong_values_are_refused_by_name(helm: Helm, values: Values, complaint: str) -> None:
    with pytest.raises(Refused) as refused:
        helm.text(values)

    assert complaint in str(refused.value)


def test_kubernetes_without_native_sidecars_is_refused(helm: Helm) -> None:
    with pytest.raises(Refused, match=r"kubeVersion: >=1\.29"):
        helm.text(kubernetes="1.28.0")

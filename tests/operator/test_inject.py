"""Which pods get a sidecar, and where in the pod it goes."""

from typing import Any

import pytest
from tests.operator.injected_pods import KEYS, OURS, app, environment, patched, pod, review, sidecar

from llmroute_operator.inject import is_injected
from llmroute_operator.pods import pod_of

ENABLED = {"llmroute.dev/injection": "enabled"}


class TestRefused:
    """Left alone, with a warning that says why."""

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            (pod(hostNetwork=True), "hostNetwork"),
            (pod(os={"name": "windows"}), "Linux only"),
            (pod(nodeSelector={"kubernetes.io/os": "windows"}), "Linux only"),
            (pod(annotations={"kubernetes.io/config.mirror": "x"}), "static pod"),
            (pod(app("llmroute-sidecar")), "container named llmroute-sidecar"),
            (pod(initContainers=[app("llmroute-sidecar", restartPolicy="Always")]), "container named llmroute-sidecar"),
            (pod(volumes=[{"name": "llmroute-config", "emptyDir": {}}]), "volume named llmroute-config"),
            (pod(volumes=[{"name": "llmroute-secret-7", "emptyDir": {}}]), "volume named llmroute-secret-7"),
            (pod(app(ports=[{"containerPort": 4000}])), "annotate llmroute.dev/port"),
            (pod(app(ports=[{"containerPort": 4001}])), "listens on 4001"),
            (pod(app(ports=[{"containerPort": 5000}]), annotations={"llmroute.dev/port": "5000"}), "listens on 5000"),
        ],
    )
    def test_a_pod_that_cannot_have_a_sidecar(self, given: dict[str, Any], why: str) -> None:
        injected = review(given)
        assert (injected.outcome, injected.patch) == ("refused", [])
        (warning,) = injected.warnings
        assert warning.startswith("no sidecar: ")
        assert why in warning
        assert not pod_of(given).misses_sidecar(ENABLED)

    def test_ports_that_do_not_collide_are_no_reason(self) -> None:
        udp = app("udp", ports=[{"containerPort": 4000, "protocol": "UDP"}])
        moved = app("moved", ports=[{"containerPort": 4000}])
        assert review(pod(udp)).outcome == "injected"
        assert review(pod(moved, annotations={"llmroute.dev/port": "4010"})).outcome == "injected"


class TestUntouched:
    def test_a_pod_that_opts_out(self) -> None:
        assert review(pod(labels={"llmroute.dev/inject": "false"})).patch == []

    @pytest.mark.parametrize("namespace", ["kube-system", "kube-node-lease", "llmroute"])
    def test_namespaces_that_are_not_for_apps(self, namespace: str) -> None:
        assert review(pod(), namespace).patch == []

    def test_a_pod_that_has_its_sidecar(self) -> None:
        again = review(patched(pod()))
        assert (again.outcome, again.patch, again.warnings) == ("unchanged", [], [])


class TestInjected:
    def test_a_bare_pod_gets_all_of_it_and_nothing_else_changes(self) -> None:
        given = pod(labels={"app": "shop"}, annotations={"note": "mine"}, serviceAccountName="shop")
        after = patched(given)
        assert is_injected(after)
        assert after["metadata"]["labels"] == {"app": "shop", "llmroute.dev/sidecar": "true"}
        assert after["metadata"]["annotations"] == {"note": "mine", "llmroute.dev/workload": "Pod/shop"}
        assert environment(after) == {**OURS, **KEYS}
        assert [one["name"] for one in after["spec"]["initContainers"]] == ["llmroute-sidecar"]
        assert after["spec"]["serviceAccountName"] == "shop"

    def test_a_pod_without_name_namespace_labels_and_with_nulls(self) -> None:
        nothing = {"labels": None, "annotations": None, "name": None, "namespace": None}
        given = pod(
            app(env=None, envFrom=None, ports=None),
            metadata={**nothing, "generateName": "batch-", "creationTimestamp": None},
            volumes=None,
            initContainers=None,
        )
        after = patched(given)
        assert is_injected(after)
        assert after["metadata"]["annotations"] == {"llmroute.dev/workload": "Pod/batch"}

    def test_a_pod_without_metadata(self) -> None:
        given = pod()
        del given["metadata"]
        after = patched(given)
        assert after["metadata"] == {"labels": {"llmroute.dev/sidecar": "true"}}

    def test_the_sidecar_comes_before_init_containers_that_may_call_models(self) -> None:
        given = pod(initContainers=[app("migrate"), app("logs", restartPolicy="Always")])
        after = patched(given)
        assert [one["name"] for one in after["spec"]["initContainers"]] == ["llmroute-sidecar", "migrate", "logs"]
        assert environment(after, "migrate") == {**OURS, **KEYS}
        assert environment(after, "logs") == {}

    def test_existing_volumes_stay_in_their_places(self) -> None:
        given = pod(volumes=[{"name": "mine", "emptyDir": {}}])
        names = [one["name"] for one in patched(given)["spec"]["volumes"]]
        assert names == [
            "mine",
            "llmroute-config",
            "llmroute-state",
            "llmroute-fleet",
            "llmroute-no-token",
            "llmroute-secret-0",
        ]

    def test_a_forged_mark_without_a_sidecar_is_put_right(self) -> None:
        marks = {"llmroute.dev/sidecar": "false"}
        after = patched(pod(labels=marks, annotations={"llmroute.dev/workload": "Deployment/other"}))
        assert is_injected(after)
        assert after["metadata"]["annotations"]["llmroute.dev/workload"] == "Pod/shop"

    def test_a_container_that_a_later_webhook_adds_gets_its_environment(self) -> None:
        after = patched(pod(annotations={"llmroute.dev/port": "4010"}))
        after["spec"]["containers"].append(app("late"))
        after["spec"]["initContainers"].insert(0, app("first"))
        again = review(after)
        assert again.outcome == "completed"
        completed = patched(after, again)
        assert environment(completed, "late")["LLMROUTE_URL"] == "http://127.0.0.1:4010"
        assert environment(completed, "first") == {}  # it runs before the sidecar
        assert review(completed).patch == []


class TestOtherMeshes:
    """Their rules stand before we connect; their native proxy starts before us and ends after us."""

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (["istio-init"], ["istio-init", "llmroute-sidecar"]),
            (["istio-init", "istio-proxy", "setup"], ["istio-init", "istio-proxy", "llmroute-sidecar", "setup"]),
            (["istio-validation", "setup"], ["istio-validation", "llmroute-sidecar", "setup"]),
            (["linkerd-init", "linkerd-proxy"], ["linkerd-init", "linkerd-proxy", "llmroute-sidecar"]),
            (["setup", "kuma-init"], ["setup", "kuma-init", "llmroute-sidecar"]),
        ],
    )
    def test_the_sidecar_goes_behind_them(self, before: list[str], after: list[str]) -> None:
        result = patched(pod(initContainers=[app(name) for name in before]))
        assert [one["name"] for one in result["spec"]["initContainers"]] == after
        for name in before:
            runs_later = name == "setup" and before[0] != "setup"
            assert bool(environment(result, name)) == runs_later

    def test_their_proxy_gets_no_environment(self) -> None:
        after = patched(pod(app(), app("istio-proxy"), app("daprd")))
        assert environment(after, "istio-proxy") == environment(after, "daprd") == {}

    def test_probes_ask_from_inside_because_a_proxy_that_starts_later_captures_kubelets(self) -> None:
        meshed = sidecar(patched(pod(app(), app("istio-proxy"), initContainers=[app("istio-init")])))
        alone = sidecar(patched(pod(app(), app("daprd"))))
        for probe, path in (("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
            assert alone[probe]["httpGet"] == {"path": path, "port": 4001}
            assert meshed[probe]["exec"]["command"][-1] == path
            assert "httpGet" not in meshed[probe]


class TestDetection:
    @pytest.mark.parametrize(
        ("labels", "namespace", "asked"),
        [
            ({}, {}, False),
            ({}, ENABLED, True),
            ({"llmroute.dev/inject": "false"}, ENABLED, False),
            ({"llmroute.dev/inject": "true"}, {}, True),
            ({"llmroute.dev/inject": "yes"}, {}, False),
            ({"llmroute.dev/inject": "yes"}, ENABLED, True),
            ({}, {"llmroute.dev/injection": "disabled"}, False),
        ],
    )
    def test_a_pod_without_sidecar_lacks_it_where_a_label_asks(
        self, labels: dict[str, str], namespace: dict[str, str], asked: bool
    ) -> None:
        assert pod_of(pod(labels=labels)).misses_sidecar(namespace) is asked

    def test_a_pod_with_its_sidecar_lacks_nothing(self) -> None:
        assert not pod_of(patched(pod())).misses_sidecar(ENABLED)

    @pytest.mark.parametrize(
        "over",
        [
            {"status": {"phase": "Succeeded"}},
            {"status": {"phase": "Failed"}},
            {"metadata": {"name": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
            {"metadata": {"name": "dns", "namespace": "kube-system"}},
        ],
    )
    def test_what_is_over_or_none_of_ours_lacks_nothing(self, over: dict[str, Any]) -> None:
        assert not pod_of({**pod(), **over}).misses_sidecar(ENABLED)

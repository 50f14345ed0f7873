"""`spec.autoscaling` becomes a ScaledObject, or a reason why not; never a second autoscaler of one workload."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from tests.operator.shop import route, target

from llmroute_operator.autoscaling import Plan, Rules, Scalers, plan, scaled_object_name
from llmroute_operator.verdicts import verdicts

RULES = Rules(prometheus="http://prometheus.monitoring.svc:9090")
SCALE = {"targetRef": {"name": "shop"}, "minReplicas": 2, "maxReplicas": 20, "ttft": {"threshold": "1500ms"}}


def scaling(name: str = "chat", **changes: Any) -> dict[str, Any]:
    spec = {"autoscaling": SCALE, **changes}
    return route(name, **{"age": 60, **spec})


def planned(*routes: Any, scaled: Sequence[Any] | None = (), hpas: Sequence[Any] = (), rules: Rules = RULES) -> Plan:
    return plan(routes, verdicts(routes, {}, {}), Scalers(hpas, scaled), rules)


def told(found: Plan, name: str = "chat") -> str:
    aspect = found.aspects[f"uid-of-{name}"]
    return f"{aspect.ok} {aspect.reason}"


def scaler(name: str, *, kind: str = "Deployment", workload: str = "shop", **metadata: Any) -> dict[str, Any]:
    """Somebody's HPA or ScaledObject."""
    return {"metadata": {"name": name, **metadata}, "spec": {"scaleTargetRef": {"kind": kind, "name": workload}}}


def kept(found: Plan, **status: str) -> list[dict[str, Any]]:
    """What was planned, as the API server and KEDA keep it: with defaults and conditions."""
    (wanted,) = found.write
    stored = copy.deepcopy(dict(wanted))
    stored["spec"]["cooldownPeriod"] = 300
    stored["metadata"]["resourceVersion"] = "7"
    stored["status"] = {"conditions": [{"type": kind, "status": value} for kind, value in status.items()]}
    return [stored]


class TestTheScaledObject:
    def test_is_the_routes_own_and_scales_what_it_names(self) -> None:
        (wanted,) = planned(scaling()).write
        assert wanted["metadata"]["name"] == "llmroute-chat"
        assert wanted["metadata"]["namespace"] == "shop"
        (owner,) = wanted["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("LLMRoute", "chat", "uid-of-chat")
        spec = wanted["spec"]
        assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 20)

    def test_has_one_trigger_whose_silence_is_no_zero(self) -> None:
        (wanted,) = planned(scaling()).write
        (trigger,) = wanted["spec"]["triggers"]
        assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
        metadata = trigger["metadata"]
        assert metadata["ignoreNullValues"] == "false"
        assert metadata["threshold"] == "8"
        assert metadata["serverAddress"] == RULES.prometheus
        assert 'namespace="shop",workload="Deployment/shop"' in metadata["query"]
        assert " / 1.5, 1, 1.5)" in metadata["query"]
        assert wanted["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"

    def test_leaves_latency_out_where_no_threshold_is_declared(self) -> None:
        (wanted,) = planned(scaling(autoscaling={"targetRef": {"name": "shop"}, "maxReplicas": 3})).write
        assert "clamp" not in wanted["spec"]["triggers"][0]["metadata"]["query"]

    def test_waits_before_it_scales_and_longer_before_it_scales_down(self) -> None:
        (wanted,) = planned(scaling()).write
        behaviour = wanted["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        assert behaviour["scaleUp"]["stabilizationWindowSeconds"] == 30
        assert behaviour["scaleDown"]["stabilizationWindowSeconds"] == 300

    def test_counts_what_all_send_to_a_model_server_that_is_a_target(self) -> None:
        service = {"name": "vllm", "port": 8000}
        targets = [
            target("api"),
            {**target("own", provider="openai-compatible"), "service": service},
            {**target("each", provider="openai-compatible"), "service": {**service, "endpoints": "each"}},
        ]
        (wanted,) = planned(
            scaling(targets=targets, autoscaling={**SCALE, "targetRef": {"name": "vllm", "kind": "StatefulSet"}})
        ).write
        query = wanted["spec"]["triggers"][0]["metadata"]["query"]
        assert 'namespace="shop",route="shop/chat",target=~"own|each-.+"' in query
        assert "workload" not in query

    def test_has_a_name_that_fits_into_a_label(self) -> None:
        names = {scaled_object_name("r" * 253), scaled_object_name("r" * 252), scaled_object_name("chat")}
        assert len(names) == 3
        assert max(map(len, names)) <= 63

    def test_is_written_once(self) -> None:
        first = planned(scaling())
        assert planned(scaling(), scaled=kept(first)).write == []
        assert len(planned(scaling(autoscaling={**SCALE, "maxReplicas": 30}), scaled=kept(first)).write) == 1

    def test_is_repaired_when_somebody_edits_it(self) -> None:
        stored = kept(planned(scaling()))
        stored[0]["spec"]["triggers"][0]["metadata"]["query"] = "vector(100)"
        assert len(planned(scaling(), scaled=stored).write) == 1

    def test_goes_when_it_is_not_declared_any_more(self) -> None:
        stored = kept(planned(scaling()))
        gone = planned(route(), scaled=[*stored, scaler("theirs", workload="bank")])
        assert gone.delete == ["llmroute-chat"]
        assert gone.aspects == {}

    def test_stays_while_a_bad_edit_is_not_mended(self) -> None:
        stored = kept(planned(scaling()))
        bad = planned(scaling(targets=[]), scaled=stored)
        assert (bad.write, bad.delete) == ([], [])
        assert told(bad) == "False NotAccepted"


class TestTheCondition:
    def test_is_what_keda_makes_of_it(self) -> None:
        first = planned(scaling())
        assert told(first) == "None Pending"
        assert told(planned(scaling(), scaled=kept(first, Ready="True"))) == "True Scaling"
        assert told(planned(scaling(), scaled=kept(first, Ready="False"))) == "False KEDANotReady"
        assert told(planned(scaling(), scaled=kept(first, Ready="True", Fallback="True"))) == "False NoMetrics"

    def test_says_that_there_is_no_keda(self) -> None:
        found = planned(scaling(), scaled=None)
        assert told(found) == "False NoKEDA"
        assert (found.write, found.delete) == ([], [])

    def test_says_that_there_is_no_prometheus(self) -> None:
        assert told(planned(scaling(), rules=Rules(prometheus=""))) == "False NoPrometheus"

    def test_says_that_it_is_switched_off_and_takes_back_what_was_there(self) -> None:
        stored = kept(planned(scaling()))
        found = planned(scaling(), scaled=stored, rules=Rules(prometheus="http://p", enabled=False))
        assert told(found) == "False Disabled"
        assert found.delete == ["llmroute-chat"]
        bad = planned(scaling(targets=[]), scaled=stored, rules=Rules(prometheus="http://p", enabled=False))
        assert (told(bad), bad.delete) == ("False Disabled", ["llmroute-chat"])

    def test_is_not_there_where_nothing_is_declared(self) -> None:
        assert planned(route()).aspects == {}


class TestAnotherAutoscalerOfTheWorkload:
    def test_a_users_own_hpa_is_left_alone_and_ours_is_refused(self) -> None:
        found = planned(scaling(), hpas=[scaler("by-cpu")])
        assert told(found) == "False ConflictingHPA"
        assert "'by-cpu'" in found.aspects["uid-of-chat"].message
        assert found.write == []

    def test_one_that_comes_later_wins_too(self) -> None:
        stored = kept(planned(scaling()), Ready="True")
        found = planned(scaling(), scaled=stored, hpas=[scaler("by-cpu")])
        assert told(found) == "False ConflictingHPA"
        assert found.delete == ["llmroute-chat"]

    def test_the_hpa_that_keda_makes_of_ours_is_none(self) -> None:
        stored = kept(planned(scaling()), Ready="True")
        made = scaler("keda-hpa-llmroute-chat", ownerReferences=[{"kind": "ScaledObject", "name": "llmroute-chat"}])
        assert told(planned(scaling(), scaled=stored, hpas=[made])) == "True Scaling"

    @pytest.mark.parametrize(
        "other", [scaler("theirs"), {"metadata": {"name": "x"}, "spec": {"scaleTargetRef": {"name": "shop"}}}]
    )
    def test_a_users_own_scaled_object_is_one(self, other: dict[str, Any]) -> None:
        assert told(planned(scaling(), scaled=[other])) == "False ConflictingScaledObject"

    def test_a_scaled_object_that_has_our_name_is_not_taken_over(self) -> None:
        theirs = scaler("llmroute-chat", workload="bank", labels={"app.kubernetes.io/managed-by": "llmroute"})
        found = planned(scaling(), scaled=[theirs])
        assert told(found) == "False ConflictingScaledObject"
        assert (found.write, found.delete) == ([], [])

    @pytest.mark.parametrize("other", [scaler("x", workload="bank"), scaler("x", kind="StatefulSet")])
    def test_one_of_another_workload_is_none(self, other: dict[str, Any]) -> None:
        assert len(planned(scaling(), hpas=[other]).write) == 1

    def test_of_two_routes_the_older_scales(self) -> None:
        found = planned(scaling("young", age=1), scaling("old", age=99))
        assert told(found, "old") == "None Pending"
        assert told(found, "young") == "False ConflictingRoute"
        assert "'old'" in found.aspects["uid-of-young"].message
        assert [one["metadata"]["name"] for one in found.write] == ["llmroute-old"]

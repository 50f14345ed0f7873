"""What a status tells besides how far a route has come: numbers, ejections, pods that were forgotten; and its shape."""

from typing import Any

import jsonschema
import msgspec
import pytest
from tests.contract.schema import validator
from tests.operator.shop import (
    NOON,
    Shop,
    events,
    heard,
    latency,
    pod,
    route,
    runs,
    seen,
    served,
    target,
    without_sidecar,
)

from llmroute.status import LLMRouteStatus
from llmroute_operator.verdicts import Aspect


class TestNumbers:
    def measured(self, p95: float, seconds: float) -> dict[str, Any]:
        self.shop.contacts = {"shop-1": heard(runs(targets=[seen(latency=latency(p95))]))}
        self.shop.look(seconds)
        found: dict[str, Any] = self.shop.status()["targets"][0]
        return found

    def setup_method(self) -> None:
        self.shop = Shop()
        self.shop.pods = [pod()]

    def test_come_at_once_and_change_at_most_once_a_minute(self) -> None:
        assert self.measured(0.43, 1)["ttftP95"] == "430ms"
        assert self.measured(2.0, 59)["ttftP95"] == "430ms"
        assert self.measured(2.0, 1)["ttftP95"] == "2.00s"
        assert self.shop.status()["summary"]["ttftP95"] == "2.00s"

    def test_change_only_by_more_than_a_fifth(self) -> None:
        self.measured(0.500, 1)
        assert self.measured(0.599, 100)["ttftP95"] == "500ms"
        assert self.measured(0.401, 100)["ttftP95"] == "500ms"
        assert self.measured(0.601, 100)["ttftP95"] == "601ms"

    def test_never_hold_back_a_state(self) -> None:
        self.measured(0.5, 1)
        self.shop.contacts = {"shop-1": heard(runs(targets=[seen(state="ejected", reason="3 in a row")]))}
        self.shop.look(1)
        assert self.shop.status()["targets"][0]["state"] == "Ejected"
        assert self.shop.status()["targets"][0]["ttftP95"] == "500ms"

    def test_go_away_when_there_are_none_any_more(self) -> None:
        self.measured(0.5, 1)
        self.shop.contacts = {"shop-1": heard(runs(targets=[seen()]))}
        self.shop.look(100)
        assert "ttftP95" not in self.shop.status()["targets"][0]
        assert self.shop.status()["summary"]["ttftP95"] == "-"

    def test_survive_a_clock_that_was_wrong(self) -> None:
        self.measured(0.5, 1)
        self.shop.now = NOON.replace(year=2025)
        assert self.measured(2.0, 1)["ttftP95"] == "2.00s"


class TestEjectionAndRecovery:
    def eject(self, *names: str, state: str = "ejected") -> None:
        for name in names:
            self.shop.contacts[name] = heard(runs(targets=[seen(state=state, reason="3 failures in a row")]))

    def setup_method(self) -> None:
        self.shop = served("shop-1", "shop-2", "shop-3")

    def test_one_sidecar_alone_is_no_event(self) -> None:
        self.eject("shop-1")
        assert events(self.shop.look()) == []
        assert self.shop.status()["targets"][0]["state"] == "Healthy"

    def test_most_of_them_are_one(self) -> None:
        self.eject("shop-1", "shop-2")
        (change,) = self.shop.look()
        assert events([change]) == ["Warning TargetEjected"]
        assert change.events[0].message == (
            "Target 'east' is not used for now (3 failures in a row), as 2 of the 3 sidecars asked last see it."
        )
        assert self.shop.status()["summary"]["targets"] == "0/1"
        assert self.shop.condition("Programmed") == "True Programmed"

    def test_and_so_is_the_return_of_it_but_not_its_trials(self) -> None:
        self.eject("shop-1", "shop-2")
        self.shop.look()
        self.eject("shop-1", "shop-2", state="probation")
        assert events(self.shop.look()) == []
        assert self.shop.status()["targets"][0]["state"] == "Probation"
        self.eject("shop-1", "shop-2")
        assert events(self.shop.look()) == [], "a trial that failed is no news"
        self.eject("shop-1", "shop-2", state="probation")
        self.shop.look()
        self.eject("shop-1", "shop-2", state="healthy")
        assert events(self.shop.look()) == ["Normal TargetRecovered"]

    def test_an_ejection_that_is_first_seen_on_trial_is_told_all_the_same(self) -> None:
        self.eject("shop-1")
        self.eject("shop-2", state="probation")
        (change,) = self.shop.look()
        assert events([change]) == ["Warning TargetEjected"]
        assert change.events[0].message == (
            "Target 'east' was ejected and is on trial (3 failures in a row), as 1 of the 3 sidecars asked last see it."
        )
        self.eject("shop-1", "shop-2")
        assert events(self.shop.look()) == [], "it was told"


class TestPodsThatShouldHaveASidecar:
    def test_are_told_once_and_counted(self) -> None:
        shop = served()
        shop.labels = {"llmroute.dev/injection": "enabled"}
        shop.pods.append(without_sidecar("shop-9"))
        (change,) = shop.look()
        assert events([change]) == ["Warning SidecarMissing"]
        assert "(shop-9)" in change.events[0].message
        assert shop.status()["sidecars"] == {"desired": 1, "current": 1, "missing": 1}
        assert shop.condition("Programmed") == "True Programmed", "those that have one run it"
        assert shop.look() == []
        shop.pods.pop()
        shop.look()
        assert shop.status()["sidecars"]["missing"] == 0

    @pytest.mark.parametrize(
        ("namespace", "labels", "changes", "expected"),
        [
            ({}, {"llmroute.dev/inject": "true"}, {}, 1),
            ({}, {}, {}, 0),
            ({"llmroute.dev/injection": "enabled"}, {"llmroute.dev/inject": "false"}, {}, 0),
            ({"llmroute.dev/injection": "disabled"}, {}, {}, 0),
            ({"llmroute.dev/injection": "enabled"}, {}, {"refused": True}, 0),
            ({"llmroute.dev/injection": "enabled"}, {}, {"terminating": True}, 0),
            ({"llmroute.dev/injection": "enabled"}, {}, {"phase": "Succeeded"}, 0),
            ({"llmroute.dev/injection": "enabled"}, {}, {"phase": "Pending", "ready": False}, 1),
        ],
    )
    def test_are_those_that_asked_for_one_and_could_have_it(
        self, namespace: dict[str, str], labels: dict[str, str], changes: dict[str, Any], expected: int
    ) -> None:
        shop = Shop()
        shop.labels = namespace
        shop.pods = [msgspec.structs.replace(without_sidecar("shop-9", **labels), **changes)]
        shop.look()
        assert shop.status()["sidecars"]["missing"] == expected

    def test_are_the_reason_where_there_is_no_sidecar_at_all(self) -> None:
        shop = Shop()
        shop.labels = {"llmroute.dev/injection": "enabled"}
        shop.pods = [without_sidecar("shop-9")]
        shop.look()
        assert shop.message("Programmed") == (
            "1 pod (shop-9) asked for a sidecar and got none when created. Create them anew (kubectl rollout restart)."
        )


class TestWhatIsWritten:
    def test_fits_the_schema_whatever_sidecars_say(self) -> None:
        shop = Shop(
            route(targets=[target(f"t{index}") for index in range(200)], models=[f"m{i}" * 40 for i in range(64)])
        )
        shop.pods = [pod(f"p{index}") for index in range(9)]
        nasty = "\x00\x1b[31m\u202e\n" * 300 + "x" * 400
        reported = [
            seen(f"t{index}", "ejected", reason=nasty, credential=nasty, latency=latency(40_000))
            for index in range(200)
        ]
        shop.contacts = {one.name: heard(runs(targets=reported), rejected={"error": nasty}) for one in shop.pods}
        shop.contacts["p1"] = heard(runs(generation=7), rejected={"error": nasty})
        shop.autoscaling = {"uid-of-chat": Aspect(False, "NoKEDA", nasty)}
        changes = shop.look()
        validator().validate(shop.routes[0] | {"metadata": {}})
        written = repr(shop.status())
        assert "\\x1b" not in written
        assert "\\u202e" not in written
        for change in changes:
            assert all(len(event.message) <= 1024 for event in change.events)

    def test_leaves_the_conditions_of_others_alone(self) -> None:
        shop = Shop()
        theirs = {
            "type": "example.com/Reviewed",
            "status": "True",
            "reason": "Yes",
            "message": "ok",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        shop.routes[0]["status"] = {"conditions": [theirs]}
        shop.look()
        assert theirs in shop.status()["conditions"]

    def test_replaces_a_status_of_another_shape(self) -> None:
        shop = Shop()
        shop.routes[0]["status"] = {"conditions": "none", "sidecars": 5}
        shop.look()
        msgspec.convert(shop.status(), LLMRouteStatus)

    def test_has_a_condition_for_autoscaling_only_where_it_is_declared(self) -> None:
        shop = served()
        shop.autoscaling = {"uid-of-chat": Aspect(False, "NoKEDA", "KEDA is not installed.")}
        assert events(shop.look()) == ["Warning NoKEDA"]
        assert shop.condition("Autoscaling") == "False NoKEDA"
        assert shop.status()["summary"]["ready"] == "True", "the route serves all the same"
        shop.routes[0]["spec"]["autoscaling"] = {"targetRef": {"name": "shop"}, "maxReplicas": 3}
        shop.autoscaling = {}
        shop.look()
        assert shop.condition("Autoscaling") == "False NoKEDA", "nobody could look: what was known stays"
        del shop.routes[0]["spec"]["autoscaling"]
        shop.look()
        assert [each["type"] for each in shop.status()["conditions"]] == ["Accepted", "ResolvedRefs", "Programmed"]

    def test_is_valid_by_the_schema_from_the_first_look(self) -> None:
        shop = served()
        validator().validate(shop.routes[0] | {"metadata": {}})
        with pytest.raises(jsonschema.ValidationError):
            validator().validate(shop.routes[0] | {"metadata": {}, "status": {"sidecars": {"desired": -1}}})

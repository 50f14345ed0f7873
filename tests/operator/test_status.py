"""What users read of a route: a day in the life of its status."""

from typing import Any

import pytest
from tests.operator.shop import (
    Shop,
    events,
    heard,
    pod,
    report,
    route,
    runs,
    seen,
    served,
    service,
    target,
    without_sidecar,
)

from llmroute_operator.reports import Contact
from llmroute_operator.verdicts import Aspect


class TestFromApplyToReady:
    def test_a_route_becomes_ready_when_every_sidecar_runs_it(self) -> None:
        shop = Shop()
        shop.pods = [pod("shop-1"), pod("shop-2")]
        assert events(shop.look()) == ["Normal Accepted"]
        assert shop.condition("Accepted") == "True Accepted"
        assert shop.condition("ResolvedRefs") == "True ResolvedRefs"
        assert shop.condition("Programmed") == "False Pending"
        assert shop.status()["summary"] == {
            "ready": "False",
            "targets": "-/1",
            "sidecars": "0/2",
            "ttftP95": "-",
            "models": "chat",
        }
        shop.contacts = {"shop-1": heard()}
        shop.look()
        assert shop.condition("Programmed") == "False Pending"
        assert shop.message("Programmed") == ("1 of 2 sidecars run generation 1; no answer yet from 1 pod (shop-2).")
        shop.contacts["shop-2"] = heard()
        shop.look()
        assert shop.condition("Programmed") == "True Programmed"
        assert shop.status()["summary"]["ready"] == "True"
        assert shop.status()["sidecars"] == {"desired": 2, "current": 2, "missing": 0}

    def test_nothing_is_written_while_nothing_changes(self) -> None:
        shop = served()
        assert [shop.look(60) for _ in range(5)] == [[]] * 5

    def test_an_edit_takes_it_back_until_all_run_the_new_generation(self) -> None:
        shop = served("shop-1", "shop-2")
        shop.edit(targets=[target("west")])
        assert events(shop.look()) == ["Normal Accepted"]
        assert shop.condition("Programmed") == "False Pending"
        assert shop.message("Programmed").endswith(
            "0 of 2 sidecars run generation 2; not yet in 2 pods (shop-1, shop-2)."
        )
        shop.contacts = {name: heard(runs(generation=2)) for name in ("shop-1", "shop-2")}
        shop.look()
        assert shop.condition("Programmed") == "True Programmed"
        assert shop.status()["observedGeneration"] == 2
        assert {each["observedGeneration"] for each in shop.status()["conditions"]} == {2}

    def test_a_condition_remembers_since_when_it_is_what_it_is(self) -> None:
        shop = served()
        before = shop.since("Accepted")
        shop.edit(models=["a"])
        shop.look(100)
        assert shop.since("Accepted") == before, "it stayed True"
        assert shop.since("Programmed") > before, "it turned"


class TestOneRoutesEdit:
    def test_never_changes_anothers_condition(self) -> None:
        shop = Shop(route("chat"), route("embed"))
        shop.pods = [pod()]
        shop.contacts = {"shop-1": heard(runs("chat"), runs("embed"))}
        shop.look()
        before = shop.status("embed")
        shop.edit("chat", targets=[target("west")])
        changed = shop.look(100)
        shop.contacts = {"shop-1": heard(runs("chat", 2), runs("embed"), revision="another")}
        changed += shop.look(100)
        assert {change.name for change in changed} == {"chat"}
        assert shop.status("embed") == before


class TestWithoutSidecars:
    def test_nothing_serves_the_route_so_it_is_not_programmed(self) -> None:
        shop = Shop()
        shop.look()
        assert shop.condition("Programmed") == "False NoSidecars"
        assert "llmroute.dev/injection=enabled" in shop.message("Programmed")
        assert shop.status()["summary"]["sidecars"] == "0/0"

    def test_a_workload_that_is_scaled_to_nothing_leaves_it_programmed(self) -> None:
        shop = served()
        shop.pods, shop.contacts = [], {}
        shop.look()
        assert shop.condition("Programmed") == "True NoSidecars"
        shop.edit(models=["a"])
        shop.look()
        assert shop.condition("Programmed") == "False NoSidecars", "nobody has run this generation"

    def test_pods_that_all_lack_the_sidecar_that_they_asked_for_make_it_not_programmed(self) -> None:
        shop = served()
        shop.labels = {"llmroute.dev/injection": "enabled"}
        shop.pods, shop.contacts = [without_sidecar()], {}
        shop.look()
        assert shop.condition("Programmed") == "False NoSidecars"
        assert "shop-9" in shop.message("Programmed") and "rollout restart" in shop.message("Programmed")

    @pytest.mark.parametrize(
        "changes",
        [{"ready": False}, {"phase": "Pending"}, {"phase": "Succeeded"}, {"terminating": True}, {"labels": {}}],
        ids=str,
    )
    def test_a_pod_that_does_not_serve_is_not_waited_for(self, changes: dict[str, Any]) -> None:
        shop = served()
        shop.pods.append(pod("shop-2", **changes))
        shop.look()
        assert shop.condition("Programmed") == "True Programmed"
        assert shop.status()["sidecars"]["desired"] == 1

    def test_a_pod_that_the_route_is_not_for_is_not_waited_for(self) -> None:
        shop = served()
        shop.routes[0]["spec"]["workloads"] = {"matchLabels": {"app": "shop"}}
        shop.pods.append(pod("bank-1", labels={"app": "bank", "llmroute.dev/sidecar": "true"}))
        shop.look()
        assert shop.status()["sidecars"] == {"desired": 1, "current": 1, "missing": 0}


class TestSidecarsThatCannotBeAsked:
    def test_nothing_turns_within_half_a_minute(self) -> None:
        shop = served()
        shop.contacts = {"shop-1": Contact(report(runs()), silent=29.0, error="no answer")}
        assert shop.look() == []

    def test_then_nobody_knows(self) -> None:
        shop = served("shop-1", "shop-2")
        shop.contacts["shop-2"] = Contact(report(runs()), silent=31.0, error="no answer")
        shop.look()
        assert shop.condition("Programmed") == "Unknown SidecarsUnreachable"
        assert "1 pod (shop-2)" in shop.message("Programmed")
        assert shop.status()["summary"]["ready"] == "Unknown"
        shop.contacts["shop-2"] = heard()
        shop.look()
        assert shop.condition("Programmed") == "True Programmed"

    def test_a_pod_that_has_just_become_ready_takes_nothing_back(self) -> None:
        shop = served()
        shop.pods.append(pod("shop-2"))
        shop.look()
        assert shop.condition("Programmed") == "True Programmed"
        assert shop.status()["summary"]["sidecars"] == "1/2"

    def test_one_that_says_it_runs_something_else_does(self) -> None:
        shop = served()
        shop.pods.append(pod("shop-2"))
        shop.contacts["shop-2"] = Contact(report(revision="old"))
        shop.contacts["shop-2"] = heard(runs(generation=0))
        shop.look()
        assert shop.condition("Programmed") == "False Pending"

    def test_what_is_known_to_be_wrong_comes_before_what_is_not_known(self) -> None:
        shop = served("shop-1", "shop-2")
        shop.edit(models=["a"])
        shop.contacts["shop-2"] = Contact(report(runs()), silent=99.0)
        shop.look()
        assert shop.condition("Programmed") == "False Pending"

    def test_many_are_told_by_the_first_three(self) -> None:
        shop = served(*(f"p{index}" for index in range(7)))
        shop.contacts = {name: Contact(silent=60.0) for name in shop.contacts}
        shop.look()
        assert "7 pods (p0, p1, p2, ...)" in shop.message("Programmed")


class TestARouteThatIsNotAccepted:
    def test_is_told_why_and_that_nothing_serves_it(self) -> None:
        shop = Shop(route(targets=[target(provider="opnai")]))
        assert events(shop.look()) == ["Warning Invalid"]
        assert shop.condition("Accepted") == "False Invalid"
        assert shop.message("Accepted").startswith("spec.targets[0].provider: ")
        assert shop.condition("Programmed") == "False NotAccepted"
        assert shop.message("Programmed") == "It is not served. See the condition Accepted."

    def test_goes_on_as_before_and_keeps_what_is_known_of_its_targets(self) -> None:
        shop = served()
        before = shop.status()["targets"]
        shop.before = {"uid-of-chat": {**route(), "metadata": {"name": "chat", "uid": "uid-of-chat", "generation": 1}}}
        shop.edit(targets=[])
        shop.look()
        assert shop.message("Programmed").startswith("The sidecars go on with the version before.")
        assert shop.status()["targets"] == before

    def test_is_not_told_twice(self) -> None:
        shop = Shop(route(targets=[]))
        shop.look()
        assert [events(shop.look(60)) for _ in range(3)] == [[]] * 3

    def test_tells_when_it_is_mended(self) -> None:
        shop = Shop(route(targets=[]))
        shop.look()
        shop.edit(targets=[target()])
        assert events(shop.look()) == ["Normal Accepted"]

    def test_too_large_a_configuration_is_a_matter_of_programming(self) -> None:
        shop = served()
        shop.blocked = {"uid-of-chat": Aspect(False, "ConfigTooLarge", "No room.")}
        shop.look()
        assert shop.condition("Accepted") == "True Accepted"
        assert shop.condition("Programmed") == "False ConfigTooLarge"


class TestRefs:
    def test_a_service_that_is_missing_is_told(self) -> None:
        shop = Shop(route(targets=[target("own", service={"name": "vllm", "port": 8000})]))
        assert events(shop.look()) == ["Normal Accepted", "Warning ServiceNotFound"]
        shop.services = {"vllm": service()}
        shop.look()
        assert shop.condition("ResolvedRefs") == "True ResolvedRefs"

    def test_a_key_that_sidecars_miss_is_told_with_their_words(self) -> None:
        shop = served("shop-1", "shop-2")
        words = "missing: Secret llmroute-credentials has no key OPENAI_API_KEY"
        shop.contacts["shop-2"] = heard(runs(targets=[seen(credential=words)]))
        assert events(shop.look()) == ["Warning KeyMissing"]
        assert shop.condition("ResolvedRefs") == "False KeyMissing"
        assert f"The key of target 'east' is {words} (say 1 of 2 sidecars)" in shop.message("ResolvedRefs")
        assert shop.status()["summary"]["ready"] == "False"
        assert shop.condition("Programmed") == "True Programmed", "the others serve"

    def test_a_secret_that_the_pods_owner_did_not_list_has_a_reason_of_its_own(self) -> None:
        shop = served()
        words = "missing: Secret bank is not listed in the pod's annotation llmroute.dev/secrets"
        shop.contacts["shop-1"] = heard(runs(targets=[seen(credential=words)]))
        shop.look()
        assert shop.condition("ResolvedRefs") == "False SecretNotListed"
        assert shop.status()["targets"][0] == {"name": "east", "state": "NoKey", "reason": words, "share": "100%"}


class TestASidecarThatIsTooOldForARoute:
    def rejected(self, error: str) -> Shop:
        shop = served("shop-1", "shop-2")
        shop.edit(models=["a"])
        shop.contacts = {
            "shop-1": heard(runs(generation=2)),
            "shop-2": heard(runs(), rejected={"revision": "x", "error": error}),
        }
        shop.look()
        return shop

    def test_is_told_with_its_words_about_this_route(self) -> None:
        shop = self.rejected("LLMRoute shop/a: not this one\nLLMRoute shop/chat: spec.cache: too new for me")
        assert shop.condition("Programmed") == "False RejectedBySidecars"
        assert "LLMRoute shop/chat: spec.cache: too new for me." in shop.message("Programmed")
        assert "not this one" not in shop.message("Programmed")

    def test_is_told_where_it_cannot_read_anything(self) -> None:
        assert "format 2 is newer" in self.rejected("routes.json: format 2 is newer than I am").message("Programmed")

    def test_is_no_matter_of_another_route(self) -> None:
        assert self.rejected("LLMRoute shop/a: not this one").condition("Programmed") == "False Pending"

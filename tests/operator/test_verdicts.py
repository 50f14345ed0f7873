"""What the operator says of routes before anything runs."""

from typing import Any

import pytest
from tests.operator.shop import route, service, target

from llmroute_operator.verdicts import Serves, Verdict, verdicts


def judged(*routes: Any, before: Any = None, services: Any = None) -> dict[str, Verdict]:
    found = verdicts(routes, before or {}, services or {})
    return {one["metadata"]["name"]: found[one["metadata"]["uid"]] for one in routes}


def in_force(*routes: Any) -> dict[str, Any]:
    """The routes of the configuration that sidecars have."""
    fields = ("name", "namespace", "uid", "generation")
    return {
        one["metadata"]["uid"]: {**one, "metadata": {field: one["metadata"][field] for field in fields}}
        for one in routes
    }


class TestASpecThatMakesNoSense:
    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"targets": []}, "spec.targets: must not be empty"),
            (
                {"targets": [target(provider="opnai")]},
                "spec.targets[0].provider: expected one of anthropic, azure-openai, gemini, openai, openai-compatible, "
                "openrouter, got 'opnai'; did you mean 'openai'?",
            ),
            ({"targets": [target(urll="x")]}, "spec.targets[0].urll: unknown field 'urll'; did you mean 'url'?"),
            ({"fallbackTargets": ["west"]}, "spec.fallbackTargets[0]: fallbackTargets must name existing targets"),
            ({"targets": [target("a"), target("a")]}, "spec.targets[1].name: 'a' is there twice"),
            ({"cache": {"ttl": "soon"}}, "spec.cache.ttl: expected a duration such as 500ms, 2s or 1m30s, got 'soon'"),
        ],
    )
    def test_is_told_with_its_path(self, spec: Any, message: str) -> None:
        verdict = judged(route(**spec))["chat"]
        assert (verdict.accepted.ok, verdict.accepted.reason) == (False, "Invalid")
        assert verdict.accepted.message == message
        assert verdict.serves is Serves.NOTHING

    def test_is_told_by_its_first_error_and_how_many_more_there_are(self) -> None:
        verdict = judged(route(targets=[target(provider="x", model="")]))["chat"]
        assert verdict.accepted.message.startswith("spec.targets[0].provider: ")
        assert verdict.accepted.message.endswith(" (and 1 more)")

    def test_leaves_what_was_served_before(self) -> None:
        bad = route(generation=2, targets=[])
        assert judged(bad, before=in_force(route(generation=1)))["chat"].serves is Serves.BEFORE

    def test_keeps_a_key_that_was_pasted_into_the_wrong_field_to_itself(self) -> None:
        key = "sk-proj-" + "0123456789" * 5
        assert key not in judged(route(targets=[target(region=f"{key} ")]))["chat"].accepted.message


class TestTwoRoutesThatClaimOneModel:
    def test_the_older_one_gets_it_and_the_other_is_told_the_rival(self) -> None:
        found = judged(route("new", age=1, models=["gpt-4o"]), route("old", age=99, models=["gpt-4o", "x"]))
        assert found["old"].accepted.ok
        assert found["new"].accepted.reason == "ModelConflict"
        assert "the model 'gpt-4o' is already served by the LLMRoute 'old'" in found["new"].accepted.message
        assert found["new"].serves is Serves.NOTHING

    def test_of_the_same_second_the_first_by_name_gets_it(self) -> None:
        found = judged(route("b", models=["m"]), route("a", models=["m"]))
        assert (found["a"].accepted.ok, found["b"].accepted.ok) == (True, False)

    def test_a_route_without_models_claims_its_name(self) -> None:
        found = judged(route("chat", age=1), route("old", age=99, models=["chat"]))
        assert found["chat"].accepted.message.startswith("metadata.name: the model 'chat' ")

    def test_both_are_fine_where_no_pod_can_get_both(self) -> None:
        web = route("web", models=["m"], workloads={"matchLabels": {"tier": "web"}})
        jobs = route(
            "jobs", models=["m"], workloads={"matchExpressions": [{"key": "tier", "operator": "In", "values": ["job"]}]}
        )
        assert all(verdict.accepted.ok for verdict in judged(web, jobs).values())

    def test_a_loser_does_not_take_its_other_models_from_anybody(self) -> None:
        found = judged(
            route("old", age=99, models=["a"]),
            route("loser", age=50, models=["a", "b"]),
            route("young", age=1, models=["b"]),
        )
        assert [found[name].accepted.ok for name in ("old", "loser", "young")] == [True, False, True]

    def test_who_loses_by_an_edit_goes_on_as_before(self) -> None:
        edited = route("mine", age=1, generation=2, models=["mine", "taken"])
        found = judged(
            route("old", age=99, models=["taken"]),
            edited,
            before=in_force(route("mine", age=1, generation=1, models=["mine"])),
        )
        assert not found["mine"].accepted.ok
        assert found["mine"].serves is Serves.BEFORE

    def test_the_version_before_is_not_served_either_where_it_conflicts_too(self) -> None:
        found = judged(
            route("old", age=99, generation=2, models=["mine"]),
            route("mine", age=1, generation=1, models=["mine"]),
            before=in_force(route("mine", age=1, generation=1, models=["mine"])),
        )
        assert found["old"].serves is Serves.DECLARED
        assert found["mine"].serves is Serves.NOTHING


class TestServices:
    def wanting(self, **members: Any) -> dict[str, Any]:
        wanted = {"name": "vllm", "port": 8000, **members}
        return route(targets=[target("api"), {**target("own", provider="openai-compatible"), "service": wanted}])

    def test_one_that_is_not_there_is_told(self) -> None:
        refs = judged(self.wanting())["chat"].refs
        assert (refs.ok, refs.reason) == (False, "ServiceNotFound")
        assert refs.message == "spec.targets[1].service: there is no Service 'vllm' in this namespace"

    @pytest.mark.parametrize("port", [8000, "http"])
    def test_a_port_may_be_given_by_number_or_name(self, port: object) -> None:
        assert judged(self.wanting(port=port), services={"vllm": service()})["chat"].refs.ok

    @pytest.mark.parametrize("port", [9000, "grpc"])
    def test_a_port_that_it_has_not_is_told_with_those_that_it_has(self, port: object) -> None:
        refs = judged(self.wanting(port=port), services={"vllm": service()})["chat"].refs
        assert refs.reason == "PortNotFound"
        assert refs.message.endswith(f"has no port {port}; it has: 8000 http")

    def test_endpoints_each_needs_a_headless_one(self) -> None:
        wanting = self.wanting(endpoints="each")
        assert judged(wanting, services={"vllm": service()})["chat"].refs.reason == "NotHeadless"
        assert judged(wanting, services={"vllm": service(headless=True)})["chat"].refs.ok

    def test_a_foreign_name_is_no_service(self) -> None:
        refs = judged(self.wanting(), services={"vllm": service(type="ExternalName")})["chat"].refs
        assert refs.reason == "UnsupportedService"

    def test_a_missing_one_does_not_stop_the_route(self) -> None:
        verdict = judged(self.wanting())["chat"]
        assert verdict.accepted.ok
        assert verdict.serves is Serves.DECLARED


def test_what_is_written_by_a_newer_operator_and_cannot_be_read_is_no_version_to_go_back_to() -> None:
    before = in_force(route(generation=1))
    before["uid-of-chat"]["spec"] = {"targets": "somewhere else now"}
    assert judged(route(generation=2, targets=[]), before=before)["chat"].serves is Serves.NOTHING

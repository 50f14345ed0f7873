"""What the app's containers find in their environment."""

from typing import Any

import pytest
from tests.operator.injected_pods import KEYS, OURS, app, environment, patched, pod, review


def given(*entries: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The environment that a container with these entries has in the end."""
    return environment(patched(pod(app(env=list(entries), **fields))))


def entry(name: str, value: str | None = None) -> dict[str, Any]:
    return {"name": name} if value is None else {"name": name, "value": value}


def secret(name: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "keys", "key": name}}}


class TestTheUsersOwn:
    def test_what_is_set_stays(self) -> None:
        found = given(
            entry("OPENAI_BASE_URL", "https://own.example/v1"), secret("OPENAI_API_KEY"), entry("LLMROUTE_URL")
        )
        assert found["OPENAI_BASE_URL"] == "https://own.example/v1"
        assert found["OPENAI_API_KEY"] == {"secretKeyRef": {"name": "keys", "key": "OPENAI_API_KEY"}}
        assert found["LLMROUTE_URL"] is None
        assert found["ANTHROPIC_API_KEY"] == "provided-by-llmroute"

    def test_no_placeholder_hides_a_key_that_may_come_from_elsewhere(self) -> None:
        found = given(envFrom=[{"secretRef": {"name": "keys"}}])
        assert found == OURS

    def test_an_empty_env_from_hides_nothing(self) -> None:
        assert given(envFrom=[]) == {**OURS, **KEYS}

    def test_theirs_may_refer_to_ours(self) -> None:
        after = patched(
            pod(app(env=[entry("OPENAI_API_BASE", "$(OPENAI_BASE_URL)"), entry("Z", "$(OPENAI_API_BASE)")]))
        )
        names = [one["name"] for one in after["spec"]["containers"][0]["env"]]
        assert names == [*OURS, *KEYS, "OPENAI_API_BASE", "Z"]


class TestProxies:
    LOCAL = "127.0.0.1,localhost"

    def test_without_a_proxy_nothing_is_said_of_it(self) -> None:
        assert given(entry("NO_PROXY", "corp.example"), entry("HTTP_PROXY", ""))["NO_PROXY"] == "corp.example"

    @pytest.mark.parametrize("proxy", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
    def test_calls_to_the_sidecar_pass_by_it(self, proxy: str) -> None:
        found = given(entry(proxy, "http://proxy:3128"))
        assert found["NO_PROXY"] == found["no_proxy"] == self.LOCAL

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("corp.example", f"corp.example,{LOCAL}"),
            ("corp.example, localhost", "corp.example, localhost,127.0.0.1"),
            ("a,", f"a,{LOCAL}"),
            ("", LOCAL),
            (f"{LOCAL},", f"{LOCAL},"),
            ("*", "*"),
        ],
    )
    def test_the_users_exceptions_stay_and_ours_follow(self, before: str, after: str) -> None:
        found = given(entry("http_proxy", "http://proxy:3128"), entry("NO_PROXY", before))
        assert found["NO_PROXY"] == after
        assert "no_proxy" not in found  # an empty one would hide theirs from programs that look there first

    def test_an_entry_without_value_is_empty(self) -> None:
        assert given(entry("http_proxy", "http://p"), entry("no_proxy"))["no_proxy"] == self.LOCAL

    def test_exceptions_from_elsewhere_are_referred_to(self) -> None:
        found = given(entry("http_proxy", "http://p"), secret("NO_PROXY"))
        assert found["no_proxy"] == f"$(NO_PROXY),{self.LOCAL}"
        assert found["NO_PROXY"] == {"secretKeyRef": {"name": "keys", "key": "NO_PROXY"}}

    def test_what_cannot_be_extended_is_told(self) -> None:
        injected = review(pod(app(env=[secret("http_proxy"), secret("no_proxy")])))
        assert injected.outcome == "injected"
        assert "container app" in injected.warnings[0]
        assert self.LOCAL.replace(",", " and ") in injected.warnings[0]

    def test_each_container_for_itself(self) -> None:
        after = patched(pod(app(env=[entry("http_proxy", "http://p")]), app("other")))
        assert "NO_PROXY" in environment(after)
        assert "NO_PROXY" not in environment(after, "other")

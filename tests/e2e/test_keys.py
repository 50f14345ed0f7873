"""Keys live in Secrets that the owners of pods choose: which are used, which are missed, and when they change."""

import time
from collections.abc import Callable
from typing import Any

from tests.e2e.story import Story

from llmroute.simulator.records import fingerprint

STATUS = "http://127.0.0.1:4001/status"


def test_a_target_without_key_is_told_and_others_serve(story: Story) -> None:
    story.providers(east={"ttft": {"median": "20ms"}}, west={})
    story.secret(OPENAI_API_KEY="the-key-of-the-company")
    lost = {"secretRef": {"name": "llmroute-credentials", "key": "WEST_API_KEY"}}
    story.route("chat", {"models": ["chat"], "targets": [story.target("east"), story.target("west", credential=lost)]})
    story.rendered("chat")
    story.app("shop", RATE="5")
    why = "Secret llmroute-credentials has no key WEST_API_KEY"
    with story.unharmed("shop"):
        refs = story.becomes("chat", "ResolvedRefs", "False")
        assert refs["reason"] == "KeyMissing"
        assert f"The key of target 'west' is missing: {why}" in refs["message"]
        assert story.target_becomes("chat", "west", "NoKey")["reason"] == f"missing: {why}"
        assert story.cell("chat", "READY") == "False"
        assert story.cell("chat", "TARGETS") == "1/2"
        story.event("KeyMissing", "'west'")
        assert f'"credential": "missing: {why}"' in story.call("shop", "GET", STATUS)[1]
        assert story.stats("west")["requests"] == 0

        story.secret(OPENAI_API_KEY="the-key-of-the-company", WEST_API_KEY="another")
        hurry(story)
        story.becomes("chat", "ResolvedRefs", "True")
        story.target_becomes("chat", "west", "Healthy")
        assert story.cell("chat", "READY") == "True"


def test_a_secret_is_used_only_by_pods_that_list_it(story: Story) -> None:
    story.providers(vault={})
    story.secret("payroll", KEY="the-key-of-the-payroll")
    key = {"secretRef": {"name": "payroll", "key": "KEY"}}
    story.route("wages", {"models": ["chat"], "targets": [story.target("vault", credential=key)]})
    story.rendered("wages")

    story.app("shop")
    status, said = story.call("shop", "POST", "http://localhost:8000/ask", "What does she earn?")
    assert status == 503
    assert "Secret payroll is not listed in the pod's annotation llmroute.dev/secrets" in said
    refs = story.becomes("wages", "ResolvedRefs", "False")
    assert refs["reason"] == "SecretNotListed"
    assert "llmroute.dev/secrets" in refs["message"]
    assert story.stats("vault")["requests"] == 0

    story.app("office", annotations={"llmroute.dev/secrets": "payroll"})
    assert story.ask("office", "What does she earn?")
    assert keys_seen(story, "vault", 100) == {fingerprint(b"Bearer the-key-of-the-payroll")}

    story.kubectl("delete", "deployment", "shop")
    story.becomes("wages", "ResolvedRefs", "True")


def test_a_rotated_key_is_used_without_restart(story: Story, report: Callable[[str], None]) -> None:
    story.providers(east={"ttft": {"median": "20ms"}})
    story.secret(OPENAI_API_KEY="the-first-key")
    story.route("chat", {"models": ["chat"], "targets": [story.target("east")]})
    story.rendered("chat")
    story.app("shop", RATE="5")
    with story.unharmed("shop"):
        assert keys_seen(story, "east", 100) == {fingerprint(b"Bearer the-first-key")}
        story.secret(OPENAI_API_KEY="the-second-key")
        alone = seconds_until_only(story, "the-second-key")

        story.secret(OPENAI_API_KEY="the-third-key")
        hurry(story)
        hurried = seconds_until_only(story, "the-third-key")
    (pod,) = story.pods("shop")
    started: list[Any] = [*pod["status"]["initContainerStatuses"], *pod["status"]["containerStatuses"]]
    assert [one["restartCount"] for one in started] == [0, 0]
    report(
        f"a rotated key, from `kubectl apply` to requests with it: {alone:.0f} s by kubelet's own pace, "
        f"{hurried:.1f} s with an annotation of the pods changed"
    )


def hurry(story: Story) -> None:
    """Has kubelet look at the Secrets of pods now."""
    story.kubectl("annotate", "pods", "-l", "llmroute.dev/sidecar=true", "rotated=again")


def seconds_until_only(story: Story, key: str) -> float:
    """How long it took until a key was used; no other is used from then on."""
    began = time.monotonic()
    wanted = fingerprint(f"Bearer {key}".encode())
    story.cluster.until("the new key is used", lambda: wanted in keys_seen(story, "east", 1), 300)
    seconds = time.monotonic() - began
    so_far = story.stats("east")["requests"]
    story.cluster.until("more is asked", lambda: story.stats("east")["requests"] >= so_far + 20)
    assert keys_seen(story, "east", 20) == {wanted}
    return seconds


def keys_seen(story: Story, provider: str, last: int) -> set[str]:
    """Fingerprints of the keys of the last requests."""
    headers = [dict(request["headers"]) for request in story.requests(provider, last)]
    return {each["authorization"] for each in headers}

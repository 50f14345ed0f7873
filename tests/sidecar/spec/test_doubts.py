"""What is allowed and yet probably not meant is said, and what is common is not."""

import pytest

from llmroute.load import load_texts

ROUTE = """\
apiVersion: llmroute.dev/v1alpha1
kind: LLMRoute
metadata: {name: chat}
spec:
  targets:
  - name: a
    provider: %s
    model: m
    region: eu-west
    labels: {safety: strict}
%s
"""
OPEN = "the key travels unencrypted over http to a public name; use https"


def doubts(more: str, provider: str = "openai-compatible") -> list[str]:
    return list(load_texts({"r.yaml": ROUTE % (provider, more)}).doubts)


KEY = "    credential: {secretRef: {name: k, key: k}}\n"


@pytest.mark.parametrize("url", ["http://api.example.com/v1", "http://8.8.8.8"])
def test_a_key_over_plain_http_to_a_public_name(url: str) -> None:
    assert doubts(f"{KEY}    url: {url}") == [f"r.yaml:12: spec.targets[0].url: {OPEN}"]
    assert doubts(f"    url: {url}", provider="openai") == [f"r.yaml:11: spec.targets[0].url: {OPEN}"]


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com", "http://localhost:11434", "http://vllm:8000", "http://10.1.2.3", "http://127.0.0.1:1",
     "http://[::1]:1", "http://vllm.models.svc.cluster.local:8000", "http://vllm.models.svc"],
)  # fmt: skip
def test_a_key_that_stays_near_or_is_encrypted(url: str) -> None:
    assert doubts(f"{KEY}    url: {url}") == []


def test_plain_http_without_a_key() -> None:
    assert doubts("    url: http://api.example.com") == []


def test_targets_that_their_own_route_never_chooses() -> None:
    constraints = "    url: http://h\n  constraints: {regions: [us-east], require: {safety: loose}}"
    assert doubts(constraints) == [
        "r.yaml:6: spec.targets[0]: is never chosen: constraints.regions allows us-east",
        "r.yaml:6: spec.targets[0]: is never chosen: constraints.require asks for the label safety: loose",
    ]
    assert doubts("    url: http://h\n  constraints: {regions: [eu-west], require: {safety: strict}}") == []


def test_a_service_is_for_a_cluster_only() -> None:
    assert doubts("    service: {name: vllm, port: 8000}") == [
        "r.yaml:11: spec.targets[0].service: is served in a cluster only; `llmroute serve` with this file wants its url"
    ]

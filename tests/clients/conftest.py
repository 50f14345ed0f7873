"""One sidecar before simulated providers of both APIs, shared by all stories here: each names the route it wants.

A route is called after what answers it: `openai` and `anthropic` are well; `slow-`, `limited-`, `failing-`, `locked-`,
`picky-` and `breaking-` go before either for targets in trouble, and `rescued-` has one that is well besides.
"""

from collections.abc import Iterator

import anthropic
import openai
import pytest
from tests.clients.programs import Sidecar, serving, simulating

KEYS = {"openai": "canary-key-of-openai", "anthropic": "canary-key-of-anthropic"}
"""What the sidecar must send to the targets, and never show."""

_PROVIDERS = """
- {{name: {dialect}, dialect: {dialect}, apiKey: {key}, outputTokens: {{median: 12}}, cachedShare: 0.25}}
- {{name: slow-{dialect}, dialect: {dialect}, outputTokens: {{median: 2000}}, tokensPerSecond: {{median: 50}}}}
- name: limited-{dialect}
  dialect: {dialect}
  faults: [{{type: status, status: 429, retryAfter: 7s}}]
- name: failing-{dialect}
  dialect: {dialect}
  faults: [{{type: status, status: 500}}]
- {{name: locked-{dialect}, dialect: {dialect}, apiKey: another-key}}
- {{name: picky-{dialect}, dialect: {dialect}, models: [another-model]}}
- name: breaking-{dialect}
  dialect: {dialect}
  faults: [{{type: truncate, afterTokens: 5}}]
"""

_ROUTE = """
apiVersion: llmroute.dev/v1alpha1
kind: LLMRoute
metadata: {{name: {name}}}
spec:
  targets: [{targets}]
---
"""

FLEET = "providers:" + "".join(_PROVIDERS.format(dialect=dialect, key=key) for dialect, key in KEYS.items())


def _target(name: str, url: str, more: str = "") -> str:
    dialect = name.rpartition("-")[2]
    return f"{{name: {name}, provider: {dialect}, model: model-of-{name}, url: '{url}'{more}}}"


def routes(providers: dict[str, str]) -> str:
    """A route for each provider alone, and two where one that speaks the other API may step in."""
    text = ""
    for name, url in providers.items():
        text += _ROUTE.format(name=name, targets=_target(name, url))
    for dialect, other in (("openai", "anthropic"), ("anthropic", "openai")):
        trouble = _target(f"failing-{dialect}", providers[f"failing-{dialect}"], ", prior: {ttft: 1ms}")
        healthy = _target(other, providers[other], ", prior: {ttft: 2s}")
        text += _ROUTE.format(name=f"rescued-{dialect}", targets=f"{trouble}, {healthy}")
    return text


@pytest.fixture(scope="session")
def providers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Base URLs of the simulated providers."""
    with simulating(FLEET, tmp_path_factory.mktemp("fleet")) as urls:
        yield urls


@pytest.fixture(scope="session")
def sidecar(providers: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """The sidecar that all stories share."""
    environment = {f"{dialect.upper()}_API_KEY": key for dialect, key in KEYS.items()}
    with serving(routes(providers), tmp_path_factory.mktemp("sidecar"), environment) as started:
        yield started


@pytest.fixture(params=["openai", "anthropic"])
def target(request: pytest.FixtureRequest) -> str:
    """Each story happens before a target of either API."""
    return str(request.param)


@pytest.fixture(scope="session")
def openai_app(sidecar: Sidecar) -> Iterator[openai.OpenAI]:
    """An app that speaks OpenAI's API; its key is its own affair."""
    with openai.OpenAI(base_url=sidecar.openai_url, api_key="key-of-the-app") as client:
        yield client


@pytest.fixture(scope="session")
def anthropic_app(sidecar: Sidecar) -> Iterator[anthropic.Anthropic]:
    """An app that speaks Anthropic's API; its key is its own affair."""
    with anthropic.Anthropic(base_url=sidecar.anthropic_url, api_key="key-of-the-app") as client:
        yield client

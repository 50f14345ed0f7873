"""Where each provider's operations are, and how it wants its key."""

import pytest

from llmroute import dialects
from llmroute.dialects import PROFILES, Profile
from llmroute.request import Dialect, Operation

CHAT, MESSAGES = Operation.CHAT, Operation.MESSAGES


def path(provider: str, url: str | None = None, operation: Operation = CHAT, model: str = "m") -> str:
    profile = PROFILES[provider]
    return dialects.url_path(profile, url or profile.default_url or "", model, operation)


@pytest.mark.parametrize(
    ("provider", "url", "operation", "expected"),
    [
        ("openai", None, CHAT, "/v1/chat/completions"),
        ("openai", None, MESSAGES, "/v1/chat/completions"),
        ("openai", None, Operation.COMPLETIONS, "/v1/completions"),
        ("openai", None, Operation.EMBEDDINGS, "/v1/embeddings"),
        ("openai", None, Operation.RESPONSES, "/v1/responses"),
        ("openai", "https://api.openai.com/v1/", CHAT, "/v1/chat/completions"),
        ("openrouter", None, CHAT, "/api/v1/chat/completions"),
        ("gemini", None, CHAT, "/v1beta/openai/chat/completions"),
        ("gemini", None, Operation.EMBEDDINGS, "/v1beta/openai/embeddings"),
        ("openai-compatible", "http://vllm:8000", CHAT, "/v1/chat/completions"),
        ("openai-compatible", "http://vllm:8000/", CHAT, "/v1/chat/completions"),
        ("openai-compatible", "https://api.groq.com/openai/v1", CHAT, "/openai/v1/chat/completions"),
        ("anthropic", None, MESSAGES, "/v1/messages"),
        ("anthropic", None, CHAT, "/v1/messages"),
        ("anthropic", "https://api.anthropic.com/v1", MESSAGES, "/v1/messages"),
        ("anthropic", "http://proxy/anthropic/", Operation.COUNT_TOKENS, "/anthropic/v1/messages/count_tokens"),
        ("azure-openai", "https://x.openai.azure.com/openai/v1", CHAT, "/openai/v1/chat/completions"),
        ("azure-openai", "https://x.openai.azure.com", Operation.RESPONSES, "/openai/v1/responses"),
    ],
)
def test_the_path_of_an_operation(provider: str, url: str | None, operation: Operation, expected: str) -> None:
    assert path(provider, url, operation) == expected


@pytest.mark.parametrize("base", ["", "/", "/openai", "/openai/deployments/gpt-4o"])
def test_azure_names_the_deployment_in_the_path(base: str) -> None:
    url = f"https://x.openai.azure.com{base}"
    expected = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    assert path("azure-openai", url, model="gpt-4o") == expected


def test_a_model_name_never_walks_up_the_path() -> None:
    walked = path("azure-openai", "https://x.openai.azure.com", model="../../admin?x=1")
    assert walked.startswith("/openai/deployments/..%2F..%2Fadmin%3Fx%3D1/chat")


@pytest.mark.parametrize(
    ("provider", "url", "app_path", "expected"),
    [
        ("openai", None, "/v1/images/generations", "/v1/images/generations"),
        ("openai", None, "/v1/files?limit=2", "/v1/files?limit=2"),
        ("openrouter", None, "/v1/generation?id=1", "/api/v1/generation?id=1"),
        ("gemini", None, "/v1/images/generations", "/v1beta/openai/images/generations"),
        ("anthropic", None, "/v1/files", "/v1/files"),
        ("azure-openai", "https://x.openai.azure.com", "/v1/files", "/openai/v1/files"),
        ("azure-openai", "https://x.openai.azure.com/openai/v1", "/v1/files", "/openai/v1/files"),
        ("openai-compatible", "http://vllm:8000", "/v1/rerank", "/v1/rerank"),
    ],
)
def test_the_path_of_what_we_do_not_understand(provider: str, url: str | None, app_path: str, expected: str) -> None:
    profile = PROFILES[provider]
    assert dialects.passthrough_path(profile, url or profile.default_url or "", app_path) == expected


def test_each_providers_key_has_its_own_variable_and_header() -> None:
    auth = {name: (p.key_env, p.auth_header, p.auth_prefix) for name, p in PROFILES.items()}
    assert auth == {
        "openai": ("OPENAI_API_KEY", "authorization", "Bearer "),
        "azure-openai": ("AZURE_OPENAI_API_KEY", "api-key", ""),
        "anthropic": ("ANTHROPIC_API_KEY", "x-api-key", ""),
        "openrouter": ("OPENROUTER_API_KEY", "authorization", "Bearer "),
        "gemini": ("GEMINI_API_KEY", "authorization", "Bearer "),
        "openai-compatible": (None, "authorization", "Bearer "),
    }


def test_what_is_never_translated_goes_to_openai_dialects_only() -> None:
    for profile in PROFILES.values():
        speaks_openai = profile.dialect is Dialect.OPENAI
        assert {CHAT, MESSAGES} <= profile.operations
        assert (Operation.COUNT_TOKENS in profile.operations) is not speaks_openai
        assert speaks_openai or not profile.operations & {Operation.EMBEDDINGS, Operation.RESPONSES}
        for operation in profile.operations:
            assert dialects.url_path(profile, profile.default_url or "https://h", "m", operation).startswith("/")


def test_quirks_are_known_by_host() -> None:
    def stream_usage(url: str | None) -> bool:
        profile: Profile = dialects.profile_for("openai-compatible", url)
        return profile.stream_usage

    assert not stream_usage("https://api.mistral.ai/v1")
    assert not stream_usage("https://dbc-1.cloud.databricks.com/serving-endpoints")
    assert stream_usage("https://notapi.mistral.ai.example.com/v1")
    assert stream_usage("http://vllm:8000") and stream_usage(None)
    assert dialects.profile_for("openai", None) is PROFILES["openai"]

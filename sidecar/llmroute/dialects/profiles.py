"""Providers as data: where they are, how they want their key, which operations they speak, and their quirks.

A new compatible provider is a new row of `PROFILES`, not new code. What differs between the two wire formats
themselves is not here but in their adapters.
"""

from urllib.parse import quote, urlsplit

from msgspec import Struct, structs

from llmroute.request import Dialect, Operation

AZURE_API_VERSION = "2024-10-21"
"""Azure OpenAI's newest stable version of the deployments API (`/openai/v1` needs none)."""
ANTHROPIC_VERSION = "2023-06-01"
"""The version that our translations are written for, sent when the app sent none; 2026-10-21 rejects `temperature`."""

_TRANSLATED = frozenset({Operation.CHAT, Operation.MESSAGES})
_COMPATIBLE = _TRANSLATED | {Operation.COMPLETIONS, Operation.EMBEDDINGS}


class Profile(Struct, frozen=True, kw_only=True):
    """One provider's row.

    `operations`: what an app may ask of it, translated ones included. `max_stops` and `max_name`: the longest list of
    stop sequences and the longest tool name that it accepts; None where it sets no bound.
    """

    provider: str
    dialect: Dialect
    default_url: str | None = None
    key_env: str | None = None
    auth_header: str = "authorization"
    auth_prefix: str = "Bearer "
    always: tuple[tuple[str, str], ...] = ()
    """Headers to send unless the app sent its own value."""
    otel_name: str
    """Value of `gen_ai.provider.name`."""
    operations: frozenset[Operation] = _COMPATIBLE
    stream_usage: bool = True
    """`stream_options.include_usage` may be added to streams."""
    max_tokens_field: str = "max_tokens"
    """What the chat API calls the bound of the answer: newer OpenAI models reject `max_tokens`."""
    top_k: bool = False
    """The chat API takes `top_k`, which OpenAI's own does not."""
    reasoning_samples: bool = True
    """Models that reason take `temperature` and `top_p`."""
    max_stops: int | None = None
    max_name: int | None = None


PROFILES: dict[str, Profile] = {
    profile.provider: profile
    for profile in (
        Profile(
            provider="openai",
            dialect=Dialect.OPENAI,
            default_url="https://api.openai.com/v1",
            key_env="OPENAI_API_KEY",
            otel_name="openai",
            operations=_COMPATIBLE | {Operation.RESPONSES},
            max_tokens_field="max_completion_tokens",
            reasoning_samples=False,
            max_stops=4,
            max_name=64,
        ),
        Profile(
            provider="azure-openai",
            dialect=Dialect.OPENAI,
            key_env="AZURE_OPENAI_API_KEY",
            auth_header="api-key",
            auth_prefix="",
            otel_name="azure.ai.openai",
            operations=_COMPATIBLE | {Operation.RESPONSES},
            max_tokens_field="max_completion_tokens",
            reasoning_samples=False,
            max_stops=4,
            max_name=64,
        ),
        Profile(
            provider="anthropic",
            dialect=Dialect.ANTHROPIC,
            default_url="https://api.anthropic.com",
            key_env="ANTHROPIC_API_KEY",
            auth_header="x-api-key",
            auth_prefix="",
            always=(("anthropic-version", ANTHROPIC_VERSION),),
            otel_name="anthropic",
            operations=_TRANSLATED | {Operation.COUNT_TOKENS},
            stream_usage=False,
            top_k=True,
            max_name=128,
        ),
        Profile(
            provider="openrouter",
            dialect=Dialect.OPENAI,
            default_url="https://openrouter.ai/api/v1",
            key_env="OPENROUTER_API_KEY",
            otel_name="openrouter",
            operations=_COMPATIBLE | {Operation.RESPONSES},
            top_k=True,
        ),
        Profile(
            provider="gemini",
            dialect=Dialect.OPENAI,
            default_url="https://generativelanguage.googleapis.com/v1beta/openai",
            key_env="GEMINI_API_KEY",
            otel_name="gcp.gemini",
            operations=_TRANSLATED | {Operation.EMBEDDINGS},
            max_stops=5,
            max_name=64,
        ),
        Profile(
            provider="openai-compatible",
            dialect=Dialect.OPENAI,
            otel_name="openai",
            operations=_COMPATIBLE | {Operation.RESPONSES},
        ),
    )
}
"""By `spec.Provider`. Sources: the providers' API references; Gemini: its "OpenAI compatibility" page."""

_HOSTS: dict[str, dict[str, bool]] = {
    "api.mistral.ai": {"stream_usage": False},
    "cloud.databricks.com": {"stream_usage": False},
    "azuredatabricks.net": {"stream_usage": False},
}
"""Quirks of servers that are only known by their host (or its parent domain): these refuse `stream_options`."""


def profile_for(provider: str, base_url: str | None) -> Profile:
    """The provider's row, with what is known of the server at `base_url`. Raises KeyError for an unknown provider."""
    profile = PROFILES[provider]
    host = urlsplit(base_url or "").hostname or ""
    for domain, quirks in _HOSTS.items():
        if host == domain or host.endswith(f".{domain}"):
            return structs.replace(profile, **quirks)
    return profile


_OPENAI_PATHS = {
    Operation.CHAT: "/chat/completions",
    Operation.MESSAGES: "/chat/completions",
    Operation.COMPLETIONS: "/completions",
    Operation.EMBEDDINGS: "/embeddings",
    Operation.RESPONSES: "/responses",
}
_ANTHROPIC_PATHS = {
    Operation.CHAT: "/v1/messages",
    Operation.MESSAGES: "/v1/messages",
    Operation.COUNT_TOKENS: "/v1/messages/count_tokens",
}


def url_path(profile: Profile, base_url: str, model: str, operation: Operation) -> str:
    """The request target (path and query) below the origin of `base_url`.

    Raises KeyError for an operation that is not in `profile.operations`.
    """
    base = _base_path(profile, base_url)
    if profile.dialect is Dialect.ANTHROPIC:
        return base + _ANTHROPIC_PATHS[operation]
    path = _OPENAI_PATHS[operation]
    if profile.provider != "azure-openai" or base.endswith("/openai/v1"):
        return base + path
    if operation is Operation.RESPONSES:
        return f"{base.removesuffix('/openai')}/openai/v1{path}"
    if "/deployments/" not in base:
        base = f"{base.removesuffix('/openai')}/openai/deployments/{quote(model, safe='')}"
    return f"{base}{path}?api-version={AZURE_API_VERSION}"


def passthrough_path(profile: Profile, base_url: str, app_path: str) -> str:
    """The request target for a path that we do not understand; `app_path` begins with `/v1/` and may hold a query."""
    base = _base_path(profile, base_url)
    if profile.dialect is Dialect.ANTHROPIC:
        return base + app_path
    if profile.provider == "azure-openai" and not base.endswith("/openai/v1"):
        return f"{base.partition('/openai')[0]}/openai{app_path}"
    return base + app_path.removeprefix("/v1")


def _base_path(profile: Profile, base_url: str) -> str:
    """The base URL's path without a trailing slash: Anthropic's without `/v1`, an OpenAI one without a path `/v1`."""
    path = urlsplit(base_url).path.rstrip("/")
    if profile.dialect is Dialect.ANTHROPIC:
        return path.removesuffix("/v1")
    return path or ("" if profile.provider == "azure-openai" else "/v1")

"""What a provider's error means for routing: the classification table, as data.

The first row that matches decides. A row matches by status and, where it says so, by the error's code or message:
the target is ejected only where the provider's own words name the credential, the bill or the model, never for a bare
status.
A 4xx that no row claims is the app's: returned unchanged, no failover, no penalty.
"""

import re
from collections.abc import Container
from typing import Any

import msgspec
from msgspec import Struct

from llmroute.dialects.profiles import Profile
from llmroute.request import Outcome

MAX_MESSAGE = 500
"""Characters of a provider's message that are kept: it goes into logs and errors."""
_WORDLESS = "an error without a message"


class Failure(Struct, frozen=True):
    """What to do about an error: try another target, take this one out. Its outcome tells whether it is a failure."""

    outcome: Outcome
    message: str
    failover: bool
    eject: bool


class ProviderError(Struct, frozen=True):
    """The parts of an error body that providers agree on, whatever its shape. `codes` are lower case."""

    message: str
    codes: frozenset[str]
    status: int = 0
    """An HTTP status named by the body itself (Gemini, OpenRouter, vLLM)."""


class _Row(Struct, frozen=True):
    outcome: Outcome
    statuses: Container[int]
    codes: frozenset[str] = frozenset()
    words: re.Pattern[str] | None = None
    failover: bool = True
    eject: bool = False

    def matches(self, status: int, error: ProviderError) -> bool:
        if status not in self.statuses:
            return False
        if not self.codes and self.words is None:
            return True
        return not self.codes.isdisjoint(error.codes) or bool(self.words and self.words.search(error.message))


_ANY = range(600)
_CLIENT_STATUSES = range(400, 500)
_BILLING_CODES = frozenset(
    {"insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active", "insufficient_credits"}
    | {"insufficient_balance", "payment_required", "credits_exhausted"}
)
_CONTEXT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "context_window_exceeded"})
_AUTHENTICATION_CODES = frozenset(
    {"invalid_api_key", "authentication_error", "permission_error", "invalid_authentication", "account_deactivated"}
    | {"api_key_invalid", "unauthenticated", "unauthorized", "permission_denied", "permissiondenied", "401"}
    | {"invalid_token", "missing_api_key", "no_api_key", "ip_not_authorized", "unsupported_country_region_territory"}
)
_MODEL_CODES = frozenset({"model_not_found", "deploymentnotfound", "model_not_available", "unknown_model"})
_OVERLOAD_CODES = frozenset(
    {"overloaded_error", "overloaded", "engine_overloaded", "server_overloaded", "slow_down", "model_overloaded"}
)
_LIMIT_CODES = frozenset({"rate_limit_exceeded", "rate_limit_error", "resource_exhausted", "too_many_requests", "429"})

_TABLE = (
    _Row(
        Outcome.BILLING,
        _ANY,
        _BILLING_CODES,
        re.compile(r"credit balance is too low|insufficient (credits|balance|funds)|out of credits", re.I),
        eject=True,
    ),
    _Row(
        Outcome.CONTEXT_TOO_LONG,
        {0, 400, 413, 422, 500},
        _CONTEXT_CODES,
        re.compile(
            r"maximum context length|prompt is too long|context (length|window|limit|size)"
            r"|exceeds? the maximum number of (input )?tokens|input is too long|too many input tokens",
            re.I,
        ),
    ),
    _Row(
        Outcome.AUTHENTICATION,
        {0, 400, 401, 403},
        _AUTHENTICATION_CODES,
        re.compile(
            r"(invalid|incorrect|missing|expired) (x-)?api.key|api key not valid|no auth credentials found", re.I
        ),
        eject=True,
    ),
    _Row(
        Outcome.MODEL_NOT_FOUND,
        {0, 400, 403, 404},
        _MODEL_CODES,
        re.compile(
            r"\b(model|deployment)\b.{0,200}?(does not exist|not found)|^models?/\S+ is not found"
            r"|^model: |no endpoints found|is not a valid model",
            re.I | re.S,
        ),
        eject=True,
    ),
    _Row(Outcome.RATE_LIMITED, {0, 403, 413, 429}, _LIMIT_CODES),
    _Row(Outcome.OVERLOADED, {0, 409, 429, *range(500, 600)}, _OVERLOAD_CODES, re.compile(r"\boverloaded\b", re.I)),
    _Row(Outcome.RATE_LIMITED, {429}),
    _Row(Outcome.OVERLOADED, {529}),
    _Row(Outcome.SERVER_ERROR, {408, *range(500, 600)}),
    _Row(Outcome.AUTHENTICATION, {401}),
    _Row(Outcome.BILLING, {402}),
    _Row(Outcome.CLIENT_ERROR, _CLIENT_STATUSES, failover=False),
    _Row(Outcome.SERVER_ERROR, _ANY),
)
_NOT_THE_API = _Row(Outcome.SERVER_ERROR, {403, 404, 405})
"""A web server's or firewall's page: not of the app's making, so another target may do better."""


def classify(profile: Profile, status: int, body: bytes) -> Failure:
    """What an answer with an error `status` (anything but 2xx) means; `body` may be anything, and be cut."""
    error = read_error(body)
    if error is None:
        error = ProviderError(f"{profile.provider} answered {status}", frozenset())
        if _NOT_THE_API.matches(status, error):
            return _failure(_NOT_THE_API, error)
    return _judge(status, error)


def failure_in_answer(error: ProviderError) -> Failure:
    """What an error within a 200 means: without the provider's own code it is the target's fault."""
    status = error.status if error.status in (401, 402, 403, 404, 408, 429) or error.status >= 500 else 0
    return _judge(status, error)


def _judge(status: int, error: ProviderError) -> Failure:
    return _failure(next(row for row in _TABLE if row.matches(status, error)), error)


def _failure(row: _Row, error: ProviderError) -> Failure:
    message = error.message
    if row.outcome is Outcome.AUTHENTICATION:  # some providers quote the key: never into our errors and logs
        message = "the provider refused the target's credential"
    return Failure(row.outcome, message, row.failover, row.eject)


def read_error(body: bytes) -> ProviderError | None:
    """The error that a JSON body holds, in any of the shapes that providers use; None if it holds none.

    OpenAI and Anthropic `{"error": {...}}`, Gemini `[{"error": {...}}]`, Ollama `{"error": "text"}`, vLLM and Mistral
    `{"object": "error", "message": ...}`, FastAPI `{"detail": ...}`, Azure's gateway `{"statusCode": 401, "message"}`.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        return None
    error = document.get("error")
    if error is None and (
        document.get("object") == "error" or document.get("type") == "error" or "choices" not in document
    ):
        error = document if "message" in document else document.get("detail")
    return None if error is None else error_of(error)


def error_of(error: Any) -> ProviderError:
    """The parts of a decoded error value, which may be text, an object or a list of objects."""
    if isinstance(error, list) and error:
        error = error[0]
    if not isinstance(error, dict):
        text = str(error)[:MAX_MESSAGE]
        return ProviderError(text or _WORDLESS, frozenset({text.lower()}))
    message = error.get("message") or error.get("msg") or error.get("detail") or ""
    named = [error.get("code"), error.get("type"), error.get("status"), error.get("statusCode")]
    details = error.get("details")
    if isinstance(details, list):
        named += [detail.get("reason") for detail in details if isinstance(detail, dict)]
    codes = frozenset(str(name).lower()[:MAX_MESSAGE] for name in named if isinstance(name, str | int))
    status = next((name for name in named if isinstance(name, int) and 400 <= name < 600), 0)
    text = message if isinstance(message, str) else str(message)
    return ProviderError(text[:MAX_MESSAGE] or ", ".join(sorted(codes)) or _WORDLESS, codes, status)

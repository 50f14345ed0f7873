"""The classification table against what providers really answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sidecar.dialects.world import ANTHROPIC, OPENAI, dumps, few

from llmroute import dialects
from llmroute.request import Outcome

HTML = b"<html><head><title>Not Found</title></head><body>nginx</body></html>"


def openai(message: str = "m", **members: Any) -> bytes:
    return dumps(
        {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **members}}
    )


def anthropic(kind: str, message: str = "m") -> bytes:
    return dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})


EJECTS = [
    (Outcome.AUTHENTICATION, 401, openai("Incorrect API key provided: sk-abc.", code="invalid_api_key")),
    (Outcome.AUTHENTICATION, 401, anthropic("authentication_error", "invalid x-api-key")),
    (Outcome.AUTHENTICATION, 403, anthropic("permission_error", "Your API key does not have permission")),
    (Outcome.AUTHENTICATION, 401, dumps({"error": {"code": "401", "message": "Access denied due to invalid key."}})),
    (Outcome.AUTHENTICATION, 401, dumps({"statusCode": 401, "message": "Unauthorized. Access token is missing."})),
    (Outcome.AUTHENTICATION, 403, dumps({"error": {"code": "PermissionDenied", "message": "The principal lacks"}})),
    (
        Outcome.AUTHENTICATION,
        400,
        dumps(
            [{"error": {"code": 400, "message": "API key not valid. Please pass one.", "status": "INVALID_ARGUMENT"}}]
        ),
    ),
    (
        Outcome.AUTHENTICATION,
        400,
        dumps({"error": {"code": 400, "message": "x", "details": [{"reason": "API_KEY_INVALID"}]}}),
    ),
    (Outcome.AUTHENTICATION, 401, dumps({"error": {"message": "No auth credentials found", "code": 401}})),
    (Outcome.AUTHENTICATION, 401, dumps({"error": "Unauthorized", "message": "Invalid API key"})),
    (
        Outcome.BILLING,
        429,
        openai("You exceeded your current quota", type="insufficient_quota", code="insufficient_quota"),
    ),
    (Outcome.BILLING, 400, anthropic("invalid_request_error", "Your credit balance is too low to access the API.")),
    (Outcome.BILLING, 403, anthropic("billing_error", "Your account has a billing problem")),
    (Outcome.BILLING, 402, dumps({"error": {"code": 402, "message": "Insufficient credits. Add more."}})),
    (Outcome.BILLING, 402, dumps({"error": {"message": "Insufficient Balance", "type": "unknown_error"}})),
    (Outcome.MODEL_NOT_FOUND, 404, openai("The model `gpt-9` does not exist", code="model_not_found")),
    (Outcome.MODEL_NOT_FOUND, 403, openai("Project has no access to model gpt-9", code="model_not_found")),
    (Outcome.MODEL_NOT_FOUND, 404, anthropic("not_found_error", "model: claude-9")),
    (Outcome.MODEL_NOT_FOUND, 404, dumps({"error": {"code": "DeploymentNotFound", "message": "The API deployment"}})),
    (
        Outcome.MODEL_NOT_FOUND,
        404,
        dumps({"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}),
    ),
    (Outcome.MODEL_NOT_FOUND, 404, dumps({"error": "model 'llama9' not found"})),
    (
        Outcome.MODEL_NOT_FOUND,
        404,
        dumps([{"error": {"code": 404, "message": "models/g is not found for API version"}}]),
    ),
    (Outcome.MODEL_NOT_FOUND, 404, dumps({"error": {"code": 404, "message": "No endpoints found for x/y."}})),
    (Outcome.MODEL_NOT_FOUND, 400, dumps({"error": {"code": 400, "message": "x/y is not a valid model ID"}})),
]

MOVES_ON = [
    (Outcome.RATE_LIMITED, 429, openai("Rate limit reached for gpt-4o", code="rate_limit_exceeded")),
    (Outcome.RATE_LIMITED, 429, anthropic("rate_limit_error")),
    (Outcome.RATE_LIMITED, 429, b""),
    (Outcome.RATE_LIMITED, 429, HTML),
    (Outcome.RATE_LIMITED, 413, openai("Request too large for model on tokens per minute", code="rate_limit_exceeded")),
    (
        Outcome.RATE_LIMITED,
        429,
        dumps(
            [{"error": {"code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED"}}],
        ),
    ),
    (Outcome.OVERLOADED, 529, anthropic("overloaded_error", "Overloaded")),
    (Outcome.OVERLOADED, 529, b""),
    (Outcome.OVERLOADED, 409, dumps({"error": {"code": "overloaded", "message": "busy"}})),
    (Outcome.OVERLOADED, 503, dumps([{"error": {"code": 503, "message": "The model is overloaded."}}])),
    (Outcome.SERVER_ERROR, 408, b""),
    (Outcome.SERVER_ERROR, 500, openai("The server had an error")),
    (Outcome.SERVER_ERROR, 502, HTML),
    (Outcome.SERVER_ERROR, 503, b"upstream connect error"),
    (Outcome.SERVER_ERROR, 504, b""),
    (Outcome.SERVER_ERROR, 301, b""),
    (Outcome.SERVER_ERROR, 404, HTML),  # a wrong base URL: the app can do nothing about it
    (Outcome.SERVER_ERROR, 403, b""),
    (Outcome.AUTHENTICATION, 401, b""),  # a bare status does not eject
    (Outcome.BILLING, 402, b""),
]

LARGER_WINDOW = [
    (400, openai("This model's maximum context length is 8192 tokens.", code="context_length_exceeded")),
    (400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")),
    (400, anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 3")),
    (400, dumps({"object": "error", "message": "This model's maximum context length is 4096 tokens", "code": 400})),
    (
        400,
        dumps(
            [{"error": {"code": 400, "message": "The input token count exceeds the maximum number of tokens allowed"}}]
        ),
    ),
    (400, dumps({"error": {"code": 400, "type": "exceed_context_size_error", "message": "the request exceeds"}})),
    (400, openai("Your input exceeds the context window of this model.")),
]

THE_APPS = [
    (400, openai("Invalid value for 'temperature'", param="temperature")),
    (400, dumps({"error": {"code": "content_filter", "message": "The response was filtered"}})),
    (400, anthropic("invalid_request_error", "messages.0: user messages must have non-empty content")),
    (400, b""),
    (403, dumps({"error": {"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["x"]}}})),
    (404, openai("No such file: file-1", code="not_found")),
    (409, openai("conflict")),
    (413, anthropic("request_too_large", "Request exceeds the maximum size")),
    (415, b""),
    (422, dumps({"detail": [{"loc": ["body", "n"], "msg": "too many", "type": "value_error"}]})),
]


@pytest.mark.parametrize(("outcome", "status", "body"), EJECTS)
def test_the_providers_own_words_eject_a_target(outcome: Outcome, status: int, body: bytes) -> None:
    failure = dialects.classify(OPENAI, status, body)
    assert (failure.outcome, failure.failover, failure.eject) == (outcome, True, True)


@pytest.mark.parametrize(("outcome", "status", "body"), MOVES_ON)
def test_a_passing_or_bare_failure_moves_on_without_ejecting(outcome: Outcome, status: int, body: bytes) -> None:
    failure = dialects.classify(OPENAI, status, body)
    assert (failure.outcome, failure.failover, failure.eject) == (outcome, True, False)
    assert failure.outcome.is_failure


@pytest.mark.parametrize(("status", "body"), LARGER_WINDOW)
def test_too_long_a_context_moves_on_without_blame(status: int, body: bytes) -> None:
    failure = dialects.classify(ANTHROPIC, status, body)
    assert failure.outcome is Outcome.CONTEXT_TOO_LONG
    assert (failure.failover, failure.eject, failure.outcome.is_failure) == (True, False, False)


@pytest.mark.parametrize(("status", "body"), THE_APPS)
def test_any_other_4xx_is_the_apps(status: int, body: bytes) -> None:
    failure = dialects.classify(OPENAI, status, body)
    assert failure.outcome is Outcome.CLIENT_ERROR
    assert (failure.failover, failure.eject, failure.outcome.is_failure) == (False, False, False)


def test_a_quoted_key_is_never_repeated() -> None:
    body = openai("Incorrect API key provided: sk-canary-123. Find yours at", code="invalid_api_key")
    assert "canary" not in repr(dialects.classify(OPENAI, 401, body))
    assert "canary" not in repr(dialects.classify(OPENAI, 401, b"key sk-canary-123 is wrong"))


def test_messages_are_bounded() -> None:
    assert len(dialects.classify(OPENAI, 500, openai("x" * 100_000)).message) <= 500
    assert len(dialects.classify(OPENAI, 500, dumps({"error": ["y" * 100_000]})).message) <= 500


@few
@given(
    st.integers(300, 599),
    st.binary(max_size=80)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "message", "code", "type", "detail", "details"]), inner, max_size=4
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_whatever_comes_is_classified(status: int, body: bytes) -> None:
    failure = dialects.classify(OPENAI, status, body)
    assert failure.message
    assert failure.failover or failure.outcome is Outcome.CLIENT_ERROR
    assert failure.outcome.is_failure or not failure.eject

"""Answers of our own, as the official SDKs read them."""

import json
from typing import Any

import anthropic.types
import openai.types
import pytest
from pydantic import TypeAdapter
from tests.sidecar.dialects.world import ANTHROPIC, OPENAI, dumps

from llmroute import dialects
from llmroute.errors import (
    BadRequest,
    DeadlineExceeded,
    NoCandidate,
    RateLimited,
    Rejected,
    RequestError,
    StreamBroken,
    TooLarge,
    UnknownModel,
)
from llmroute.request import Dialect, Operation


def error_of(dialect: Dialect, error: RequestError) -> Any:
    return json.loads(dialects.error_body(dialect, error))


def test_an_error_for_an_openai_app() -> None:
    body = error_of(Dialect.OPENAI, BadRequest("`model` is missing", param="model"))
    kind = "invalid_request_error"
    assert body == {
        "error": {"message": "`model` is missing", "type": kind, "param": "model", "code": "invalid_request"}
    }
    assert error_of(Dialect.OPENAI, UnknownModel("x"))["error"]["type"] == "not_found_error"
    assert error_of(Dialect.OPENAI, RateLimited("x"))["error"]["type"] == "rate_limit_error"
    assert error_of(Dialect.OPENAI, NoCandidate("x"))["error"]["type"] == "server_error"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("x"), "invalid_request_error"),
        (UnknownModel("x"), "not_found_error"),
        (TooLarge("x"), "request_too_large"),
        (RateLimited("x"), "rate_limit_error"),
        (NoCandidate("x"), "overloaded_error"),
        (DeadlineExceeded("x"), "timeout_error"),
        (StreamBroken("x"), "api_error"),
    ],
)
def test_an_error_for_an_anthropic_app(error: RequestError, kind: str) -> None:
    assert error_of(Dialect.ANTHROPIC, error) == {"type": "error", "error": {"type": kind, "message": "x"}}


def test_a_broken_stream_ends_with_an_error_event() -> None:
    broken = StreamBroken("the target stalled")
    chat = dialects.error_event(Dialect.OPENAI, Operation.CHAT, broken)
    assert chat.startswith(b'data: {"error":{"message":"the target stalled"') and chat.endswith(b"}}\n\n")
    message = dialects.error_event(Dialect.ANTHROPIC, Operation.MESSAGES, broken)
    assert message.startswith(b'event: error\ndata: {"type":"error","error":{"type":"api_error"')
    response = dialects.error_event(Dialect.OPENAI, Operation.RESPONSES, broken)
    assert response.startswith(b'event: error\ndata: {"type":"error","code":"stream_broken"')


def test_our_own_error_event_reads_as_a_failure() -> None:
    """One sidecar may be another's target."""
    event = dialects.error_event(Dialect.OPENAI, Operation.CHAT, Rejected("no", upstream_status=0))
    assert json.loads(event[6:])["error"]["code"] == "rejected"


def test_a_providers_error_is_unchanged_in_its_own_dialect() -> None:
    body = b'{"error" : {"message":"bad","extra":1}}'
    assert dialects.translate_error(Dialect.OPENAI, OPENAI, 400, body) is body


def test_a_providers_error_is_told_in_the_apps_dialect() -> None:
    theirs = dumps({"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: too large"}})
    ours = json.loads(dialects.translate_error(Dialect.OPENAI, ANTHROPIC, 400, theirs))
    assert ours["error"] == {
        "message": "max_tokens: too large",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    theirs = dumps({"error": {"message": "bad tool", "type": "invalid_request_error", "code": None}})
    told = json.loads(dialects.translate_error(Dialect.ANTHROPIC, OPENAI, 400, theirs))
    assert told == {"type": "error", "error": {"type": "invalid_request_error", "message": "bad tool"}}
    assert b"nginx" in dialects.translate_error(Dialect.ANTHROPIC, OPENAI, 400, b"<html>nginx</html>")
    assert b"openai answered 400" in dialects.translate_error(Dialect.ANTHROPIC, OPENAI, 400, b"")


def test_models_as_the_sdks_read_them() -> None:
    listed = json.loads(dialects.model_list(Dialect.OPENAI, ["chat", "gpt-4o"]))
    assert listed["object"] == "list"
    assert [TypeAdapter(openai.types.Model).validate_python(model).id for model in listed["data"]] == ["chat", "gpt-4o"]
    listed = json.loads(dialects.model_list(Dialect.ANTHROPIC, ["chat", "gpt-4o"]))
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == ("chat", "gpt-4o", False)
    entries = TypeAdapter(list[anthropic.types.ModelInfo]).validate_python(listed["data"])
    assert [entry.id for entry in entries] == ["chat", "gpt-4o"]
    assert json.loads(dialects.model_entry(Dialect.OPENAI, "chat"))["id"] == "chat"
    assert json.loads(dialects.model_list(Dialect.ANTHROPIC, []))["first_id"] is None

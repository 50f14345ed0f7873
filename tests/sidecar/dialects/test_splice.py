"""Same dialect: the app's bytes with another model, and nothing else touched."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sidecar.dialects.world import (
    ANTHROPIC,
    COMPATIBLE,
    HELLO,
    OPENAI,
    chat,
    dumps,
    few,
    messages,
    raw_request,
    target,
)

from llmroute import dialects
from llmroute.errors import Unsupported
from llmroute.request import InferenceRequest, Operation

OPTIONS = b',"stream_options":{"include_usage":true}'


def spliced(request: InferenceRequest, profile: dialects.Profile = OPENAI) -> bytes:
    return dialects.encode(request, profile, target(profile, "gpt-4o"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
styles = st.sampled_from(
    [
        {"separators": (",", ":")},
        {"separators": (", ", ": ")},
        {"indent": 2},
        {"separators": (" ,\r\n", "\t:  ")},
        {"separators": (",", ":"), "ensure_ascii": False},
    ]
)


@few
@given(
    before=st.dictionaries(st.text(max_size=6), json_values, max_size=4),
    after=st.dictionaries(st.text(max_size=6), json_values, max_size=4),
    style=styles,
    model=st.text(min_size=1, max_size=8),
)
def test_all_other_bytes_stay(before: dict[str, Any], after: dict[str, Any], style: dict[str, Any], model: str) -> None:
    own = {"model", "messages", "stream", "stream_options"}
    members = {name: value for name, value in before.items() if name not in own}
    members |= {"messages": HELLO, "model": model}
    members |= {name: value for name, value in after.items() if name not in own | members.keys()}
    body = json.dumps(members, **style).encode()
    written = json.dumps(model, ensure_ascii=style.get("ensure_ascii", True)).encode()

    request = raw_request(Operation.CHAT, body)
    at = request.peek.model_at
    assert body[at : at + len(written)] == written
    assert spliced(request) == body[:at] + b'"gpt-4o"' + body[at + len(written) :]
    assert json.loads(spliced(request)) == members | {"model": "gpt-4o"}


def test_numbers_keep_the_digits_that_they_were_written_with() -> None:
    body = b'{"x":1.000,"messages":[],"model":"chat","seed":123456789012345678901234567890,"t":1e2}'
    assert spliced(raw_request(Operation.CHAT, body)) == body.replace(b'"chat"', b'"gpt-4o"')


def test_a_model_inside_a_message_is_not_the_model() -> None:
    body = rb'{"messages":[{"role":"user","content":"\"model\":\"chat\""}],"extra":{"model":"chat"},"model":"chat"}'
    assert spliced(raw_request(Operation.CHAT, body)) == body[:-7] + b'"gpt-4o"}'


def test_an_escaped_member_name_is_still_the_model() -> None:
    body = b'{"mod\\u0065l":"chat","messages":[]}'
    assert spliced(raw_request(Operation.CHAT, body)) == b'{"mod\\u0065l":"gpt-4o","messages":[]}'


def test_streams_are_asked_to_count_their_tokens() -> None:
    body = b'{"model":"chat","messages":[],"stream":true}'
    assert (
        spliced(raw_request(Operation.CHAT, body)) == b'{"model":"gpt-4o"' + OPTIONS + b',"messages":[],"stream":true}'
    )
    completion = b'{"prompt":"","model":"chat","stream":true}'
    assert OPTIONS in spliced(raw_request(Operation.COMPLETIONS, completion))


def test_an_app_that_asks_for_usage_itself_is_not_touched() -> None:
    body = b'{"model":"chat","messages":[],"stream":true,"stream_options":{"include_usage": true}}'
    assert spliced(raw_request(Operation.CHAT, body)) == body.replace(b'"chat"', b'"gpt-4o"')


def test_other_stream_options_stay() -> None:
    body = b'{"stream_options": {"include_obfuscation": false}, "model": "chat", "messages": [], "stream": true}'
    changed = (
        b'{"stream_options": {"include_obfuscation":false,"include_usage":true}, "model": "gpt-4o", "messages": []'
    )
    assert spliced(raw_request(Operation.CHAT, body)).startswith(changed)
    refused = chat(stream=True, stream_options={"include_usage": False})
    assert json.loads(spliced(refused))["stream_options"] == {"include_usage": True}
    nothing = chat(stream=True, stream_options=None)
    assert json.loads(spliced(nothing))["stream_options"] == {"include_usage": True}


def test_no_stream_options_where_the_provider_refuses_them() -> None:
    mistral = dialects.profile_for("openai-compatible", "https://api.mistral.ai/v1")
    assert b"stream_options" not in spliced(chat(stream=True), mistral)
    assert b"stream_options" in spliced(chat(stream=True), COMPATIBLE)
    assert b"stream_options" not in spliced(messages(stream=True), ANTHROPIC)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (Operation.EMBEDDINGS, b'{"input":"x","model":"chat"}'),
        (Operation.RESPONSES, b'{"input":"x","stream":true,"model":"chat"}'),
        (Operation.COMPLETIONS, b'{"prompt":"x","model":"chat"}'),
    ],
)
def test_operations_that_are_never_translated_pass_through(operation: Operation, body: bytes) -> None:
    request = raw_request(operation, body)
    assert spliced(request) == body.replace(b'"chat"', b'"gpt-4o"')
    assert dialects.missing_for(OPENAI, request) is None
    assert dialects.missing_for(ANTHROPIC, request) == operation.path
    with pytest.raises(Unsupported):
        spliced(request, ANTHROPIC)


def test_unknown_members_pass_to_the_same_dialect_only() -> None:
    assert b'"guided_json":{}' in spliced(chat(guided_json={}), COMPATIBLE)
    assert dialects.missing_for(COMPATIBLE, chat(guided_regex="a+")) is None
    assert dialects.missing_for(ANTHROPIC, chat(guided_regex="a+")) == "guided_regex"


def test_counting_tokens_is_for_anthropic_alone() -> None:
    request = raw_request(Operation.COUNT_TOKENS, dumps({"model": "chat", "messages": HELLO}))
    assert spliced(request, ANTHROPIC) == request.body.replace(b'"chat"', b'"gpt-4o"')
    assert dialects.missing_for(OPENAI, request) == "/v1/messages/count_tokens"
    assert json.loads(dialects.estimate_input_tokens(request)) == {"input_tokens": 9, "estimated": True}

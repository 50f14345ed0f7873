"""What routing learns of a body, and what a broken one is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sidecar.dialects.world import HELLO, chat, dumps, few, messages, raw_request

from llmroute import dialects
from llmroute.errors import BadRequest
from llmroute.request import Operation

CHAT = Operation.CHAT


def complaint(body: bytes, operation: Operation = CHAT) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        dialects.peek(operation, body)
    return caught.value


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"", None, "empty"),
        (b"{", None, "truncated"),
        (b'{"model":"a","messages":[]} trailing', None, "trailing"),
        (b'{"model":"a","messages":[NaN]}', None, "byte 25"),
        (b"[]", None, "JSON object"),
        (b'"text"', None, "JSON object"),
        (b"\xef\xbb\xbf{}", None, "byte 0"),
        (b'{"model":"a","messages":["\xff"]}', None, "UTF-8"),
        (b'{"\xff":1}', None, "UTF-8"),
        (b'{"model":"a","messages":["\\ud800"]}', None, "JSON"),
        (b'{"model":"\\udc00","messages":[]}', None, "JSON"),
        (b'{"model":"a","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, "nested"),
        (b'{"messages":[]}', "model", "missing"),
        (b'{"model":null,"messages":[]}', "model", "string"),
        (b'{"model":7,"messages":[]}', "model", "string"),
        (b'{"model":"","messages":[]}', "model", "empty"),
        (b'{"model":"a"}', "messages", "missing"),
        (b'{"model":"a","messages":"hi"}', "messages", "array"),
        (b'{"model":"a","messages":[],"stream":"true"}', "stream", "true or false"),
        (b'{"model":"a","messages":[],"stream":1}', "stream", "true or false"),
        (b'{"model":"a","messages":[],"model":"b"}', "model", "twice"),
        (b'{"model":"a","model":"a","messages":[]}', "model", "twice"),
        (b'{"model":"a","messages":[],"x":1,"messages":[1]}', "messages", "twice"),
        (b'{"model":"a","messages":[],"mod\\u0065l":"b"}', "model", "twice"),
        (b'{"model": "a", "messages": [], "stream": true, "stream": false}', "stream", "twice"),
        (b'{"model":"a","messages":[],"stream_options":1e999}', "stream_options", "JSON"),
    ],
)
def test_a_broken_body_is_told_what_is_wrong_and_where(body: bytes, param: str | None, words: str) -> None:
    error = complaint(body)
    assert error.param == param
    assert words in error.message


def test_embeddings_need_an_input() -> None:
    assert complaint(b'{"model":"a"}', Operation.EMBEDDINGS).param == "input"


@few
@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_a_bad_request(body: bytes) -> None:
    try:
        dialects.peek(CHAT, body)
    except BadRequest as error:
        assert error.message


@few
@given(st.text(max_size=30).map(lambda text: dumps({"model": text, "messages": []}) if text.isprintable() else b"{}"))
def test_any_model_name_is_found(body: bytes) -> None:
    wanted = json.loads(body).get("model")
    if wanted:
        assert dialects.peek(CHAT, body).model == wanted


def test_a_plain_chat_needs_nothing() -> None:
    peek = chat().peek
    assert (peek.model, peek.stream, peek.needs, peek.stateful) == ("chat", False, frozenset(), False)
    assert list(peek.fields) == ["model", "messages"]


@pytest.mark.parametrize(
    ("members", "needs"),
    [
        ({"stream": True}, {"streaming"}),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, {"tools"}),
        ({"tools": []}, set()),
        ({"tools": None}, set()),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"response_format": {"type": "json_object"}}, {"json"}),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}}, {"json"}),
        ({"response_format": {"type": "text"}}, set()),
        ({"audio": {"voice": "alloy"}, "modalities": ["text", "audio"]}, {"audio"}),
        ({"reasoning_effort": "high"}, {"reasoning"}),
        ({"reasoning_effort": "none"}, set()),
    ],
)
def test_chat_members_tell_what_a_target_must_be_able_to(members: dict[str, Any], needs: set[str]) -> None:
    assert chat(**members).peek.needs == needs


def parts(*given_parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "look"}, *given_parts]}]


def test_images_need_vision_wherever_they_hide() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    assert chat(messages=parts(image)).peek.needs == {"vision"}
    shown = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    assert messages(messages=parts(shown)).peek.needs == {"vision"}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [shown]}
    assert messages(messages=parts(result)).peek.needs == {"vision"}
    asked = {
        "model": "m",
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://e.com"}]}],
    }
    assert raw_request(Operation.RESPONSES, dumps(asked)).peek.needs == {"vision"}


def test_text_about_images_needs_no_vision() -> None:
    text = 'what does {"type":"image_url"} mean? [1]'
    assert chat(messages=[{"role": "user", "content": text}]).peek.needs == frozenset()
    assert chat(messages=parts({"type": "text", "text": text})).peek.needs == frozenset()


def test_audio_in_the_prompt_needs_audio() -> None:
    spoken = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    assert chat(messages=parts(spoken)).peek.needs == {"audio"}


def test_content_that_is_no_content_is_left_to_the_provider() -> None:
    assert chat(messages=[1, [2], {"content": [3]}]).peek.needs == frozenset()


def test_an_image_counts_as_an_image_not_as_its_bytes() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}
    assert 800 <= chat(messages=parts(picture)).peek.prompt_tokens < 1000


def test_the_prompt_is_estimated_from_its_bytes() -> None:
    request = chat(messages=[{"role": "user", "content": "x" * 4000}], tools=[{"type": "function", "pad": "y" * 4000}])
    assert 2000 <= request.peek.prompt_tokens < 2050


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_bound_of_the_answer_is_known(name: str) -> None:
    assert chat(**{name: 77}).peek.max_output_tokens == 77
    assert chat(**{name: None}).peek.max_output_tokens is None
    assert chat(**{name: -1}).peek.max_output_tokens is None  # llama.cpp's "no bound"


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        (Operation.RESPONSES, {"input": "hi", "previous_response_id": "resp_1"}),
        (Operation.RESPONSES, {"input": "hi", "conversation": "conv_1"}),
        (Operation.RESPONSES, {"input": "hi", "background": True}),
        (Operation.RESPONSES, {"prompt": {"id": "pmpt_1"}}),
        (Operation.RESPONSES, {"input": "hi", "tools": [{"type": "web_search"}]}),
        (Operation.MESSAGES, {"messages": HELLO, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        (Operation.MESSAGES, {"messages": HELLO, "container": "c"}),
        (Operation.MESSAGES, {"messages": HELLO, "thread": {"type": "continue", "previous_message_id": "msg_1"}}),
        (Operation.CHAT, {"messages": HELLO, "web_search_options": {"search_context_size": "low"}}),
    ],
)
def test_what_depends_on_one_providers_state_is_stateful(operation: Operation, members: dict[str, Any]) -> None:
    assert raw_request(operation, dumps({"model": "m", **members})).peek.stateful


def test_tools_that_the_app_runs_are_not_stateful() -> None:
    tools = [
        {"name": "f", "input_schema": {}},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "custom", "name": "c"},
    ]
    assert not messages(tools=tools).peek.stateful
    assert not raw_request(Operation.RESPONSES, dumps({"model": "m", "input": "hi", "background": False})).peek.stateful
    assert not raw_request(Operation.COMPLETIONS, dumps({"model": "m", "prompt": "hi"})).peek.stateful


def test_whether_the_app_wants_usage_in_its_stream() -> None:
    assert chat(stream=True, stream_options={"include_usage": True}).peek.include_usage
    assert not chat(stream=True, stream_options={"include_usage": False}).peek.include_usage
    assert not chat(stream=True, stream_options=None).peek.include_usage
    assert not chat(stream=True).peek.include_usage

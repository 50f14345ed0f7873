"""Answers that are not streams: the target's very bytes, once complete."""

from typing import Any

import pytest
from tests.sidecar.dialects.world import OPENAI, chat, dumps, feed_all, raw_request

from llmroute import dialects
from llmroute.dialects import AnswerReader
from llmroute.errors import StreamBroken
from llmroute.request import Operation, Outcome, Usage


def read(body: bytes, operation: Operation = Operation.CHAT) -> AnswerReader:
    asked = {"model": "m", "messages": [], "input": "x", "prompt": "x"}
    reader = dialects.answer_reader(raw_request(operation, dumps(asked)), OPENAI)
    assert feed_all(reader, body[:7], body[7:]) == body
    return reader


def completion(**members: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi", "new": [1.50]}, "finish_reason": "length"}
    return dumps({"id": "chatcmpl-1", "choices": [choice], "future": {"a": None}, **members})


def test_usage_and_finish_are_read_and_not_a_byte_is_changed() -> None:
    counts = {"prompt_tokens": 9, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 3}}
    reader = read(completion(usage=counts).replace(b",", b" ,\n"))
    assert reader.usage == Usage(input=9, output=0, cached_input=3)
    assert (reader.finish, reader.ended, reader.first_content, reader.content_frames) == ("length", True, True, 0)


@pytest.mark.parametrize("usage", [None, [], "many", {}, {"prompt_tokens": "9"}])
def test_usage_of_another_shape_is_no_usage(usage: Any) -> None:
    assert read(completion(usage=usage)).usage is None


def test_deepseeks_cached_tokens_count() -> None:
    counts = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 1}
    assert read(completion(usage=counts)).usage == Usage(input=9, output=1, cached_input=8)


def test_embeddings_and_responses_have_their_own_counts() -> None:
    embedding = dumps({"object": "list", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}})
    assert read(embedding, Operation.EMBEDDINGS).usage == Usage(input=8, output=0)
    response = dumps({"id": "resp_1", "error": None, "usage": {"input_tokens": 5, "output_tokens": 2}})
    assert read(response, Operation.RESPONSES).usage == Usage(input=5, output=2)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b'{"choices": [', completion()[:-1], b"<html>", b"[]", b"7", b"\xff", b"null"),
        completion(usage={"prompt_tokens_details": 1})[:-1],
    ],
)
def test_an_incomplete_or_foreign_answer_is_broken(body: bytes) -> None:
    reader = dialects.answer_reader(chat(), OPENAI)
    reader.feed(body)
    with pytest.raises(StreamBroken):
        reader.close()
    assert not reader.ended


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "overloaded", "type": "server_error"}}',
        b'[{"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}]',
        b'{"error": "server overloaded"}',
    ],
)
def test_an_error_in_a_200_is_a_failure(body: bytes) -> None:
    reader = read(body)
    assert reader.failure is not None
    assert (reader.failure.outcome, reader.failure.failover) == (Outcome.OVERLOADED, True)
    assert (reader.ended, reader.first_content) == (False, False)


def test_a_body_without_end_is_not_held_for_ever() -> None:
    reader = dialects.answer_reader(chat(), OPENAI)
    with pytest.raises(StreamBroken, match="bytes"):
        for _ in range(65):
            reader.feed(bytes(1024 * 1024))

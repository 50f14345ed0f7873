"""Whatever a target sends: a reader takes it, or says that the answer is broken, and nothing else."""

import itertools
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sidecar.dialects.world import (
    ANTHROPIC,
    COMPATIBLE,
    DONE,
    HELLO,
    OPENAI,
    data,
    dumps,
    event,
    few,
    raw_request,
)

from llmroute import dialects
from llmroute.dialects import Profile
from llmroute.errors import StreamBroken
from llmroute.request import Operation

Frame = tuple[str, Any]
"""Event name and value; an OpenAI frame has no name."""

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
ODDITIES: list[Any] = [None, True, 0, -1, 1e308, 10**30, "", "x", [], {}, [1], ["x"], {"a": 1}, [None], [{}], [[]]]
CALL = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def choices(delta: dict[str, Any], finish: str | None = None) -> Frame:
    choice = {"index": 0, "delta": delta, "text": "", "finish_reason": finish}
    return "", {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def named(kind: str, **members: Any) -> Frame:
    return kind, {"type": kind, **members}


CHUNKS = [
    choices({"role": "assistant", "content": ""}),
    choices({"content": "hi"}),
    choices({"reasoning_content": "hm", "refusal": None}),
    choices({"tool_calls": [{"index": 0, **CALL}]}),
    choices({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
    choices({}, "tool_calls"),
    ("", {"id": "x", "choices": [], "usage": USAGE}),
]
EVENTS = [
    named("message_start", message={"id": "i", "model": "m", "content": [], "usage": {"input_tokens": 3}}),
    named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    named("content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"}),
    named("content_block_stop", index=0),
    named("content_block_start", index=1, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}}),
    named("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": "{}"}),
    named("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 5}),
    named("message_stop"),
]
FAILED = named("error", error={"type": "overloaded_error", "message": "Overloaded", "code": 529, "details": [{}]})
RESPONSES = [
    named("response.output_item.added", item={"type": "function_call", "name": "f"}),
    named("response.output_text.delta", delta="hi"),
    named("response.completed", response={"usage": {"input_tokens": 1}, "incomplete_details": {"reason": "x"}}),
]
COMPLETION = {
    "id": "x",
    "model": "m",
    "choices": [{"finish_reason": "tool_calls", "message": {"content": "hi", "tool_calls": [CALL]}}],
    "usage": USAGE,
}
MESSAGE = {
    "id": "i",
    "type": "message",
    "model": "m",
    "content": [
        {"type": "text", "text": "hi"},
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
STREAMS: list[tuple[Operation, Profile, list[Frame]]] = [
    (Operation.CHAT, COMPATIBLE, CHUNKS),
    (Operation.CHAT, ANTHROPIC, EVENTS),
    (Operation.MESSAGES, ANTHROPIC, EVENTS),
    (Operation.MESSAGES, OPENAI, CHUNKS),
    (Operation.COMPLETIONS, OPENAI, CHUNKS),
    (Operation.RESPONSES, OPENAI, RESPONSES),
]
BODIES: list[tuple[Operation, Profile, dict[str, Any]]] = [
    (Operation.CHAT, OPENAI, COMPLETION),
    (Operation.CHAT, ANTHROPIC, MESSAGE),
    (Operation.MESSAGES, ANTHROPIC, MESSAGE),
    (Operation.MESSAGES, OPENAI, COMPLETION),
    (Operation.RESPONSES, OPENAI, COMPLETION),
    (Operation.EMBEDDINGS, OPENAI, COMPLETION),
]
seeds = st.integers(0, 2**32)
names = [f"{operation.label}-{profile.provider}" for operation, profile, _ in STREAMS]


def spoilt(value: Any, dice: Random) -> Any:
    """The same with members lost, and others that are something else."""
    if dice.random() < 0.1:
        return dice.choice(ODDITIES)
    if isinstance(value, dict):
        return {name: spoilt(member, dice) for name, member in value.items() if dice.random() > 0.05}
    if isinstance(value, list):
        return [spoilt(member, dice) for member in value]
    return value


def written(name: str, value: Any) -> bytes:
    return f"event: {name}\ndata: ".encode() + dumps(value) + b"\n\n" if name else data(value)


def torn(whole: bytes, dice: Random) -> list[bytes]:
    """The bytes as reads of any size, now and then with a byte that is another."""
    if whole and dice.random() < 0.3:
        at = dice.randrange(len(whole))
        whole = whole[:at] + dice.randbytes(1) + whole[at + 1 :]
    cuts = sorted({0, len(whole), *(dice.randrange(len(whole) + 1) for _ in range(dice.randrange(4)))})
    return [whole[start:end] for start, end in itertools.pairwise(cuts)]


def read(operation: Operation, profile: Profile, stream: bool, reads: list[bytes]) -> None:
    """All the way through a reader, as an attempt does it."""
    asked = {"model": "chat", "max_tokens": 9, "messages": HELLO, "input": "x", "prompt": "x", "stream": stream}
    reader = dialects.answer_reader(raw_request(operation, dumps(asked)), profile)
    try:
        for piece in reads:
            reader.feed(piece)
            if reader.failure is not None:
                return
        reader.close()
    except StreamBroken:
        pass


@pytest.mark.parametrize(("operation", "profile", "frames"), STREAMS, ids=names)
def test_a_spoilt_stream_is_read_or_broken(operation: Operation, profile: Profile, frames: list[Frame]) -> None:
    @few
    @given(seeds)
    def hold(seed: int) -> None:
        dice = Random(seed)
        told = frames if dice.random() < 0.8 else [*frames[: dice.randrange(len(frames))], FAILED]
        end = DONE if frames is not EVENTS else b""
        whole = b"".join([written(name, spoilt(value, dice)) for name, value in told]) + end
        read(operation, profile, True, torn(whole, dice))

    hold()


@pytest.mark.parametrize(("operation", "profile", "body"), BODIES)
def test_a_spoilt_body_is_read_or_broken(operation: Operation, profile: Profile, body: dict[str, Any]) -> None:
    @few
    @given(seeds)
    def hold(seed: int) -> None:
        dice = Random(seed)
        read(operation, profile, False, torn(dumps(spoilt(body, dice)), dice))

    hold()


@pytest.mark.parametrize("reason", ODDITIES, ids=repr)
@pytest.mark.parametrize("operation", [Operation.MESSAGES, Operation.CHAT])
def test_whatever_stands_for_a_stop_reason(operation: Operation, reason: Any) -> None:
    stream = event("message_start", message={}) + event("message_delta", delta={"stop_reason": reason})
    read(operation, ANTHROPIC, True, [stream + event("message_stop")])

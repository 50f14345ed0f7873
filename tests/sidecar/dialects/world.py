"""Requests, frames and answers as apps and providers write them."""

import json
from typing import Any

from hypothesis import settings

from llmroute import dialects
from llmroute.dialects import AnswerReader, Profile
from llmroute.request import NO_WISHES, InferenceRequest, Operation
from llmroute.spec import Target

OPENAI = dialects.PROFILES["openai"]
ANTHROPIC = dialects.PROFILES["anthropic"]
COMPATIBLE = dialects.PROFILES["openai-compatible"]
few = settings(deadline=None, max_examples=40)
"""Enough for a busy machine: whoever hunts for a bug raises it."""
CREATED = 1763744978
"""Unix time of every request."""
HELLO = [{"role": "user", "content": "Hello"}]


def dumps(value: Any) -> bytes:
    """JSON as the OpenAI and Anthropic SDKs write it: compact, text unescaped."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def raw_request(operation: Operation, body: bytes) -> InferenceRequest:
    return InferenceRequest(
        id="req-1",
        operation=operation,
        peek=dialects.peek(operation, body),
        body=body,
        wishes=NO_WISHES,
        arrived=0.0,
        created=CREATED,
    )


def chat(**members: Any) -> InferenceRequest:
    return raw_request(Operation.CHAT, dumps({"model": "chat", "messages": HELLO, **members}))


def messages(**members: Any) -> InferenceRequest:
    return raw_request(Operation.MESSAGES, dumps({"model": "chat", "max_tokens": 100, "messages": HELLO, **members}))


def target(profile: Profile = OPENAI, model: str = "target-model", **members: Any) -> Target:
    return Target(name="t", provider=profile.provider, model=model, **members)  # type: ignore[arg-type]


def sent(request: InferenceRequest, profile: Profile, model: str = "target-model", **members: Any) -> Any:
    """What a target of the profile is sent, decoded."""
    return json.loads(dialects.encode(request, profile, target(profile, model, **members)))


def data(value: Any) -> bytes:
    """One OpenAI frame."""
    return b"data: " + (value if isinstance(value, bytes) else dumps(value)) + b"\n\n"


DONE = data(b"[DONE]")


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **members: Any) -> bytes:
    """One chat completion chunk as OpenAI sends it."""
    choice = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    return data(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1730000000,
            "model": "gpt-4o-2024-08-06",
            "choices": [choice],
            **members,
        }
    )


def usage_chunk(**usage: Any) -> bytes:
    """The extra chunk of stream_options.include_usage."""
    return chunk(choices=[], usage=usage)


def event(kind: str, **members: Any) -> bytes:
    """One Anthropic or Responses frame."""
    return f"event: {kind}\ndata: ".encode() + dumps({"type": kind, **members}) + b"\n\n"


def feed_all(reader: AnswerReader, *chunks: bytes) -> bytes:
    """Everything that the app gets of an answer that came in these reads."""
    return b"".join([reader.feed(read) for read in chunks]) + reader.close()


def frames_of(stream: bytes) -> list[Any]:
    """The decoded data of each frame; `[DONE]` as that text."""
    found = []
    for frame in stream.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].strip() for line in frame.split(b"\n") if line.startswith(b"data:")]
        if lines:
            text = b"\n".join(lines)
            found.append("[DONE]" if text == b"[DONE]" else json.loads(text))
    return found

"""Answers to bodies and streams of chat and completions."""

from collections.abc import Iterator
from typing import Any

import orjson

from llmroute.simulator.answers import CREATED, Answer, Call, Reply
from llmroute.simulator.openai.errors import error_event

STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"
_DONE = b"data: [DONE]\n\n"


def write_chat(answer: Answer) -> Reply:
    """The answer of POST /chat/completions."""
    if answer.ask.stream:
        return _stream_chat(answer)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.words) or None, "refusal": None}
    if answer.thoughts and answer.thoughts_shown:
        message["reasoning_content"] = "".join(answer.thoughts)
    if answer.calls:
        message["tool_calls"] = [_call(call) for call in answer.calls]
    choices = [
        {"index": number, "message": message, "logprobs": None, "finish_reason": finish_reason(answer)}
        for number in range(answer.ask.choices)
    ]
    body = {**_common(answer, "chat.completion", "chatcmpl"), "choices": choices, "usage": usage(answer)}
    return Reply(JSON, orjson.dumps(body), tokens=answer.tokens)


def write_completion(answer: Answer) -> Reply:
    """The answer of POST /completions, streamed or not."""
    common = _common(answer, "text_completion", "cmpl")
    if not answer.ask.stream:
        choices = [
            {"index": number, "text": "".join(answer.words), "logprobs": None, "finish_reason": finish_reason(answer)}
            for number in range(answer.ask.choices)
        ]
        return Reply(JSON, orjson.dumps({**common, "choices": choices, "usage": usage(answer)}), tokens=answer.tokens)

    def frame(text: str, finish: str | None) -> bytes:
        choices = [
            {"index": number, "text": text, "logprobs": None, "finish_reason": finish}
            for number in range(answer.ask.choices)
        ]
        return b"data: %b\n\n" % orjson.dumps({**common, "choices": choices})

    frames = (*(b"" for _ in answer.thoughts), *(frame(word, None) for word in answer.words))
    closing = frame("", finish_reason(answer)) + _usage_frame(answer, common) + _DONE
    return Reply(STREAM, b"", frames, closing, answer.tokens, error_event)


def finish_reason(answer: Answer) -> str:
    """Why the answer ends, in this dialect's words."""
    return {"stop_sequence": "stop", "refusal": "content_filter"}.get(answer.stop, answer.stop)


def usage(answer: Answer) -> dict[str, Any]:
    """The usage object of chat and completions."""
    prompt, completion = answer.ask.prompt_tokens, answer.tokens * answer.ask.choices
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": len(answer.thoughts) * answer.ask.choices, "audio_tokens": 0},
    }


def _stream_chat(answer: Answer) -> Reply:
    common = _common(answer, "chat.completion.chunk", "chatcmpl")
    before, after = _around(answer, common)
    indexes = range(answer.ask.choices)

    def frame(delta: bytes) -> bytes:
        return b"".join(before % number + delta + after for number in indexes)

    opening = frame(b'{"role":"assistant","content":"","refusal":null}')
    frames = tuple(frame(delta) if delta else b"" for delta in _deltas(answer))
    finish = b'"finish_reason":%b' % orjson.dumps(finish_reason(answer))
    last = frame(b"{}").replace(b'"finish_reason":null', finish)
    return Reply(STREAM, opening, frames, last + _usage_frame(answer, common) + _DONE, answer.tokens, error_event)


def _deltas(answer: Answer) -> Iterator[bytes]:
    for thought in answer.thoughts:
        yield b'{"reasoning_content":%b}' % orjson.dumps(thought) if answer.thoughts_shown else b""
    for word in answer.words:
        yield b'{"content":%b}' % orjson.dumps(word)
    for number, call in enumerate(answer.calls):
        for position, piece in enumerate(call.arguments):
            part: dict[str, Any] = {"index": number, "function": {"arguments": piece}}
            if position == 0:
                part = {**_call(call), "index": number}
                part["function"] = {"name": call.name, "arguments": piece}
            yield orjson.dumps({"tool_calls": [part]})


def _around(answer: Answer, common: dict[str, Any]) -> tuple[bytes, bytes]:
    """All that is the same in each frame, encoded once; a %d takes the index of the choice."""
    start = orjson.dumps(common)[:-1].replace(b"%", b"%%")
    usage_field = b',"usage":null' if answer.ask.include_usage else b""
    return (
        b"data: %b" % start + b',"choices":[{"index":%d,"delta":',
        b',"logprobs":null,"finish_reason":null}]' + usage_field + b"}\n\n",
    )


def _usage_frame(answer: Answer, common: dict[str, Any]) -> bytes:
    if not answer.ask.include_usage:
        return b""
    return b"data: %b\n\n" % orjson.dumps({**common, "choices": [], "usage": usage(answer)})


def _call(call: Call) -> dict[str, Any]:
    return {
        "id": f"call_{call.id}",
        "type": "function",
        "function": {"name": call.name, "arguments": "".join(call.arguments)},
    }


def _common(answer: Answer, kind: str, prefix: str) -> dict[str, Any]:
    return {
        "id": f"{prefix}-{answer.id}",
        "object": kind,
        "created": CREATED,
        "model": answer.ask.model,
        "system_fingerprint": f"fp_{answer.provider}",
    }

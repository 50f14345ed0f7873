"""Answers to bodies and streams of messages."""

from collections.abc import Iterator
from typing import Any

import orjson

from llmroute.simulator.answers import Answer, Call, Reply
from llmroute.simulator.anthropic.errors import error_event
from llmroute.simulator.anthropic.reading import signature

STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
"""Other reasons have the same name."""


def write_message(answer: Answer) -> Reply:
    """The answer of POST /v1/messages."""
    if answer.ask.stream:
        return _stream(answer)
    content: list[dict[str, Any]] = []
    if answer.thoughts:
        content.append(_thinking(answer))
    if answer.words:
        content.append({"type": "text", "text": "".join(answer.words)})
    content += [_call(call) for call in answer.calls]
    message = _message(answer, content, _stop_reason(answer), answer.tokens)
    return Reply(JSON, orjson.dumps(message), tokens=answer.tokens)


def event(kind: str, **fields: Any) -> bytes:
    """One event of a stream."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))


def _stream(answer: Answer) -> Reply:
    opening = event("message_start", message=_message(answer, [], None, 1)) + event("ping")
    frames = list(_frames(answer))
    closing = event(
        "message_delta",
        delta={"stop_reason": _stop_reason(answer), "stop_sequence": answer.stopped_by},
        usage={"output_tokens": answer.tokens},
    ) + event("message_stop")
    return Reply(STREAM, opening, tuple(frames), closing, answer.tokens, error_event)


def _frames(answer: Answer) -> Iterator[bytes]:
    """The bytes of each token; the events that open and close a block go with its first and last token."""
    index = 0
    if answer.thoughts:
        deltas = [{"type": "thinking_delta", "thinking": thought} for thought in answer.thoughts]
        signed = {"type": "signature_delta", "signature": signature("".join(answer.thoughts))}
        yield from _block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas, signed)
        index += 1
    if answer.words:
        deltas = [{"type": "text_delta", "text": word} for word in answer.words]
        yield from _block(index, {"type": "text", "text": ""}, deltas)
        index += 1
    for call in answer.calls:
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in call.arguments]
        yield from _block(index, {**_identity(call), "input": {}}, deltas)
        index += 1


def _block(
    index: int, start: dict[str, Any], deltas: list[dict[str, str]], last: dict[str, str] | None = None
) -> Iterator[bytes]:
    for position, delta in enumerate(deltas):
        frame = event("content_block_delta", index=index, delta=delta)
        if position == 0:
            frame = event("content_block_start", index=index, content_block=start) + frame
        if position == len(deltas) - 1:
            if last is not None:
                frame += event("content_block_delta", index=index, delta=last)
            frame += event("content_block_stop", index=index)
        yield frame


def _message(answer: Answer, content: list[dict[str, Any]], stop: str | None, output_tokens: int) -> dict[str, Any]:
    return {
        "id": f"msg_{answer.id}",
        "type": "message",
        "role": "assistant",
        "model": answer.ask.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": answer.stopped_by if stop is not None else None,
        "usage": {
            "input_tokens": answer.ask.prompt_tokens - answer.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": answer.cached_tokens,
            "output_tokens": output_tokens,
        },
    }


def _stop_reason(answer: Answer) -> str:
    return _STOPS.get(answer.stop, answer.stop)


def _thinking(answer: Answer) -> dict[str, Any]:
    thoughts = "".join(answer.thoughts)
    return {"type": "thinking", "thinking": thoughts, "signature": signature(thoughts)}


def _identity(call: Call) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name}


def _call(call: Call) -> dict[str, Any]:
    text = "".join(call.arguments)
    try:
        arguments = orjson.loads(text)
    except orjson.JSONDecodeError:  # cut by max_tokens: the provider shows what it can
        arguments = {}
    return {**_identity(call), "input": arguments}

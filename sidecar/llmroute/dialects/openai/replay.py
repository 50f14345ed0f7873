"""A complete chat completion or completion as the stream that it could have been, and the reverse.

Members that we do not know survive both ways. A replayed stream has one content chunk and one final chunk a choice.
"""

from typing import Any

import msgspec

from llmroute.dialects import sse
from llmroute.dialects.openai.streams import DONE
from llmroute.dialects.usage import as_openai
from llmroute.request import Usage

_REPLACED = frozenset({"role", "id", "type", "name", "format", "finish_reason", "stop_reason"})
"""Text that a later piece repeats instead of continuing."""
_OBJECTS = {"chat.completion": "chat.completion.chunk"}
_BODIES = {chunk: body for body, chunk in _OBJECTS.items()}


def to_chunks(body: bytes, *, include_usage: bool) -> bytes:
    """The stream for a complete body."""
    completion = msgspec.json.decode(body)
    usage = completion.pop("usage", None)
    choices = completion.pop("choices")
    kind = completion.get("object", "chat.completion")
    head = {**completion, "object": _OBJECTS.get(kind, kind)}
    events = [{**head, "choices": [_beginning(choice)]} for choice in choices]
    events += [{**head, "choices": [_ending(choice)]} for choice in choices]
    if include_usage and usage is not None:
        events.append({**head, "choices": [], "usage": usage})
    return b"".join(sse.event(msgspec.json.encode(event)) for event in events) + sse.event(DONE)


def from_chunks(stream: bytes, usage: Usage | None) -> bytes:
    """The body for a complete stream; `usage` stands in for a usage chunk that was taken out.

    Raises ValueError for a stream that is not complete or holds an error.
    """
    head: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    done = False
    for frame in sse.frames(stream):
        data = sse.parse(frame)[1]
        if data.strip() == DONE:
            done = True
        elif data:
            chunk = msgspec.json.decode(data)
            if chunk.get("error") is not None:
                raise ValueError("the stream holds an error")
            for choice in chunk.pop("choices", None) or ():
                _merge(choices.setdefault(choice.get("index", 0), {}), choice)
            head.update({name: value for name, value in chunk.items() if value is not None or name not in head})
    if not done or not choices or not all(choice.get("finish_reason") for choice in choices.values()):
        raise ValueError("the stream is not complete")
    kind = head.get("object", "chat.completion.chunk")
    body = {**head, "object": _BODIES.get(kind, kind), "choices": [_whole(choices[index]) for index in sorted(choices)]}
    if body.get("usage") is None and usage is not None:
        body["usage"] = as_openai(usage)
    return msgspec.json.encode(body)


def _merge(whole: dict[str, Any], piece: dict[str, Any]) -> None:
    """Adds a piece to what came before: text continues, lists grow, the rest is replaced."""
    for name, value in piece.items():
        known = whole.get(name)
        if known is None:
            whole[name] = value
        elif isinstance(value, dict) and isinstance(known, dict):
            _merge(known, value)
        elif isinstance(value, list) and isinstance(known, list):
            _grow(known, value)
        elif isinstance(value, str) and isinstance(known, str) and name not in _REPLACED:
            whole[name] = known + value
        else:
            whole[name] = known if value in (None, "") else value


def _grow(known: list[Any], items: list[Any]) -> None:
    """Appends items; one with the `index` of an earlier one continues that."""
    for item in items:
        index = item.get("index") if isinstance(item, dict) else None
        same = [one for one in known if index is not None and isinstance(one, dict) and one.get("index") == index]
        if same:
            _merge(same[0], item)
        else:
            known.append(item)


def _beginning(choice: dict[str, Any]) -> dict[str, Any]:
    """The choice's content, unfinished."""
    begun = {"index": choice.get("index", 0), "logprobs": choice.get("logprobs"), "finish_reason": None}
    if "text" in choice:
        return {**begun, "text": choice["text"]}
    message = choice["message"]
    calls = message.get("tool_calls")
    if calls:
        message = {**message, "tool_calls": [{"index": at, **call} for at, call in enumerate(calls)]}
    return {**begun, "delta": message}


def _ending(choice: dict[str, Any]) -> dict[str, Any]:
    """All that the choice says besides its content."""
    said = {name: value for name, value in choice.items() if name not in ("message", "text")}
    return {**said, "logprobs": None, **({"text": ""} if "text" in choice else {"delta": {}})}


def _whole(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice of a body from its merged pieces."""
    message = choice.pop("delta", None)
    if message is None:
        return choice
    calls = message.get("tool_calls")
    if calls:
        message["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in calls]
    message["role"] = message.get("role") or "assistant"
    message["content"] = message.get("content") or (None if calls else "")
    return {**choice, "message": message}

"""A complete response of the Responses API as the stream that it could have been, and the reverse."""

from collections.abc import Iterator
from typing import Any

import msgspec

from llmroute.dialects import sse

_ENDS = ("response.completed", "response.incomplete")
_Event = tuple[str, dict[str, Any]]


def to_events(body: bytes) -> bytes:
    """The stream for a complete response."""
    response = msgspec.json.decode(body)
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    events: list[_Event] = [("response.created", {"response": begun}), ("response.in_progress", {"response": begun})]
    for index, item in enumerate(response.get("output", ())):
        events += _item(index, item)
    ended = "response.incomplete" if response.get("status") == "incomplete" else "response.completed"
    events.append((ended, {"response": response}))
    return b"".join(
        sse.event(msgspec.json.encode({"type": kind, "sequence_number": at, **members}), kind)
        for at, (kind, members) in enumerate(events)
    )


def from_events(stream: bytes) -> bytes:
    """The response that a complete stream ends with. Raises ValueError for a stream without."""
    for frame in sse.frames(stream):
        data = sse.parse(frame)[1]
        event = msgspec.json.decode(data) if data[:1] == b"{" else {}
        if event.get("type") in _ENDS:
            return msgspec.json.encode(event["response"])
    raise ValueError("the stream is not complete")


def _item(index: int, item: dict[str, Any]) -> Iterator[_Event]:
    """One output item: texts and arguments in a single delta each."""
    place = {"output_index": index, "item_id": item.get("id", "")}
    kind = item.get("type")
    begun = {**item, "status": "in_progress"}
    if kind == "message":
        begun["content"] = []
    elif kind == "function_call":
        begun["arguments"] = ""
    yield "response.output_item.added", {"output_index": index, "item": begun}
    if kind == "message":
        for at, part in enumerate(item.get("content", ())):
            yield from _part({**place, "content_index": at}, part)
    elif kind == "function_call":
        arguments = item.get("arguments", "")
        yield "response.function_call_arguments.delta", {**place, "delta": arguments}
        yield "response.function_call_arguments.done", {**place, "name": item.get("name"), "arguments": arguments}
    yield "response.output_item.done", {"output_index": index, "item": item}


def _part(place: dict[str, Any], part: dict[str, Any]) -> Iterator[_Event]:
    if part.get("type") == "output_text":
        text = part.get("text", "")
        yield "response.content_part.added", {**place, "part": {**part, "text": "", "annotations": []}}
        yield "response.output_text.delta", {**place, "delta": text, "logprobs": []}
        yield "response.output_text.done", {**place, "text": text, "logprobs": []}
    elif part.get("type") == "refusal":
        refusal = part.get("refusal", "")
        yield "response.content_part.added", {**place, "part": {**part, "refusal": ""}}
        yield "response.refusal.delta", {**place, "delta": refusal}
        yield "response.refusal.done", {**place, "refusal": refusal}
    else:
        yield "response.content_part.added", {**place, "part": part}
    yield "response.content_part.done", {**place, "part": part}

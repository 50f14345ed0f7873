"""A complete message as the stream that it could have been, and the reverse. Members that we do not know survive."""

from collections.abc import Iterator
from typing import Any

import msgspec

from llmroute.dialects import sse

_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
_LATE = ("stop_reason", "stop_sequence", "stop_details", "container")
"""Members of a message that a stream tells at its end."""
_Event = dict[str, Any]


def to_events(body: bytes) -> bytes:
    """The stream for a complete message."""
    events = _events(msgspec.json.decode(body))
    return b"".join(sse.event(msgspec.json.encode(event), event["type"]) for event in events)


def from_events(stream: bytes) -> bytes:
    """The message for a complete stream. Raises ValueError for a stream that is not complete or holds an error."""
    message: dict[str, Any] = {}
    arguments: dict[int, str] = {}
    for frame in sse.frames(stream):
        data = sse.parse(frame)[1]
        event = msgspec.json.decode(data) if data else {}
        kind = event.get("type")
        if kind == "error":
            raise ValueError("the stream holds an error")
        if kind == "message_start":
            message = event["message"]
        elif kind == "content_block_start":
            message["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            _extend(message["content"][event["index"]], event, arguments)
        elif kind == "message_delta":
            message.update(event["delta"])
            counts = {name: count for name, count in event.get("usage", {}).items() if count is not None}
            message["usage"] = {**message.get("usage", {}), **counts}
        elif kind == "message_stop":
            for index, text in arguments.items():
                message["content"][index]["input"] = msgspec.json.decode(text or "{}")
            return msgspec.json.encode(message)
    raise ValueError("the stream is not complete")


def _extend(block: dict[str, Any], event: _Event, arguments: dict[int, str]) -> None:
    delta = event["delta"]
    kind = delta["type"]
    if kind in _TEXTS:
        name = _TEXTS[kind]
        block[name] = (block.get(name) or "") + delta[name]
    elif kind == "input_json_delta":
        arguments[event["index"]] = arguments.get(event["index"], "") + delta["partial_json"]
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or ()), delta["citation"]]


def _events(message: dict[str, Any]) -> Iterator[_Event]:
    late = {name: message[name] for name in _LATE if name in message}
    usage = message.get("usage") or {}
    begun = {**message, **dict.fromkeys(late), "content": [], "usage": {**usage, "output_tokens": 0}}
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(message["content"]):
        empty, deltas = _taken_apart(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": late, "usage": usage}
    yield {"type": "message_stop"}


def _taken_apart(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it starts, and the pieces that follow. A block of an unknown type starts complete."""
    kind = block["type"]
    if kind == "text":
        cited = [{"type": "citations_delta", "citation": citation} for citation in block.get("citations") or ()]
        empty = {**block, "text": ""} | ({"citations": []} if cited else {})
        return empty, [{"type": "text_delta", "text": block["text"]}, *cited]
    if kind == "thinking":
        texts = {name: block.get(name) or "" for name in ("thinking", "signature")}
        deltas = [{"type": f"{name}_delta", name: text} for name, text in texts.items()]
        return {**block, "thinking": "", "signature": ""}, deltas
    if kind in ("tool_use", "server_tool_use"):
        text = msgspec.json.encode(block.get("input") or {}).decode()
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": text}]
    return block, []

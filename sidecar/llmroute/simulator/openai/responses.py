"""POST /responses: its body to an ask, the answer to a body or to a stream of numbered events."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import orjson
from msgspec import Struct, field

from llmroute.simulator.answers import CREATED, Answer, Ask, BadAsk, Call, Problem, Reply, Tool, count_tokens
from llmroute.simulator.connection import Request
from llmroute.simulator.openai.errors import described
from llmroute.simulator.openai.reading import IMAGE, decode
from llmroute.simulator.openai.writing import JSON, STREAM

_Event = Callable[..., bytes]
"""Makes the next event of a stream from its type and fields."""


class Function(Struct):
    """A tool; those that run on the server have another type."""

    type: str
    name: str = ""
    parameters: dict[str, Any] | None = None


class Text(Struct):
    """text; `format` is `{type: text | json_object | json_schema, schema}`."""

    format: dict[str, Any] = field(default_factory=dict)


class Body(Struct):
    """What is looked at; all other fields are accepted as they are."""

    model: str = ""
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    stream: bool | None = False
    max_output_tokens: int | None = None
    tools: list[Function] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = True
    text: Text | None = None
    previous_response_id: str | None = None


def read_response(request: Request, model: str | None) -> Ask:
    """POST /responses."""
    asked: Body = decode(request.body, Body)
    name = model or asked.model
    if not name:
        raise BadAsk("Missing required parameter: 'model'.", "model")
    if asked.input is None and asked.previous_response_id is None:
        raise BadAsk("Missing required parameter: 'input'.", "input")
    items = [{"role": "user", "content": asked.input}] if isinstance(asked.input, str) else asked.input or []
    _check_calls(items, asked.previous_response_id)
    said = [item for item in items if item.get("role") == "user"]
    tools = tuple(Tool(tool.name, tool.parameters or {}) for tool in asked.tools or () if tool.type == "function")
    return Ask(
        model=name,
        prompt_tokens=count_tokens([asked.instructions or "", *(text for item in items for text in _texts(item))]),
        text=" ".join(text for item in said[-1:] for text in _texts(item)),
        stream=bool(asked.stream),
        max_tokens=asked.max_output_tokens,
        tools=tools,
        choice=_choice(asked.tool_choice, tools),
        parallel=asked.parallel_tool_calls is not False,
        answered=bool(items) and items[-1].get("type") == "function_call_output",
        schema=_schema(asked.text),
        continues=asked.previous_response_id,
    )


def write_response(answer: Answer) -> Reply:
    """The answer of POST /responses."""
    previous = answer.ask.continues
    if previous is not None and not previous.startswith(f"resp_{answer.provider}_"):
        raise BadAsk(f"Previous response with id '{previous}' not found.", "previous_response_id")
    if not answer.ask.stream:
        body = _response(answer, "completed", list(_items(answer)))
        return Reply(JSON, orjson.dumps(body), tokens=answer.tokens)
    numbers = count()

    def event(kind: str, **fields: Any) -> bytes:
        payload = {"type": kind, "sequence_number": next(numbers), **fields}
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(payload))

    begun = _response(answer, "in_progress", [])
    opening = event("response.created", response=begun) + event("response.in_progress", response=begun)
    frames = tuple(_frames(answer, event))
    done = _response(answer, "completed", list(_items(answer)))
    kind = "response.incomplete" if answer.stop == "length" else "response.completed"
    closing = event(kind, response=done)
    return Reply(STREAM, opening, frames, closing, answer.tokens, _error_event)


def _frames(answer: Answer, event: _Event) -> Iterator[bytes]:
    """The bytes of each token; the events that open and close an item go with its first and last token."""
    index = 0
    if answer.thoughts:
        item = _reasoning(answer)
        added = event("response.output_item.added", output_index=index, item=item)
        silent = (b"" for _ in answer.thoughts)
        yield from _framed(added, silent, len(answer.thoughts), partial(_done, event, index, item))
        index += 1
    if answer.words:
        yield from _text_frames(answer, event, index)
        index += 1
    for call in answer.calls:
        yield from _call_frames(call, event, index)
        index += 1


def _text_frames(answer: Answer, event: _Event, index: int) -> Iterator[bytes]:
    item = _message(answer)
    part = item["content"][0]
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    opened = {**item, "status": "in_progress", "content": []}
    first = event("response.output_item.added", output_index=index, item=opened)
    first += event("response.content_part.added", **place, part={**part, "text": ""})

    def last() -> bytes:
        ends = event("response.output_text.done", **place, text=part["text"], logprobs=[])
        return ends + event("response.content_part.done", **place, part=part) + _done(event, index, item)

    deltas = (event("response.output_text.delta", **place, delta=word, logprobs=[]) for word in answer.words)
    return _framed(first, deltas, len(answer.words), last)


def _call_frames(call: Call, event: _Event, index: int) -> Iterator[bytes]:
    item = _call(call)
    place = {"item_id": item["id"], "output_index": index}
    opened = {**item, "status": "in_progress", "arguments": ""}
    first = event("response.output_item.added", output_index=index, item=opened)

    def last() -> bytes:
        fields = {**place, "name": call.name, "arguments": item["arguments"]}
        return event("response.function_call_arguments.done", **fields) + _done(event, index, item)

    deltas = (event("response.function_call_arguments.delta", **place, delta=piece) for piece in call.arguments)
    return _framed(first, deltas, len(call.arguments), last)


def _framed(first: bytes, deltas: Iterator[bytes], length: int, last: Callable[[], bytes]) -> Iterator[bytes]:
    """Lazily, because the events are numbered in the order in which they are made."""
    for position, delta in enumerate(deltas, 1):
        yield first + delta + (last() if position == length else b"")
        first = b""


def _done(event: _Event, index: int, item: dict[str, Any]) -> bytes:
    return event("response.output_item.done", output_index=index, item=item)


def _response(answer: Answer, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    cut = answer.stop == "length" and status == "completed"
    return {
        "id": f"resp_{answer.provider}_{answer.id}",
        "object": "response",
        "created_at": CREATED,
        "status": "incomplete" if cut else status,
        "model": answer.ask.model,
        "output": output,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "parallel_tool_calls": answer.ask.parallel,
        "previous_response_id": answer.ask.continues,
        "tool_choice": "auto",
        "tools": [],
        "usage": _usage(answer) if status == "completed" else None,
    }


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": answer.ask.prompt_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens},
        "output_tokens": answer.tokens,
        "output_tokens_details": {"reasoning_tokens": len(answer.thoughts)},
        "total_tokens": answer.ask.prompt_tokens + answer.tokens,
    }


def _items(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.thoughts:
        yield _reasoning(answer)
    if answer.words:
        yield _message(answer)
    for call in answer.calls:
        yield _call(call)


def _reasoning(answer: Answer) -> dict[str, Any]:
    return {"id": f"rs_{answer.id}", "type": "reasoning", "summary": []}


def _message(answer: Answer) -> dict[str, Any]:
    text = {"type": "output_text", "text": "".join(answer.words), "annotations": [], "logprobs": []}
    return {"id": f"msg_{answer.id}", "type": "message", "role": "assistant", "status": "completed", "content": [text]}


def _call(call: Call) -> dict[str, Any]:
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{call.id}",
        "name": call.name,
        "arguments": "".join(call.arguments),
    }


def _error_event(problem: Problem) -> bytes:
    fields = {**described(problem), "type": "error", "sequence_number": 0}
    return b"event: error\ndata: %b\n\n" % orjson.dumps(fields)


def _check_calls(items: list[dict[str, Any]], previous: str | None) -> None:
    """Every output of a call needs its call before it, unless that is in the previous response."""
    called = {item.get("call_id") for item in items if item.get("type") == "function_call"}
    for item in items:
        if item.get("type") == "function_call_output" and item.get("call_id") not in called and previous is None:
            raise BadAsk(f"No tool call found for function call output with call_id {item.get('call_id')}.", "input")


def _choice(choice: str | dict[str, Any] | None, tools: tuple[Tool, ...]) -> str | Tool:
    if not isinstance(choice, dict):
        return choice or "auto"
    for tool in tools:
        if tool.name == choice.get("name"):
            return tool
    raise BadAsk(f"Tool choice '{choice.get('name')}' not found in 'tools' parameter.", "tool_choice")


def _schema(text: Text | None) -> dict[str, Any] | None:
    if text is None or text.format.get("type", "text") == "text":
        return None
    schema = text.format.get("schema", {})
    return schema if isinstance(schema, dict) else {}


def _texts(item: dict[str, Any]) -> Iterator[str]:
    content = item.get("content", item.get("output", ""))
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        yield IMAGE if part.get("type") == "input_image" else str(part.get("text", ""))

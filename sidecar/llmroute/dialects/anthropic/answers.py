"""Messages that are not streams: a target's answer to our internal form, and that to an app's answer."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmroute.dialects import fields as members
from llmroute.dialects.anthropic.asking import arguments_object
from llmroute.dialects.conversation import FINISH_OF_STOP, Answer, Finish, Part, Text, Thinking, ToolCall
from llmroute.dialects.usage import anthropic_counts, as_anthropic
from llmroute.errors import BadRequest, StreamBroken
from llmroute.request import Usage

UNSIGNED = "llmroute:unsigned"
"""Signature of reasoning that is not Claude's: such blocks are taken out of a history before Anthropic sees it."""
STOP_OF_FINISH: dict[Finish, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_NO_ARGUMENTS = Raw(b"{}")


class _Block(Struct):
    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: Raw = _NO_ARGUMENTS
    thinking: str = ""
    signature: str = ""
    data: str = ""


class _Message(Struct):
    content: list[_Block]
    id: str = ""
    model: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Raw = members.NULL


_messages = msgspec.json.Decoder(_Message)


def read_answer(body: bytes) -> Answer:
    """A target's complete message. Raises StreamBroken for what is none."""
    try:
        message = members.decode(_messages, body)
    except BadRequest as error:
        raise StreamBroken(f"the target's answer is not a message: {error.message}") from error
    return Answer(
        id=message.id,
        model=message.model,
        parts=tuple(part for block in message.content if (part := _part(block)) is not None),
        finish=FINISH_OF_STOP.get(message.stop_reason or "", "stop"),
        stop_sequence=message.stop_sequence,
        usage=anthropic_counts(message.usage).usage(),
    )


def write_answer(answer: Answer, *, thinking: bool) -> bytes:
    """An app's message; `thinking`: the app asked for it, so reasoning has a block of its own, and otherwise none."""
    body = {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [block for part in answer.parts for block in _blocks(part, thinking)],
        "stop_reason": stop_reason(answer.finish, answer.stop_sequence),
        "stop_sequence": answer.stop_sequence,
        "usage": as_anthropic(answer.usage or Usage(0, 0)),
    }
    return msgspec.json.encode(body)


def stop_reason(finish: Finish, stop_sequence: str | None) -> str:
    """Anthropic's word for why an answer stopped."""
    return "stop_sequence" if finish == "stop" and stop_sequence is not None else STOP_OF_FINISH[finish]


def _part(block: _Block) -> Part | None:
    match block.type:
        case "text":
            return Text(block.text)
        case "tool_use":
            return ToolCall(block.id, block.name, bytes(block.input).decode())
        case "thinking":
            return Thinking(text=block.thinking, signature=block.signature)
        case "redacted_thinking":
            return Thinking(redacted=block.data)
    return None


def _blocks(part: Part, thinking: bool) -> list[dict[str, Any]]:
    match part:
        case Text():
            return [{"type": "text", "text": part.text}]
        case ToolCall():
            return [{"type": "tool_use", "id": part.id, "name": part.name, "input": arguments_object(part.arguments)}]
        case Thinking() if thinking:
            if part.redacted:
                return [{"type": "redacted_thinking", "data": part.redacted}]
            return [{"type": "thinking", "thinking": part.text, "signature": part.signature or UNSIGNED}]
    return []

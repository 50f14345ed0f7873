"""Mends what Claude refuses in a history of its own dialect: other models' reasoning, calls without Claude's thinking.

An app of this dialect that was answered by a target of another one replays that answer. Claude refuses reasoning that
it did not sign and, where thinking is `enabled`, a tool call that no signed thinking led to.
"""

from typing import Any

import msgspec

from llmroute.dialects import fields as members
from llmroute.dialects.anthropic.answers import UNSIGNED
from llmroute.dialects.splice import Change, change
from llmroute.request import InferenceRequest

_MARK = msgspec.json.encode(UNSIGNED)
_THINKING = ("thinking", "redacted_thinking")


def mend(request: InferenceRequest) -> list[Change]:
    """What must change in the app's body; nothing in most."""
    fields = request.peek.fields
    marked = _MARK in request.body
    manual = "thinking" in fields and b'"enabled"' in members.raw(fields, "thinking")
    if not marked and not (manual and b'"tool_use"' in request.body):
        return []
    messages = members.value(fields, "messages")
    changes = []
    if marked:
        messages = [kept for message in messages if (kept := _signed_only(message)) is not None]
        changes.append(change(request, "messages", msgspec.json.encode(messages)))
    if manual and _calls_without_thinking(messages):
        changes.append(change(request, "thinking", b'{"type":"disabled"}'))
    return changes


def _signed_only(message: Any) -> Any:
    """The message without other models' reasoning; None if it held nothing else."""
    blocks = _blocks(message)
    kept = [block for block in blocks if not (isinstance(block, dict) and block.get("signature") == UNSIGNED)]
    if len(kept) == len(blocks):
        return message
    return {**message, "content": kept} if kept else None


def _calls_without_thinking(messages: list[Any]) -> bool:
    """Whether the last answer, the only one that Claude looks at, calls tools without having thought."""
    last = next((blocks for message in reversed(messages) if _says(message) and (blocks := _blocks(message))), [])
    kinds = [block.get("type") for block in last if isinstance(block, dict)]
    return "tool_use" in kinds and kinds[0] not in _THINKING


def _says(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def _blocks(message: Any) -> list[Any]:
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, list) else []

"""Our internal form to the chat completion request of a target."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from llmroute.dialects.conversation import (
    Conversation,
    Format,
    Image,
    Part,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from llmroute.dialects.profiles import Profile
from llmroute.dialects.schemas import is_strict
from llmroute.errors import Unsupported
from llmroute.spec import Target

MAX_USER = 64
"""Longest `user` that OpenAI accepts; a longer one is left out."""
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
"""Only the words that every reasoning model takes."""


def write_request(conversation: Conversation, profile: Profile, target: Target) -> bytes:
    """The body for `target`, for a conversation that passes `check`."""
    body: dict[str, Any] = {
        "model": target.model,
        "messages": [message for turn in conversation.turns for message in _messages(turn)],
        profile.max_tokens_field: conversation.max_tokens,
        "top_k": conversation.top_k,
        "stop": conversation.stop or None,
        "response_format": _format(conversation.format),
        "user": conversation.user if conversation.user and len(conversation.user) <= MAX_USER else None,
    }
    if conversation.tools:
        body["tools"] = [_tool(tool) for tool in conversation.tools]
        body["tool_choice"] = _tool_choice(conversation.tool_choice)
        body["parallel_tool_calls"] = conversation.tool_choice.parallel
    if profile.reasoning_samples or not target.reasoning:
        body |= {"temperature": conversation.temperature, "top_p": conversation.top_p}
    if target.reasoning and conversation.effort is not None:
        body["reasoning_effort"] = _EFFORTS.get(conversation.effort)
    if conversation.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True} if profile.stream_usage else None
    return msgspec.json.encode({name: value for name, value in body.items() if value is not None})


def check(conversation: Conversation, profile: Profile) -> None:
    """Raises Unsupported, our form's field in `param`, for what no target of the profile can express."""
    if conversation.top_k is not None and not profile.top_k:
        raise Unsupported(f"{profile.provider} has no `top_k`", param="top_k")
    if profile.max_stops is not None and len(conversation.stop) > profile.max_stops:
        raise Unsupported(f"{profile.provider} takes at most {profile.max_stops} stop sequences", param="stop")
    for at, tool in enumerate(conversation.tools):
        if profile.max_name is not None and len(tool.name) > profile.max_name:
            raise Unsupported(f"{profile.provider} takes shorter tool names", param=f"tools[{at}].name")


def _messages(turn: Turn) -> list[dict[str, Any]]:
    if turn.role == "assistant":
        return [_assistant(turn.parts)]
    if turn.role == "system":
        return [{"role": "system", "content": "\n\n".join(_texts(turn.parts))}]
    results = [part for part in turn.parts if isinstance(part, ToolResult)]
    messages: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": result.call_id, "content": _result(result)} for result in results
    ]
    # A tool message holds text only: pictures that a tool gave follow as the user's.
    shown: list[Part] = [part for result in results for part in result.parts if isinstance(part, Image)]
    shown += [part for part in turn.parts if isinstance(part, Text | Image)]
    if shown or not results:
        messages.append({"role": "user", "content": _content(shown)})
    return messages


def _assistant(parts: Sequence[Part]) -> dict[str, Any]:
    calls = [
        {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
        for part in parts
        if isinstance(part, ToolCall)
    ]
    text = "".join(_texts(parts))
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
    if calls:
        message["tool_calls"] = calls
    return message


def _result(result: ToolResult) -> str:
    """The wire format has no mark for a failed tool: the text must say it."""
    text = "\n".join(_texts(result.parts))
    return f"Error: {text}" if result.is_error and not text.lower().startswith("error") else text


def _content(parts: Sequence[Part]) -> str | list[dict[str, Any]]:
    if all(isinstance(part, Text) for part in parts) and len(parts) < 2:
        return "".join(_texts(parts))
    return [_part(part) for part in parts]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Image):
        url = part.url or f"data:{part.media_type};base64,{part.content}"
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "text", "text": part.text if isinstance(part, Text) else ""}


def _texts(parts: Iterable[Part]) -> list[str]:
    return [part.text for part in parts if isinstance(part, Text)]


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict and is_strict(tool.schema)
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> Any:
    if choice.kind == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return choice.kind


def _format(wanted: Format | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.schema is None:
        return {"type": "json_object"}
    strict = is_strict(wanted.schema) if wanted.strict is None else wanted.strict
    return {"type": "json_schema", "json_schema": {"name": wanted.name, "schema": wanted.schema, "strict": strict}}

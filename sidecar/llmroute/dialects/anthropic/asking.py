"""Our internal form to the messages request of a target."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from llmroute.dialects.anthropic.generations import Generation, generation_of
from llmroute.dialects.conversation import (
    Conversation,
    Image,
    Part,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from llmroute.dialects.profiles import Profile
from llmroute.dialects.schemas import as_object, closed
from llmroute.errors import Unsupported
from llmroute.spec import Target

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
LEAST_BUDGET = 1024
"""Fewest tokens that may be budgeted for thinking."""
_SHARES = {"minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95, "max": 0.95}
"""Share of max_tokens that an effort budgets for thinking; the table that OpenRouter publishes."""
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}
_FORBIDDEN_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")
_CHOICES = {"auto": "auto", "none": "none", "required": "any", "named": "tool"}
_MAX_TEMPERATURE = 1.0
"""Anthropic's own OpenAI-compatible endpoint caps at it too."""
_CONTINUE = "Continue."
"""A conversation must begin with the user; said where the app's begins with the assistant."""


def write_request(conversation: Conversation, profile: Profile, target: Target) -> bytes:
    """The body for `target`, for a conversation that passes `check`."""
    generation = generation_of(target.model)
    max_tokens = target.max_output_tokens if conversation.max_tokens is None else conversation.max_tokens
    thinking = _thinking(conversation, generation, max_tokens)
    system = [part.text for turn in conversation.turns if turn.role == "system" for part in _said(turn.parts)]
    messages = _messages(conversation.turns, system)
    body: dict[str, Any] = {
        "model": target.model,
        "max_tokens": max_tokens,
        "messages": messages,
        "system": _system(system),
        "stop_sequences": conversation.stop or None,
        "metadata": {"user_id": conversation.user} if conversation.user else None,
        "stream": True if conversation.stream else None,
        **_sampling(conversation, generation, thinking),
        **_tools(conversation, generation),
        **thinking,
    }
    if conversation.format is not None and conversation.format.schema is not None:
        schema = {"type": "json_schema", "schema": closed(conversation.format.schema)}
        body["output_config"] = {**body.get("output_config", {}), "format": schema}
    return msgspec.json.encode({name: value for name, value in body.items() if value is not None})


def check(conversation: Conversation, profile: Profile) -> None:
    """Raises Unsupported, our form's field in `param`, for what no target of the profile can express."""
    if conversation.format is not None and conversation.format.schema is None:
        raise Unsupported("Anthropic has no JSON mode without a schema", param="format")
    if any(not stop.strip() for stop in conversation.stop):
        raise Unsupported("Anthropic takes no stop sequence of whitespace alone", param="stop")
    for at, tool in enumerate(conversation.tools):
        if profile.max_name is not None and len(tool.name) > profile.max_name:
            raise Unsupported(f"{profile.provider} takes shorter tool names", param=f"tools[{at}].name")
    for image in _images(part for turn in conversation.turns for part in turn.parts):
        if not image.url and image.media_type not in IMAGE_TYPES:
            raise Unsupported(f"Anthropic takes no {image.media_type}", param="messages")


def _images(parts: Iterable[Part]) -> Iterator[Image]:
    for part in parts:
        if isinstance(part, Image):
            yield part
        elif isinstance(part, ToolResult):
            yield from _images(part.parts)


def _thinking(conversation: Conversation, generation: Generation, max_tokens: int) -> dict[str, Any]:
    """How to ask for the effort; nothing where the model has none, or where it would make Anthropic refuse the history:

    a tool call must come back with the signed thinking that led to it, which other dialects do not carry.
    """
    effort = conversation.effort
    if effort in (None, "none") or generation.thinking == "none" or _has_unsigned_calls(conversation.turns):
        return {}
    if generation.thinking == "adaptive":
        words = _EFFORTS.get(effort or "", "medium")
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": words}}
    if conversation.tool_choice.kind in ("required", "named") or max_tokens <= LEAST_BUDGET:
        return {}
    budget = min(max(int(max_tokens * _SHARES.get(effort or "", 0.5)), LEAST_BUDGET), max_tokens - 1)
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _has_unsigned_calls(turns: Iterable[Turn]) -> bool:
    return any(
        any(isinstance(part, ToolCall) for part in turn.parts)
        and not any(isinstance(part, Thinking) and (part.signature or part.redacted) for part in turn.parts)
        for turn in turns
    )


def _sampling(conversation: Conversation, generation: Generation, thinking: dict[str, Any]) -> dict[str, Any]:
    """Newer models refuse sampling parameters, models that think refuse most, and no Claude wants both of the two."""
    if not generation.sampling or thinking:
        return {}
    if conversation.temperature is not None:
        return {"temperature": min(conversation.temperature, _MAX_TEMPERATURE), "top_k": conversation.top_k}
    return {"top_p": conversation.top_p, "top_k": conversation.top_k}


def _system(texts: list[str]) -> str | list[dict[str, str]] | None:
    if len(texts) < 2:
        return texts[0] if texts else None
    return [{"type": "text", "text": text} for text in texts]


def _messages(turns: Sequence[Turn], system: list[str]) -> list[dict[str, Any]]:
    """Turns of one role merged: the results of parallel calls must come back in one message, before anything else."""
    merged: list[tuple[str, list[dict[str, Any]]]] = []
    for turn in turns:
        blocks = [] if turn.role == "system" else [block for part in turn.parts for block in _blocks(part)]
        if not blocks:
            continue
        if merged and merged[-1][0] == turn.role:
            merged[-1][1].extend(blocks)
        else:
            merged.append((turn.role, blocks))
    if not merged and system:  # instructions alone are the question
        merged.append(("user", [{"type": "text", "text": system.pop()}]))
    if not merged or merged[0][0] == "assistant":
        merged.insert(0, ("user", [{"type": "text", "text": _CONTINUE}]))
    if merged[-1][0] == "assistant" and merged[-1][1][-1]["type"] == "text":  # a prefill may not end in whitespace
        merged[-1][1][-1]["text"] = merged[-1][1][-1]["text"].rstrip()
    return [{"role": role, "content": _ordered(blocks)} for role, blocks in merged]


def _ordered(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        return str(blocks[0]["text"])
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _blocks(part: Part) -> list[dict[str, Any]]:
    match part:
        case Text():
            return [{"type": "text", "text": part.text}] if _says(part.text) else []
        case Image():
            return [_image(part)]
        case ToolCall():
            call = {"id": _id(part.id), "name": part.name, "input": arguments_object(part.arguments)}
            return [{"type": "tool_use", **call}]
        case ToolResult():
            content = [block for inner in part.parts for block in _blocks(inner)]
            result: dict[str, Any] = {"type": "tool_result", "tool_use_id": _id(part.call_id), "content": content}
            return [{**result, "is_error": True} if part.is_error else result]
        case Thinking(redacted=redacted) if redacted:
            return [{"type": "redacted_thinking", "data": redacted}]
        case Thinking(signature=signature) if signature:
            return [{"type": "thinking", "thinking": part.text, "signature": signature}]
    return []  # reasoning that is not Claude's


def _said(parts: Iterable[Part]) -> list[Text]:
    return [part for part in parts if isinstance(part, Text) and _says(part.text)]


def _says(text: str) -> bool:
    """Whether there is anything but whitespace, which Anthropic refuses; without a copy, since texts are long."""
    return bool(text) and not text.isspace()


def _image(image: Image) -> dict[str, Any]:
    if image.url:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    source = {"type": "base64", "media_type": image.media_type, "data": image.content}
    return {"type": "image", "source": source}


def _id(given: str) -> str:
    """Anthropic takes only letters, digits, _ and - in the ids of calls; the same id always becomes the same."""
    return _FORBIDDEN_IN_ID.sub("_", given)


def arguments_object(arguments: str) -> Raw:
    """Arguments as the object that the format wants; what the model did not get right is kept as text within one."""
    if not arguments.strip():
        return Raw(b"{}")
    try:
        if isinstance(msgspec.json.decode(arguments), dict):
            return Raw(arguments.encode())
    except (msgspec.DecodeError, RecursionError):
        pass
    return Raw(msgspec.json.encode({"invalid_arguments": arguments}))


def _tools(conversation: Conversation, generation: Generation) -> dict[str, Any]:
    """Tools and choice. A history with calls needs definitions: where the app gave none, none may be used."""
    tools = conversation.tools
    choice = conversation.tool_choice
    if not tools:
        calls = [part for turn in conversation.turns for part in turn.parts if isinstance(part, ToolCall)]
        tools = tuple(Tool(name) for name in dict.fromkeys(call.name for call in calls))
        choice = ToolChoice("none")
    if not tools:
        return {}
    return {"tools": [_tool(tool, generation) for tool in tools], "tool_choice": _tool_choice(choice)}


def _tool(tool: Tool, generation: Generation) -> dict[str, Any]:
    definition: dict[str, Any] = {"name": tool.name, "input_schema": as_object(tool.schema)}
    if tool.description is not None:
        definition["description"] = tool.description
    if tool.strict and generation.strict:
        definition["strict"] = True
    return definition


def _tool_choice(choice: ToolChoice) -> dict[str, Any] | None:
    if choice.kind is None and choice.parallel is None:
        return None
    wanted: dict[str, Any] = {"type": _CHOICES[choice.kind or "auto"]}
    if choice.kind == "named":
        wanted["name"] = choice.name
    if choice.parallel is not None and choice.kind != "none":
        wanted["disable_parallel_tool_use"] = not choice.parallel
    return wanted

"""Messages requests to our internal form."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmroute.dialects import fields as members
from llmroute.dialects.conversation import (
    Conversation,
    Format,
    Image,
    Part,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from llmroute.errors import BadRequest, Unsupported

_KNOWN = frozenset(
    {"model", "messages", "system", "stream", "max_tokens", "temperature", "top_p", "top_k", "stop_sequences"}
    | {"tools", "tool_choice", "thinking", "output_config", "output_format", "metadata", "context_management"}
)
_HINTS = frozenset({"cache_control", "service_tier", "speed", "diagnostics", "user_profile_id", "workspace_id"})
"""How to answer, not what: another format may leave them out."""
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
_CHOICES: dict[str, ToolChoice] = {
    "auto": ToolChoice("auto"),
    "any": ToolChoice("required"),
    "none": ToolChoice("none"),
    "tool": ToolChoice("named"),
}
_NO_ARGUMENTS = Raw(b"{}")


class _Source(Struct):
    type: str
    media_type: str = ""
    data: str = ""
    url: str = ""


class _Block(Struct):
    type: str
    text: str = ""
    source: Raw = members.NULL
    id: str = ""
    name: str = ""
    input: Raw = _NO_ARGUMENTS
    tool_use_id: str = ""
    content: Raw = members.NULL
    is_error: bool | None = None
    thinking: str = ""
    signature: str = ""
    data: str = ""


class _Message(Struct):
    role: str
    content: str | list[_Block]


class _Tool(Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: Raw = members.NULL
    strict: bool | None = None


class _Choice(Struct):
    type: str
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class _Thinking(Struct):
    type: str
    budget_tokens: int = 0


class _Format(Struct):
    type: str
    schema: Raw = members.NULL


class _OutputConfig(Struct):
    format: _Format | None = None
    effort: str | None = None


class _Metadata(Struct):
    user_id: str | None = None


class _Edits(Struct):
    edits: list[dict[str, Any]] = []


class _Request(Struct):
    messages: list[_Message]
    system: str | list[_Block] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None
    thinking: _Thinking | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    metadata: _Metadata | None = None
    context_management: _Edits | None = None
    stream: bool | None = None


_requests = msgspec.json.Decoder(_Request)
_sources = msgspec.json.Decoder(_Source)
_contents = msgspec.json.Decoder(str | list[_Block] | None)


def read_request(body: bytes, fields: dict[str, Raw]) -> Conversation:
    """A messages request in our internal form.

    Raises Unsupported naming the field that the form cannot hold, BadRequest for what is no messages request.
    """
    for name in fields:
        if name not in _KNOWN and name not in _HINTS and members.is_set(fields, name):
            raise Unsupported(f"`{name}` cannot be expressed", param=name)
    request = members.decode(_requests, body)
    _refuse_edits(request.context_management)
    turns = [Turn("system", tuple(_parts(request.system, "system")))] if request.system else []
    turns += [_turn(message, f"messages[{at}]") for at, message in enumerate(request.messages)]
    config = request.output_config or _OutputConfig()
    return Conversation(
        turns=tuple(turns),
        tools=tuple(_tool(tool, f"tools[{at}]") for at, tool in enumerate(request.tools or ())),
        tool_choice=_tool_choice(request.tool_choice),
        format=_format(config.format or request.output_format),
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        stop=tuple(request.stop_sequences or ()),
        effort=config.effort or _effort(request.thinking),
        user=request.metadata.user_id if request.metadata else None,
        stream=bool(request.stream),
    )


def _refuse_edits(management: _Edits | None) -> None:
    """Clearing old thinking or tool results only saves tokens; compaction changes what is answered."""
    for edit in management.edits if management else ():
        if not str(edit.get("type")).startswith("clear_"):
            raise Unsupported("this `context_management` cannot be expressed", param="context_management")


def _turn(message: _Message, where: str) -> Turn:
    role = _ROLES.get(message.role)
    if role is None:
        raise BadRequest(f"`{where}.role` must be user, assistant or system", param=f"{where}.role")
    return Turn(role, tuple(_parts(message.content, f"{where}.content")))


def _parts(content: str | list[_Block] | None, where: str) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)] if content else []
    return [_part(block, f"{where}[{at}]") for at, block in enumerate(content or ())]


def _part(block: _Block, where: str) -> Part:
    match block.type:
        case "text":
            return Text(block.text)
        case "image":
            return _image(members.decode(_sources, block.source, f"{where}.source"), where)
        case "tool_use":
            return ToolCall(block.id, block.name, bytes(block.input).decode())
        case "tool_result":
            return _result(block, where)
        case "thinking":
            return Thinking(text=block.thinking, signature=block.signature)
        case "redacted_thinking":
            return Thinking(redacted=block.data)
    raise Unsupported(f"content of type `{block.type}` cannot be expressed", param=where)


def _result(block: _Block, where: str) -> ToolResult:
    said = []
    for at, part in enumerate(_parts(members.decode(_contents, block.content, f"{where}.content"), f"{where}.content")):
        if not isinstance(part, Text | Image):
            raise Unsupported("this content of a tool result cannot be expressed", param=f"{where}.content[{at}]")
        said.append(part)
    return ToolResult(block.tool_use_id, tuple(said), bool(block.is_error))


def _image(source: _Source, where: str) -> Image:
    if source.type == "base64":
        return Image(media_type=source.media_type, content=source.data)
    if source.type == "url":
        return Image(url=source.url)
    raise Unsupported(f"an image of source type `{source.type}` cannot be expressed", param=f"{where}.source")


def _tool(tool: _Tool, where: str) -> Tool:
    if tool.type not in (None, "custom"):
        raise Unsupported(f"a tool of type `{tool.type}` cannot be expressed", param=where)
    if members.is_null(tool.input_schema):
        return Tool(tool.name, tool.description, strict=tool.strict)
    return Tool(tool.name, tool.description, tool.input_schema, tool.strict)


def _tool_choice(choice: _Choice | None) -> ToolChoice:
    if choice is None:
        return ToolChoice()
    known = _CHOICES.get(choice.type)
    if known is None:
        raise Unsupported(f"a `tool_choice` of type `{choice.type}` cannot be expressed", param="tool_choice")
    parallel = None if choice.disable_parallel_tool_use is None else not choice.disable_parallel_tool_use
    return ToolChoice(known.kind, choice.name, parallel)


def _format(given: _Format | None) -> Format | None:
    if given is None:
        return None
    if given.type != "json_schema" or members.is_null(given.schema):
        raise Unsupported(f"an output format of type `{given.type}` cannot be expressed", param="output_config.format")
    return Format(given.schema)


def _effort(thinking: _Thinking | None) -> str | None:
    """Thinking budgets as efforts; the bounds are ours, between the budgets that the SDKs' examples use."""
    if thinking is None or thinking.type not in ("enabled", "disabled"):
        return None
    if thinking.type == "disabled":
        return "none"
    if thinking.budget_tokens < 4096:
        return "low"
    return "medium" if thinking.budget_tokens < 16384 else "high"

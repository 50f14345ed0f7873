"""Chat completion requests to our internal form."""

import re
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
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from llmroute.errors import BadRequest, Unsupported

_KNOWN = frozenset(
    {"model", "messages", "stream", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop"}
    | {
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "user",
        "safety_identifier",
    }
)
_HINTS = frozenset(
    {"stream_options", "seed", "metadata", "service_tier", "verbosity", "prediction"}
    | {"prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"}
)
"""How to answer, not what: another format may leave them out."""
_NEUTRAL = {
    "n": (b"1",),
    "frequency_penalty": (b"0", b"0.0"),
    "presence_penalty": (b"0", b"0.0"),
    "top_logprobs": (b"0",),
    "modalities": (b'["text"]',),
}
"""Values that ask for nothing, besides null, false and empty ones."""
_DATA_URL = re.compile(r"data:(image/[\w.+-]+)(?:;[\w=.+-]+)*;base64,", re.I)
_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


class _Url(Struct):
    url: str


class _Part(Struct):
    type: str
    text: str | None = None
    image_url: _Url | str | None = None
    refusal: str | None = None


class _Function(Struct):
    name: str
    arguments: str = ""


class _Call(Struct):
    id: str
    type: str = "function"
    function: _Function | None = None


class _Message(Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str = ""
    refusal: str | None = None
    audio: Any = None
    function_call: Any = None


class _Definition(Struct):
    name: str
    description: str | None = None
    parameters: Raw = members.NULL
    strict: bool | None = None


class _Tool(Struct):
    type: str
    function: _Definition | None = None


class _Schema(Struct):
    name: str = "answer"
    schema: Raw = members.NULL
    strict: bool | None = None


class _Format(Struct):
    type: str
    json_schema: _Schema | None = None


class _Request(Struct):
    messages: list[_Message]
    tools: list[_Tool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: str | list[str] | None = None
    reasoning_effort: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    stream: bool | None = None


_requests = msgspec.json.Decoder(_Request)


def read_request(body: bytes, fields: dict[str, Raw]) -> Conversation:
    """A chat request in our internal form.

    Raises Unsupported naming the field that the form cannot hold, BadRequest for what is no chat request.
    """
    _refuse_the_inexpressible(fields)
    request = members.decode(_requests, body)
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    choice = _tool_choice(request.tool_choice)
    return Conversation(
        turns=tuple(_turn(message, f"messages[{at}]") for at, message in enumerate(request.messages)),
        tools=tuple(_tool(tool, f"tools[{at}]") for at, tool in enumerate(request.tools or ())),
        tool_choice=msgspec.structs.replace(choice, parallel=request.parallel_tool_calls),
        format=_format(request.response_format),
        max_tokens=request.max_completion_tokens if request.max_tokens is None else request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        stop=tuple(stop),
        effort=request.reasoning_effort,
        user=request.safety_identifier or request.user,
        stream=bool(request.stream),
    )


def _refuse_the_inexpressible(fields: dict[str, Raw]) -> None:
    for name in fields:
        if name in _KNOWN or name in _HINTS or not members.is_set(fields, name):
            continue
        if members.raw(fields, name) not in _NEUTRAL.get(name, ()):
            raise Unsupported(f"`{name}` cannot be expressed", param=name)


def _turn(message: _Message, where: str) -> Turn:
    if message.audio is not None:
        raise Unsupported("earlier audio answers cannot be expressed", param=f"{where}.audio")
    if message.role == "tool":
        parts = _parts(message.content, where)
        if not message.tool_call_id:
            raise BadRequest(f"`{where}.tool_call_id` is missing", param=f"{where}.tool_call_id")
        said = tuple(part for part in parts if isinstance(part, Text | Image))
        return Turn("user", (ToolResult(message.tool_call_id, said),))
    role = _ROLES.get(message.role)
    if role is None or message.function_call is not None:
        raise Unsupported(f"the deprecated functions of `{where}` cannot be expressed", param=f"{where}.role")
    parts = _parts(message.content, where)
    if message.refusal:
        parts.append(Text(message.refusal))
    for at, call in enumerate(message.tool_calls or ()):
        if call.function is None:
            raise Unsupported("only function calls can be expressed", param=f"{where}.tool_calls[{at}]")
        parts.append(ToolCall(call.id, call.function.name, call.function.arguments))
    return Turn(role, tuple(parts))


def _parts(content: str | list[_Part] | None, where: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)] if content else []
    return [_part(part, f"{where}.content[{at}]") for at, part in enumerate(content)]


def _part(part: _Part, where: str) -> Part:
    if part.type == "text" and part.text is not None:
        return Text(part.text)
    if part.type == "refusal" and part.refusal is not None:
        return Text(part.refusal)
    if part.type != "image_url" or part.image_url is None:
        raise Unsupported(f"content of type `{part.type}` cannot be expressed", param=where)
    url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
    data = _DATA_URL.match(url)
    if data is not None:
        return Image(media_type=data.group(1).lower(), content=url[data.end() :])
    if not url.startswith(("http://", "https://")):
        raise Unsupported("an image must be an http URL or base64 data", param=f"{where}.image_url")
    return Image(url=url)


def _tool(tool: _Tool, where: str) -> Tool:
    if tool.type != "function" or tool.function is None:
        raise Unsupported(f"a tool of type `{tool.type}` cannot be expressed", param=where)
    function = tool.function
    if members.is_null(function.parameters):
        return Tool(function.name, function.description, strict=function.strict)
    return Tool(function.name, function.description, function.parameters, function.strict)


def _tool_choice(choice: Any) -> ToolChoice:
    if choice is None:
        return ToolChoice()
    if choice in ("auto", "none", "required"):
        return ToolChoice(choice)
    if isinstance(choice, dict) and choice.get("type") == "function":
        function = choice.get("function")
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            return ToolChoice("named", function["name"])
    raise Unsupported("this `tool_choice` cannot be expressed", param="tool_choice")


def _format(given: _Format | None) -> Format | None:
    if given is None or given.type == "text":
        return None
    if given.type == "json_object":
        return Format()
    wanted = given.json_schema
    if given.type == "json_schema" and wanted is not None and not members.is_null(wanted.schema):
        return Format(wanted.schema, wanted.name, wanted.strict)
    raise Unsupported(f"a `response_format` of type `{given.type}` cannot be expressed", param="response_format")

"""Bodies of chat and completion requests to asks, with the checks that OpenAI makes too."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from llmroute.simulator.answers import Ask, BadAsk, Tool, count_tokens
from llmroute.simulator.connection import Request

_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
IMAGE = "x" * 340
"""An image counts as 85 tokens."""


class Named(Struct):
    """`{"function": {...}}` of a tool, a tool choice or a tool call."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)


class Function(Struct):
    """A tool or a call of one."""

    function: Named
    id: str = ""


class Message(Struct):
    """One message."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[Function] | None = None
    tool_call_id: str | None = None


class Format(Struct):
    """response_format."""

    type: str = "text"
    json_schema: dict[str, Any] | None = None


class StreamOptions(Struct):
    """stream_options."""

    include_usage: bool = False


class Body(Struct):
    """What is looked at; all other fields are accepted as they are."""

    model: str = ""
    messages: list[Message] | None = None
    prompt: str | list[Any] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    tools: list[Function] | None = None
    tool_choice: str | Function | None = None
    parallel_tool_calls: bool | None = True
    response_format: Format | None = None
    n: int | None = 1
    stop: str | list[str] | None = None


def decode(body: bytes, kind: type[Any]) -> Any:
    """The body as a type. Raises BadAsk that names the field."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise BadAsk(message, path.rstrip("`") or None) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadAsk("We could not parse the JSON body of your request.") from error


def read_chat(request: Request, model: str | None) -> Ask:
    """POST /chat/completions."""
    asked: Body = decode(request.body, Body)
    if not asked.messages:
        raise BadAsk("Missing required parameter: 'messages'.", "messages")
    check_history(asked.messages)
    said = [message for message in asked.messages if message.role == "user"]
    return _ask(
        asked,
        model,
        prompt_tokens=count_tokens(_texts(asked.messages)),
        text=" ".join(_texts(said[-1:])),
        tools=tuple(Tool(tool.function.name, tool.function.parameters) for tool in asked.tools or ()),
        answered=asked.messages[-1].role == "tool",
        schema=_schema(asked.response_format),
    )


def read_completion(request: Request, model: str | None) -> Ask:
    """POST /completions."""
    asked: Body = decode(request.body, Body)
    if asked.prompt is None:
        raise BadAsk("Missing required parameter: 'prompt'.", "prompt")
    prompts = [asked.prompt] if isinstance(asked.prompt, str) else [str(part) for part in asked.prompt]
    return _ask(asked, model, prompt_tokens=count_tokens(prompts), text=" ".join(prompts))


def check_history(messages: Sequence[Message]) -> None:
    """Every tool call must be answered by tool messages right behind it, and every tool message belong to a call."""
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        where = f"messages.[{number}]"
        if message.role not in _ROLES:
            raise BadAsk(f"Invalid value: '{message.role}'.", f"{where}.role")
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                raise BadAsk(
                    "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
                    f"{where}.role",
                )
            open_calls.discard(message.tool_call_id)
            continue
        if open_calls:
            raise BadAsk(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following tool_call_ids did not have response messages: {sorted(open_calls)}",
                where,
            )
        open_calls = {call.id for call in message.tool_calls or ()}


def _ask(asked: Body, model: str | None, **rest: Any) -> Ask:
    name = model or asked.model
    if not name:
        raise BadAsk("you must provide a model parameter", "model")
    if asked.stream_options is not None and not asked.stream:
        raise BadAsk("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    limit = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
    if limit is not None and limit < 1:
        raise BadAsk("max_tokens must be at least 1.", "max_tokens")
    tools = rest.get("tools", ())
    return Ask(
        model=name,
        stream=bool(asked.stream),
        max_tokens=limit,
        choice=_choice(asked, tools),
        parallel=asked.parallel_tool_calls is not False,
        include_usage=asked.stream_options is not None and asked.stream_options.include_usage,
        choices=max(asked.n or 1, 1),
        stops=(asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ()),
        **rest,
    )


def _choice(asked: Body, tools: Sequence[Tool]) -> str | Tool:
    if asked.tool_choice is None:
        return "auto"
    if not tools:
        raise BadAsk(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.", "tool_choice"
        )
    if isinstance(asked.tool_choice, str):
        return asked.tool_choice
    wanted = asked.tool_choice.function.name
    for tool in tools:
        if tool.name == wanted:
            return tool
    raise BadAsk(f"Tool choice '{wanted}' not found in 'tools' parameter.", "tool_choice")


def _schema(asked: Format | None) -> dict[str, Any] | None:
    if asked is None or asked.type == "text":
        return None
    schema = (asked.json_schema or {}).get("schema", {})
    return schema if isinstance(schema, dict) else {}


def _texts(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        if isinstance(message.content, str):
            yield message.content
        for part in message.content if isinstance(message.content, list) else ():
            yield IMAGE if "image_url" in part else str(part.get("text", ""))

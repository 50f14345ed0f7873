"""Messages requests to asks, with the checks that Anthropic makes too.

API version 2026-10-21 refuses what 2023-06-01 took: sampling parameters, even at their defaults; documents in assistant
messages; citations on the user's texts. Source: Anthropic's guide "Migrating to API version 2026-10-21".
"""

import base64
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import UNSET, Struct, field

from llmroute.simulator.answers import Ask, BadAsk, Tool, count_tokens
from llmroute.simulator.connection import Request

_IMAGE = "x" * 340
_LEAST_BUDGET = 1024
_STRICT_VERSION = "2026-10-21"
_SAMPLING = ("temperature", "top_p", "top_k")


class Block(Struct):
    """A content block of any type."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] = field(default_factory=dict)
    tool_use_id: str = ""
    content: Any = None
    thinking: str = ""
    signature: str = ""
    citations: Any = None


class Message(Struct):
    """One message."""

    role: str
    content: str | list[Block]

    @property
    def blocks(self) -> list[Block]:
        """The content, always as blocks."""
        return [Block("text", text=self.content)] if isinstance(self.content, str) else self.content


class Declaration(Struct):
    """A tool; those that run on the server have a type and no schema."""

    name: str = ""
    input_schema: dict[str, Any] | None = None
    type: str | None = None


class Choice(Struct):
    """tool_choice."""

    type: str
    name: str = ""
    disable_parallel_tool_use: bool = False


class Thinking(Struct):
    """thinking."""

    type: str
    budget_tokens: int | None = None


class OutputConfig(Struct):
    """output_config; `format` is `{type: json_schema, schema}`."""

    format: dict[str, Any] | None = None


class Body(Struct):
    """What is looked at; all other fields are accepted as they are."""

    model: str
    messages: list[Message]
    max_tokens: int | None = None
    system: str | list[Block] | None = None
    stream: bool | None = False
    tools: list[Declaration] | None = None
    tool_choice: Choice | None = None
    thinking: Thinking | None = None
    stop_sequences: list[str] | None = None
    temperature: Any = UNSET
    top_p: Any = UNSET
    top_k: Any = UNSET
    output_config: OutputConfig | None = None


def signature(thinking: str) -> str:
    """Signs a thinking block, so that one that was changed on its way is told from one that was not."""
    return base64.b64encode(blake2b(thinking.encode(), digest_size=24).digest()).decode()


def decode(request: Request) -> Body:
    """The body of messages or count_tokens. Raises BadAsk that names the field."""
    try:
        asked = msgspec.json.decode(request.body, type=Body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise BadAsk(message, path.rstrip("`") or None) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadAsk("The request body is not valid JSON") from error
    if not asked.messages:
        raise BadAsk("at least one message is required", "messages")
    check_history(asked.messages)
    if (request.header(b"anthropic-version") or "") >= _STRICT_VERSION:
        _check_strictly(asked)
    return asked


def prompt_tokens(asked: Body) -> int:
    """Tokens of system, messages and tools."""
    return count_tokens(_texts(asked))


def read_messages(request: Request, model: str | None) -> Ask:
    """POST /v1/messages; the path never names the model."""
    asked = decode(request)
    if asked.max_tokens is None:
        raise BadAsk("Field required", "max_tokens")
    if asked.max_tokens < 1:
        raise BadAsk("Input should be greater than or equal to 1", "max_tokens")
    thinking = _check_thinking(asked)
    last = asked.messages[-1]
    said = [message for message in asked.messages if message.role == "user"]
    tools = tuple(Tool(tool.name, tool.input_schema) for tool in asked.tools or () if tool.input_schema is not None)
    choice = asked.tool_choice
    return Ask(
        model=asked.model,
        prompt_tokens=prompt_tokens(asked),
        text=" ".join(block.text for message in said[-1:] for block in message.blocks),
        stream=bool(asked.stream),
        max_tokens=asked.max_tokens,
        tools=tools,
        choice=_choice(choice, tools),
        parallel=choice is None or not choice.disable_parallel_tool_use,
        answered=any(block.type == "tool_result" for block in last.blocks),
        schema=_schema(asked.output_config),
        thinking=thinking,
        stops=tuple(asked.stop_sequences or ()),
    )


def check_history(messages: Sequence[Message]) -> None:
    """Roles, empty texts, and tool results that stand right behind their tool uses."""
    if messages[0].role != "user":
        raise BadAsk('first message must use the "user" role', "messages")
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        where = f"messages.{number}"
        if message.role not in ("user", "assistant", "system"):
            raise BadAsk("Input should be 'user', 'assistant' or 'system'", f"{where}.role")
        if not message.blocks or any(block.type == "text" and not block.text for block in message.blocks):
            raise BadAsk("text content blocks must be non-empty", "messages")
        results = {block.tool_use_id for block in message.blocks if block.type == "tool_result"}
        if results - open_calls:
            raise BadAsk(
                f"unexpected `tool_use_id` found in `tool_result` blocks: {', '.join(sorted(results - open_calls))}. "
                "Each `tool_result` block must have a corresponding `tool_use` block in the previous message.",
                f"{where}.content",
            )
        if open_calls - results:
            raise BadAsk(
                "`tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(sorted(open_calls - results))}.",
                where,
            )
        open_calls = {block.id for block in message.blocks if block.type == "tool_use"}


def _check_strictly(asked: Body) -> None:
    for name in _SAMPLING:
        if getattr(asked, name) is not UNSET:
            raise BadAsk("Extra inputs are not permitted", name)
    for number, message in enumerate(asked.messages):
        for position, block in enumerate(message.blocks):
            where = f"messages.{number}.content.{position}"
            if message.role == "assistant" and block.type == "document":
                raise BadAsk("`document` blocks are not permitted in assistant messages", where)
            if message.role == "user" and block.type == "text" and block.citations:
                raise BadAsk("`citations` are not permitted on text blocks in user messages", where)


def _check_thinking(asked: Body) -> bool:
    if asked.thinking is None or asked.thinking.type == "disabled":
        return False
    budget = asked.thinking.budget_tokens
    if asked.thinking.type == "enabled" and (budget is None or budget < _LEAST_BUDGET):
        raise BadAsk("Input should be greater than or equal to 1024", "thinking.enabled.budget_tokens")
    if budget is not None and asked.max_tokens is not None and budget >= asked.max_tokens:
        raise BadAsk("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if asked.tool_choice is not None and asked.tool_choice.type in ("any", "tool"):
        raise BadAsk("Thinking may not be enabled when tool_choice forces tool use.")
    for number, message in enumerate(asked.messages):
        for block in message.blocks:
            if block.type == "thinking" and block.signature != signature(block.thinking):
                raise BadAsk("Invalid `signature` in `thinking` block", f"messages.{number}.content")
        kinds = [block.type for block in message.blocks]
        if message.role == "assistant" and "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking"):
            raise BadAsk(
                f"Expected `thinking` or `redacted_thinking`, but found `{kinds[0]}`. When `thinking` is enabled, "
                "a final `assistant` message must start with a thinking block.",
                f"messages.{number}.content.0.type",
            )
    return True


def _choice(choice: Choice | None, tools: Sequence[Tool]) -> str | Tool:
    if choice is None or choice.type == "auto":
        return "auto"
    if choice.type == "none":
        return "none"
    if not tools:
        raise BadAsk("tool_choice may only be specified while providing tools", "tool_choice")
    if choice.type == "any":
        return "required"
    for tool in tools:
        if tool.name == choice.name:
            return tool
    raise BadAsk(f"Tool '{choice.name}' not found in provided tools", "tool_choice.name")


def _schema(config: OutputConfig | None) -> dict[str, Any] | None:
    if config is None or config.format is None:
        return None
    schema = config.format.get("schema", {})
    return schema if isinstance(schema, dict) else {}


def _texts(asked: Body) -> Iterator[str]:
    system = asked.system or ""
    yield system if isinstance(system, str) else " ".join(block.text for block in system)
    for message in asked.messages:
        for block in message.blocks:
            yield _IMAGE if block.type == "image" else block.text
            if block.content is not None:
                yield str(block.content)

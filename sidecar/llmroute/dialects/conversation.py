"""The internal form between the wire formats: what is asked, what is answered, an answer's pieces as they stream.

It holds what both formats can say. What only one can say is either a hint, and dropped, or keeps the other's targets
out. Schemas stay undecoded JSON, arguments stay the text that a model wrote: neither is ours to change.
"""

from typing import Literal

from msgspec import Raw, Struct

from llmroute.request import Usage

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "tool_calls", "content_filter"]

FINISH_OF_STOP: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Anthropic's stop reasons in OpenAI's words, which are also ours."""


class Text(Struct, frozen=True, tag="text"):
    """Something said."""

    text: str


class Image(Struct, frozen=True, tag="image"):
    """A picture: either `url`, or base64 `content` of `media_type`."""

    url: str = ""
    media_type: str = ""
    content: str = ""


class ToolCall(Struct, frozen=True, tag="call"):
    """The model asks for a tool; `arguments` is JSON text, as far as the model got it right."""

    id: str
    name: str
    arguments: str


class ToolResult(Struct, frozen=True, tag="result"):
    """What a tool gave."""

    call_id: str
    parts: tuple[Text | Image, ...]
    is_error: bool = False


class Thinking(Struct, frozen=True, tag="thinking"):
    """Reasoning; `signature` proves to Anthropic that it was Claude's; `redacted` only Claude can read."""

    text: str = ""
    signature: str = ""
    redacted: str = ""


Part = Text | Image | ToolCall | ToolResult | Thinking


class Turn(Struct, frozen=True):
    """What one role said."""

    role: Role
    parts: tuple[Part, ...]


class Tool(Struct, frozen=True):
    """A tool that the app runs; `schema` is the JSON schema of its arguments."""

    name: str
    description: str | None = None
    schema: Raw = Raw(b'{"type":"object","properties":{}}')
    strict: bool | None = None


class ToolChoice(Struct, frozen=True):
    """Whether tools may, must or must not be called; `named`: this one. `parallel` None: as the provider likes."""

    kind: Literal["auto", "none", "required", "named"] | None = None
    name: str = ""
    parallel: bool | None = None


class Format(Struct, frozen=True):
    """The JSON that the answer must be; without a schema: any JSON object."""

    schema: Raw | None = None
    name: str = "answer"
    strict: bool | None = None


class Conversation(Struct, frozen=True, kw_only=True):
    """What an app asks for."""

    turns: tuple[Turn, ...]
    """In order; system turns stand where the app put them."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    format: Format | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    effort: str | None = None
    """How hard to think: none, minimal, low, medium, high, xhigh, max; None leaves it to the model."""
    user: str | None = None
    stream: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """What a model answered."""

    id: str
    model: str
    parts: tuple[Part, ...]
    """Text, ToolCall and Thinking only."""
    finish: Finish
    stop_sequence: str | None = None
    usage: Usage | None = None


class Started(Struct, frozen=True):
    """First piece of a stream; `usage` as far as it is known so early."""

    id: str
    model: str
    usage: Usage | None = None


class TextPiece(Struct, frozen=True):
    """More of the text."""

    text: str


class ThinkingPiece(Struct, frozen=True):
    """More of the reasoning."""

    text: str


class CallStarted(Struct, frozen=True):
    """A tool call begins; `index` counts the answer's calls from 0."""

    index: int
    id: str
    name: str


class CallPiece(Struct, frozen=True):
    """More of a call's arguments."""

    index: int
    arguments: str


class Finished(Struct, frozen=True):
    """Why the answer stopped. Text, reasoning and calls come before it; usage may come after it."""

    finish: Finish
    stop_sequence: str | None = None


class Counted(Struct, frozen=True):
    """Tokens so far; replaces earlier counts."""

    usage: Usage


class Ended(Struct, frozen=True):
    """The target's clean end mark."""


Piece = Started | TextPiece | ThinkingPiece | CallStarted | CallPiece | Finished | Counted | Ended

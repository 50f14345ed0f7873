"""What is asked and what is answered, whatever the dialect. Types only.

An answer is a row of tokens: thoughts, words, then the arguments of tool calls. A dialect turns it into bytes.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

CREATED = 1_760_000_000
"""The moment at which all answers say that they were made: a real clock would make two runs differ."""
CHARACTERS_PER_TOKEN = 4
"""Of a token of JSON that is written; also the rule of thumb by which prompts are counted."""


class BadAsk(Exception):
    """The request is not what the API allows: 400; `param` names the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        self.message = message
        self.param = param
        super().__init__(message)


class Problem(Struct, frozen=True):
    """An error answer, before it has the dialect's words. `code` is the dialect's own name of it, if it has one."""

    status: int
    message: str = ""
    code: str | None = None
    param: str | None = None


class Tool(Struct, frozen=True):
    """A function that the model may call."""

    name: str
    schema: dict[str, Any]


class Ask(Struct, frozen=True, kw_only=True):
    """A request for generated text."""

    model: str
    prompt_tokens: int
    text: str = ""
    """The last thing that the user said."""
    stream: bool = False
    max_tokens: int | None = None
    tools: tuple[Tool, ...] = ()
    choice: str | Tool = "auto"
    """auto | none | required, or the one tool to call."""
    parallel: bool = True
    answered: bool = False
    """The last message is the result of a tool: now the model speaks."""
    schema: dict[str, Any] | None = None
    """JSON mode: the schema that the answer must follow ({}: any object)."""
    thinking: bool | None = None
    """None: the provider decides."""
    include_usage: bool = False
    choices: int = 1
    stops: tuple[str, ...] = ()
    """Texts at which the answer ends."""
    continues: str | None = None
    """The response that this one follows."""


class Call(Struct, frozen=True):
    """A tool call; the arguments in tokens."""

    id: str
    name: str
    arguments: tuple[str, ...]


class Answer(Struct, frozen=True, kw_only=True):
    """What the model says, in tokens."""

    ask: Ask
    id: str
    provider: str
    thoughts: tuple[str, ...] = ()
    thoughts_shown: bool = True
    words: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    stop: str = "stop"
    """stop | length | tool_calls | stop_sequence | refusal"""
    stopped_by: str | None = None
    """The stop sequence that was met."""
    cached_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All output tokens of one choice."""
        return len(self.thoughts) + len(self.words) + sum(len(call.arguments) for call in self.calls)


class Reply(Struct, frozen=True):
    """An answer as bytes. Non-streams have their whole body in `opening` and no frames.

    `frames` has the bytes of each output token (b"" for one that is not shown); `tokens` is how many tokens it takes.
    """

    content_type: str
    opening: bytes
    frames: tuple[bytes, ...] = ()
    closing: bytes = b""
    tokens: int = 0
    error_event: Callable[[Problem], bytes] | None = None
    """How a stream of this kind says that it failed."""


def count_tokens(texts: Iterable[str]) -> int:
    """Prompt tokens by the rule of thumb of four characters each, at least 1."""
    return max(1, math.ceil(sum(map(len, texts)) / CHARACTERS_PER_TOKEN))

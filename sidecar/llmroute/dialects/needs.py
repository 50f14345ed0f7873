"""Which capabilities a body asks for, and whether its answer is bound to one provider's state.

Cheap for the plain chats that most requests are: members are looked at only where they are present, content parts are
decoded only where the raw bytes show that an image or audio may be among them, and never their payload.
"""

from itertools import compress
from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmroute.dialects.fields import NULL, is_set, raw, value
from llmroute.request import Operation

TOKENS_PER_IMAGE = 800
"""Between OpenAI's 85 (low detail) and Anthropic's 1,600 (largest) per image."""

_NAMES = ("streaming", "embeddings", "tools", "json", "vision", "audio", "reasoning")
_SETS = tuple(
    frozenset(compress(_NAMES, (mask >> bit & 1 for bit in range(len(_NAMES))))) for mask in range(1 << len(_NAMES))
)
_STATEFUL = (
    "previous_response_id",
    "conversation",
    "background",
    "container",
    "prompt",
    "thread",
    "web_search_options",
)
_CLIENT_TOOLS = (
    *("function", "custom", "bash_", "text_editor_", "memory_", "computer", "browser_"),
    *("local_shell", "shell", "apply_patch"),
)
"""Beginnings of the types of tools that the app itself runs; any other type runs at the provider."""
_PLAIN = frozenset(
    {"model", "messages", "input", "prompt", "system", "stream", "stream_options", "stop", "stop_sequences", "user"}
    | {"max_tokens", "max_completion_tokens", "max_output_tokens", "temperature", "top_p", "n", "seed", "metadata"}
)
"""Members that ask for no capability: a body of these alone is not looked at any further."""
_EMBEDDINGS, _RESPONSES = Operation.EMBEDDINGS, Operation.RESPONSES
_ARRAY = ord("[")
_IMAGES = ("image_url", "input_image", "image")
_WHERE_FORMAT_IS = (("response_format", ("type",)), ("text", ("format", "type")), ("output_config", ("format", "type")))


class Media(Struct):
    """Images and audio among the content parts; `size` is their bytes in the body."""

    images: int = 0
    audio: bool = False
    size: int = 0


class _Part(Struct):
    type: Any = None
    content: Raw = NULL
    image_url: Raw = NULL
    source: Raw = NULL
    input_audio: Raw = NULL


class _Message(Struct):
    content: list[_Part] | str | None = None


class _Tool(Struct):
    type: Any = None


_messages = msgspec.json.Decoder(list[_Message])
_parts = msgspec.json.Decoder(list[_Part])
_tools = msgspec.json.Decoder(list[_Tool])


def media_of(operation: Operation, body: bytes, fields: dict[str, Raw]) -> Media | None:
    """Images and audio in the prompt, None if there are none for sure: without a second array no content has parts."""
    if body.find(b"[", body.find(b"[") + 1) < 0 or operation is _EMBEDDINGS:
        return None
    prompt = fields.get("input" if operation is _RESPONSES else "messages")
    if prompt is None or memoryview(prompt)[0] != _ARRAY:
        return None
    media = Media()
    try:
        for message in _messages.decode(prompt):
            if isinstance(message.content, list):
                _collect(message.content, media)
    except (msgspec.DecodeError, RecursionError):
        pass  # not what the API takes: for the provider to say
    return media


def needs_of(
    operation: Operation, fields: dict[str, Raw], stream: bool, media: Media | None
) -> tuple[frozenset[str], bool]:
    """Capabilities (`spec.Capability`) that a target must have, and whether the answer is bound to a provider's state.

    It is where it depends on state there, or leaves some: such a request is asked once and never cached.
    """
    mask = 1 if stream else 0
    if operation is _EMBEDDINGS:
        return _SETS[mask | 2], False
    if media is None and operation is not _RESPONSES and _PLAIN.issuperset(fields):
        return _SETS[mask], False
    if is_set(fields, "tools") or is_set(fields, "functions"):
        mask |= 4
    if _wants_json(fields):
        mask |= 8
    if media is not None and media.images:
        mask |= 16
    if (media is not None and media.audio) or is_set(fields, "audio"):
        mask |= 32
    if _wants_reasoning(fields):
        mask |= 64
    return _SETS[mask], operation is not Operation.COMPLETIONS and _is_stateful(fields)


def _is_stateful(fields: dict[str, Raw]) -> bool:
    if any(is_set(fields, name) for name in _STATEFUL):
        return True
    if "tools" not in fields:
        return False
    try:
        tools = _tools.decode(fields["tools"])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return any(tool.type is not None and not str(tool.type).startswith(_CLIENT_TOOLS) for tool in tools)


def _collect(parts: list[_Part], media: Media) -> None:
    """Counts the media among content parts; tool results hold parts once more. Never looks into text or tool input."""
    for part in parts:
        if part.type in _IMAGES:
            media.images += 1
            media.size += max(memoryview(part.image_url).nbytes, memoryview(part.source).nbytes)
        elif part.type == "input_audio":
            media.audio = True
            media.size += memoryview(part.input_audio).nbytes
        elif memoryview(part.content)[0] == _ARRAY:
            _collect(_parts.decode(part.content), media)


def _wants_json(fields: dict[str, Raw]) -> bool:
    for name, path in _WHERE_FORMAT_IS:
        if name in fields:
            node = value(fields, name)
            for step in path:
                node = node.get(step) if isinstance(node, dict) else None
            if node in ("json_object", "json_schema"):
                return True
    return is_set(fields, "output_format")


def _wants_reasoning(fields: dict[str, Raw]) -> bool:
    if "reasoning_effort" in fields:
        return raw(fields, "reasoning_effort") not in (b"null", b'"none"', b'"minimal"')
    if "thinking" in fields:
        thinking = value(fields, "thinking")
        return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")
    return is_set(fields, "reasoning")

"""Which capabilities a body asks for, and whether it is bound to one provider's state.

Cheap for the plain chats that most requests are: members are looked at only where they are present, content parts are
decoded only where the raw bytes show that an image or audio may be among them, and never their payload.
"""

from itertools import compress
from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmroute.dialects.fields import is_set, raw, value
from llmroute.request import Operation

TOKENS_PER_IMAGE = 800
"""Between OpenAI's 85 (low detail) and Anthropic's 1,600 (largest) per image."""

_NAMES = ("streaming", "embeddings", "tools", "json", "vision", "audio", "reasoning")
_SETS = tuple(
    frozenset(compress(_NAMES, (mask >> bit & 1 for bit in range(len(_NAMES))))) for mask in range(1 << len(_NAMES))
)
_STATEFUL = ("previous_response_id", "conversation", "background", "container", "prompt", "web_search_options")
_CLIENT_TOOLS = (
    *("function", "custom", "bash_", "text_editor_", "memory_", "computer", "browser_"),
    *("local_shell", "shell", "apply_patch"),
)
"""Beginnings of the types of tools that the app itself runs; any other type runs at the provider."""
_WHERE_FORMAT_IS = (("response_format", ("type",)), ("text", ("format", "type")), ("output_config", ("format", "type")))


class Media(Struct):
    """Images and audio among the content parts; `size` is their bytes in the body."""

    images: int = 0
    audio: bool = False
    size: int = 0


class _Part(Struct):
    type: Any = None
    content: Raw = Raw(b"null")


class _Tool(Struct):
    type: Any = None


_list = msgspec.json.Decoder(list[Raw])
_part = msgspec.json.Decoder(_Part)
_tools = msgspec.json.Decoder(list[_Tool])


def media_of(operation: Operation, body: bytes, fields: dict[str, Raw]) -> Media | None:
    """Images and audio in the prompt, None if there are none for sure."""
    if b'"image' not in body and b'"input_' not in body:
        return None
    media = Media()
    name = "input" if operation is Operation.RESPONSES else "messages"
    if name in fields and operation is not Operation.EMBEDDINGS:
        _collect(fields[name], media)
    return media


def needs_of(operation: Operation, fields: dict[str, Raw], stream: bool, media: Media | None) -> frozenset[str]:
    """Capabilities (`spec.Capability`) that a target must have."""
    mask = 1 if stream else 0
    if operation is Operation.EMBEDDINGS:
        mask |= 2
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
    return _SETS[mask]


def is_stateful(operation: Operation, fields: dict[str, Raw]) -> bool:
    """Whether the answer depends on, or leaves, state at one provider: it is then asked once and never cached."""
    if operation is Operation.COMPLETIONS or operation is Operation.EMBEDDINGS:
        return False
    for name in _STATEFUL:
        if name in fields and is_set(fields, name):
            return True
    if "tools" not in fields:
        return False
    try:
        tools = _tools.decode(fields["tools"])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return any(tool.type is not None and not str(tool.type).startswith(_CLIENT_TOOLS) for tool in tools)


def _collect(array: Raw, media: Media) -> None:
    """Messages hold parts, and tool results hold parts once more. Never looks into text or tool input."""
    if bytes(memoryview(array)[:1]) != b"[":
        return
    for item in _list.decode(array):
        if bytes(memoryview(item)[:1]) != b"{":
            continue
        part = _part.decode(item)
        if part.type in ("image_url", "input_image", "image"):
            media.images += 1
            media.size += memoryview(item).nbytes
        elif part.type == "input_audio":
            media.audio = True
            media.size += memoryview(item).nbytes
        else:
            _collect(part.content, media)


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

"""Small questions and changes to JSON schemas, for structured outputs: both providers want them closed."""

from typing import Any

import msgspec
from msgspec import Raw

_NESTED = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf")


def closed(schema: Raw) -> Raw:
    """The schema with `additionalProperties: false` in each object that does not say, as Anthropic demands."""
    node = msgspec.json.decode(schema)
    for item in _objects(node):
        item.setdefault("additionalProperties", False)
    return Raw(msgspec.json.encode(node))


def is_strict(schema: Raw) -> bool:
    """Whether OpenAI takes the schema as strict: every object closed, every property required."""
    return all(
        item.get("additionalProperties") is False and set(item.get("properties", {})) <= set(item.get("required", ()))
        for item in _objects(msgspec.json.decode(schema))
    )


def as_object(schema: Raw) -> Raw:
    """A tool's schema with `type: object`, which Anthropic demands and OpenAI lets out."""
    node = msgspec.json.decode(schema)
    if not isinstance(node, dict) or node.get("type") == "object":
        return schema
    return Raw(msgspec.json.encode({"type": "object", **node}))


def _objects(node: Any) -> list[dict[str, Any]]:
    """All schemas of objects within a schema, itself included."""
    if not isinstance(node, dict):
        return []
    kind = node.get("type")
    found = [node] if kind == "object" or (isinstance(kind, list) and "object" in kind) else []
    inner = [*(node.get(name) for name in ("items", "additionalProperties"))]
    for name in _NESTED:
        children = node.get(name)
        inner += list(children.values()) if isinstance(children, dict) else []
    for name in _LISTS:
        variants = node.get(name)
        inner += variants if isinstance(variants, list) else []
    return found + [item for child in inner for item in _objects(child)]

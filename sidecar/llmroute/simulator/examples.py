"""An example value for a JSON schema, by a simple walk: what a model in JSON mode or a tool call would write. Pure.

Knows type, properties, required, items, enum, const, anyOf/oneOf/allOf, $ref into the same schema, and lower bounds.
Not a validator: an impossible schema gets some value.
"""

import json
from typing import Any

_DEEPEST = 24
"""Nesting at which an example gives up."""
_DEEP = 6
"""Nesting from which it takes the short way out: empty arrays, null, only what is required."""
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def text(schema: dict[str, Any]) -> str:
    """The example as JSON text; an object when the schema says nothing."""
    return json.dumps(example(schema) if schema else {"answer": "simulated"}, ensure_ascii=False)


def example(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """A value of the shape that `schema` describes; `root` is where $ref looks."""
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    if isinstance(schema.get("$ref"), str):
        return example(_resolve(root, schema["$ref"]), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            return example(_first(schema[choice], depth), root, depth + 1)
    if schema.get("allOf"):
        parts = [example(part, root, depth + 1) for part in schema["allOf"]]
        merged = {name: value for part in parts if isinstance(part, dict) for name, value in part.items()}
        return merged or parts[0]
    return _of_type(schema, root, depth)


def _of_type(schema: dict[str, Any], root: Any, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    match kind:
        case "object":
            properties = schema.get("properties", {})
            if depth > _DEEP:
                properties = {name: properties[name] for name in schema.get("required", ()) if name in properties}
            return {name: example(part, root, depth + 1) for name, part in properties.items()}
        case "array":
            length = schema.get("minItems", 0 if depth > _DEEP else 1)
            return [example(schema.get("items", {"type": "string"}), root, depth + 1) for _ in range(length)]
        case "integer" | "number":
            return schema.get("minimum", schema.get("exclusiveMinimum", 41) + 1)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            word = _FORMATS.get(schema.get("format", ""), "simulated")
            return word.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", 1_000)]


def _first(choices: list[Any], depth: int) -> Any:
    """The first choice that says something; deep down the one that says nothing."""
    nothing = [one for one in choices if isinstance(one, dict) and one.get("type") == "null"]
    something = [one for one in choices if one not in nothing]
    return (nothing + something if depth > _DEEP else something + nothing)[0]


def _resolve(root: Any, reference: str) -> Any:
    found = root
    for part in reference.lstrip("#/").split("/") if reference != "#" else ():
        found = found.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
    return found

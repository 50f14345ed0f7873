"""The CRD's schema as something that the library jsonschema can run."""

from typing import Any

import jsonschema

from llmroute import crd


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A structural schema as JSON Schema (draft 4: boolean exclusiveMinimum), with unknown fields refused."""
    made = {name: value for name, value in schema.items() if not name.startswith("x-") and name != "nullable"}
    if schema.get("nullable"):
        made["type"] = [schema["type"], "null"]
    if "properties" in schema:
        made["properties"] = {name: json_schema(child) for name, child in schema["properties"].items()}
        made["additionalProperties"] = False
    for name in ("items", "additionalProperties"):
        if name in schema:
            made[name] = json_schema(schema[name])
    return made


def validator() -> Any:
    (version,) = crd.crd()["spec"]["versions"]
    schema = json_schema(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.Draft4Validator.check_schema(schema)
    return jsonschema.Draft4Validator(schema)

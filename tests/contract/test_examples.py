"""The examples are LLMRoutes that the reader takes, and that the API server would take."""

from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml

from llmroute import crd
from llmroute.load import load
from llmroute.spec import Provider

ROOT = Path(__file__).parents[2]
EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.yaml")) if "kind: LLMRoute" in path.read_text()]


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


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_taken_by_the_reader_and_by_the_schema(path: Path) -> None:
    assert load([path]).routes
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] == "LLMRoute":
            validator().validate(document)


def test_the_examples_show_every_provider() -> None:
    shown = {target.provider for path in EXAMPLES for route in load([path]).routes for target in route.spec.targets}
    assert shown == set(get_args(Provider))


def test_all_examples_can_be_served_together() -> None:
    assert len(load(EXAMPLES).routes) >= len(EXAMPLES)

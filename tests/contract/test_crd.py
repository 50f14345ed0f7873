"""The generated schema is what the API server takes: structural, bounded, and up to date."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmroute import crd, reference

ROOT = Path(__file__).parents[2]
Schema = dict[str, Any]

OF_TYPE = {
    "string": {"enum", "pattern", "minLength", "maxLength", "format"},
    "integer": {"format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "boolean": set[str](),
    "array": {"items", "minItems", "maxItems", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"},
    "port": {"x-kubernetes-int-or-string", "anyOf", "minimum", "maximum", "maxLength", "pattern"},
    "object": {
        "properties", "required", "additionalProperties", "minProperties", "maxProperties",
        "x-kubernetes-preserve-unknown-fields",
    },
}  # fmt: skip
OF_ALL = {"description", "type", "nullable", "x-kubernetes-validations"}


def version() -> Schema:
    (version,) = crd.crd()["spec"]["versions"]
    assert isinstance(version, dict)
    return version


def nodes(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from nodes(schema[name], f"{path}[]")


def type_of(node: Schema) -> str:
    """A port is a number or text: the API server wants that said without `type`, and exactly so."""
    if "x-kubernetes-int-or-string" not in node:
        return str(node["type"])
    assert node["x-kubernetes-int-or-string"] is True
    assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert "type" not in node
    return "port"


NODES = list(nodes(version()["schema"]["openAPIV3Schema"], ""))


@pytest.mark.parametrize(("path", "module"), [("crds/llmroutes.yaml", crd), ("docs/reference.md", reference)])
def test_generated_files_are_up_to_date(path: str, module: Any) -> None:
    assert (ROOT / path).read_text() == module.render(), f"{path} is stale: make crd"


def test_it_is_a_custom_resource_definition_under_the_agreed_names() -> None:
    read = yaml.safe_load((ROOT / "crds/llmroutes.yaml").read_text())
    assert read == crd.crd()
    assert read["metadata"]["name"] == "llmroutes.llmroute.dev"
    assert read["spec"]["names"] == {
        "kind": "LLMRoute",
        "listKind": "LLMRouteList",
        "plural": "llmroutes",
        "singular": "llmroute",
        "shortNames": ["llmr"],
        "categories": ["llm"],
    }
    assert (version()["name"], version()["served"], version()["storage"]) == ("v1alpha1", True, True)
    assert version()["subresources"] == {"status": {}}


def test_nothing_is_said_about_metadata() -> None:
    assert dict(NODES)[".metadata"] == {"type": "object"}


class TestEveryNode:
    def test_has_one_type_and_only_keywords_that_belong_to_it(self) -> None:
        for path, node in NODES:
            assert set(node) <= OF_ALL | OF_TYPE[type_of(node)], path

    def test_has_either_properties_or_other_members(self) -> None:
        for path, node in NODES:
            assert not ("properties" in node and "additionalProperties" in node), path
            assert isinstance(node.get("additionalProperties", {}), dict), f"{path}: true and false are not structural"

    def test_requires_only_what_it_declares(self) -> None:
        for path, node in NODES:
            assert set(node.get("required", ())) <= set(node.get("properties", ())), path

    def test_is_bounded(self) -> None:
        for path, node in NODES:
            if type_of(node) == "array":
                assert node["maxItems"] <= 200, path
            if "additionalProperties" in node:
                assert node["maxProperties"] <= 16, path

    def test_has_numeric_bounds_of_the_old_form(self) -> None:
        for path, node in NODES:
            for name in ("exclusiveMinimum", "exclusiveMaximum"):
                assert node.get(name, True) is True, path
                assert name not in node or name.replace("exclusiveM", "m") in node, path

    def test_has_a_format_that_can_hold_its_bounds(self) -> None:
        for path, node in NODES:
            if type_of(node) == "integer":
                assert node["format"] in ("int32", "int64"), path
                assert node["format"] == "int64" or node["maximum"] < 2**31, path
            elif type_of(node) == "number":
                assert node["format"] == "double", path

    def test_has_no_choice_that_may_be_null(self) -> None:
        for path, node in NODES:
            assert not ("enum" in node and node.get("nullable")), f"{path}: the API server never finds null in an enum"
            assert "enum" not in node or (node["enum"] and len(set(node["enum"])) == len(node["enum"])), path

    def test_has_lists_whose_keys_the_api_server_can_compare(self) -> None:
        for path, node in NODES:
            kind = node.get("x-kubernetes-list-type")
            if type_of(node) == "array":
                assert kind in ("atomic", "set", "map"), (
                    f"{path}: say who owns an item when two appliers write the list"
                )
            if kind == "set":
                assert node["items"]["type"] in ("string", "integer", "number", "boolean"), path
            if kind == "map":
                for key in node["x-kubernetes-list-map-keys"]:
                    assert key in node["items"]["required"], path
                    assert node["items"]["properties"][key]["type"] == "string", path
                    assert not node["items"]["properties"][key].get("nullable"), path

    def test_has_a_pattern_that_go_and_python_read_alike(self) -> None:
        for path, node in NODES:
            pattern = node.get("pattern", "^$")
            re.compile(pattern)
            assert pattern.startswith("^"), path
            assert pattern.endswith("$"), path
            assert not re.search(r"\(\?|\\[a-zA-Z0-9]", pattern), (
                f"{path}: look-around, flags, classes and back-references differ"
            )

    def test_points_its_rules_at_fields_that_exist(self) -> None:
        for path, node in NODES:
            for rule in node.get("x-kubernetes-validations", ()):
                assert set(rule) <= {"rule", "message", "fieldPath"}, path
                assert "\n" not in rule["message"], path
                if "fieldPath" in rule:
                    assert rule["fieldPath"].removeprefix(".") in node["properties"], path


SPEC = [(path, node) for path, node in NODES if path.startswith(".spec")]


def test_every_text_of_the_spec_has_a_greatest_length() -> None:
    for path, node in SPEC:
        assert type_of(node) not in ("string", "port") or "enum" in node or node["maxLength"] <= 2048, path


def test_every_field_is_described() -> None:
    for path, node in SPEC:
        assert path.endswith("[]") or node["description"].endswith("."), path


def test_defaults_are_told_and_not_written_into_stored_objects() -> None:
    fields = dict(NODES)
    assert all("default" not in node for node in fields.values())
    assert fields[".spec.failover.timeouts.connect"]["description"].endswith("Default: 2s.")
    assert fields[".spec.cache.maxBytes"]["description"].endswith("Default: 64Mi.")
    assert fields[".spec.cache.isolateBy"]["description"].endswith("Default: [tenant, credential].")
    assert fields[".spec.targets[].reasoning"]["description"].endswith("Default: false.")

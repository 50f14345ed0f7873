"""The examples are LLMRoutes that the reader takes, and that the API server would take."""

from pathlib import Path
from typing import get_args

import pytest
import yaml
from tests.contract.schema import validator

from llmroute.load import load
from llmroute.spec import Provider

ROOT = Path(__file__).parents[2]
EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.yaml")) if "kind: LLMRoute" in path.read_text()]


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

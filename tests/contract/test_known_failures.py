"""docs/known-failures.md names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line.split(" | ")
    for line in (ROOT / "docs" / "known-failures.md").read_text().splitlines()
    if re.match(r"\| \d+ \|", line)
]
NAMED = sorted({name for row in ROWS for name in re.findall(r"`([\w/]+\.py::\w+)`", row[2])})


def test_all_failures_are_there_in_their_order() -> None:
    assert [int(row[0].removeprefix("| ")) for row in ROWS] == list(range(1, 44))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].removeprefix("| "))
def test_a_row_names_a_test_or_says_why_not(row: list[str]) -> None:
    assert "::" in row[2] or row[2].startswith("Cannot apply yet: ")


@pytest.mark.parametrize("named", NAMED)
def test_a_named_test_exists(named: str) -> None:
    path, name = named.split("::")
    tree = ast.parse((ROOT / "tests" / path).read_text())
    functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert name in functions

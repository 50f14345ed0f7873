"""The house stays as it was built: places, sizes, what is installed."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "sidecar/llmroute").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {"sidecar": [], "demo": ["demo"], "dev": ["dev"]}

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60


def test_operator_is_the_standard_librarys() -> None:
    assert not (ROOT / "operator/__init__.py").exists(), "it would hide Python's own module `operator`"
    told = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.__file__, operator.itemgetter)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not told.stdout.startswith(str(ROOT / "operator"))


def test_files_and_functions_stay_small() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert text.count("\n") <= MAX_FILE_LINES, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, f"{path}: {node.name}"


@pytest.mark.parametrize(("name", "target"), PROJECT["scripts"].items())
def test_scripts_lead_somewhere(name: str, target: str) -> None:
    module, function = target.split(":")
    assert callable(getattr(importlib.import_module(module), function)), name


def names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", one) for one in requirements)
    return {re.sub(r"[-_.]+", "-", one.group()).lower() for one in found if one}


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_hold_everything_declared_with_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    assert "://" not in text, "a lock names packages, not the server that they came from"
    entries = [line for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)]
    assert all(re.match(r"[a-z0-9._-]+==\S+( ;.*)? \\$", line) for line in entries)
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    declared = [
        *PROJECT["dependencies"],
        *(one for extra in LOCKS[lock] for one in PROJECT["optional-dependencies"][extra]),
    ]
    assert names(declared) <= names(entries)

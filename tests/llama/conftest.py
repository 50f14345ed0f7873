"""A real inference server for these tests: they run when they are asked for, by `make test-llama`."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.clients.programs import ROOT, Program, running

REASON = "needs a llama.cpp server: make test-llama"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "llama" in str(config.option.markexpr):
        return
    for item in items:
        if item.get_closest_marker("llama") is not None:
            item.add_marker(pytest.mark.skip(reason=REASON))


class Llama:
    """A server with one model and one slot: requests wait for each other."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.url = program.wait_for(r"running on (http://\S+)")[1] + "/v1"


@pytest.fixture(scope="session")
def home() -> Path:
    """Where scripts/llama-server has put the server and its model."""
    found = re.search(r"(?m)^llama-cpp-python==(\S+)", (ROOT / "requirements" / "llama.txt").read_text())
    assert found is not None
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = Path(cache) / "llmroute" / f"llama-{found[1]}"
    assert (place / "tiny.gguf").exists(), "there is no server: run scripts/llama-server"
    return place


@contextmanager
def llama(home: Path, output: Path, context: int = 2048) -> Iterator[Llama]:
    """A server on a port that the system chooses, with a window of so many tokens."""
    options = {
        "model": home / "tiny.gguf",
        "model_alias": "tiny",
        "host": "127.0.0.1",
        "port": 0,
        "n_ctx": context,
        "n_threads": 1,
        "interrupt_requests": "false",
        "verbose": "false",
    }
    command = [str(home / "venv" / "bin" / "python"), "-m", "llama_cpp.server"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    with running(command, output) as program:
        yield Llama(program)

"""Programs that run beside the tests, as users run them: started, waited for, and ended."""

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from re import Match

ROOT = Path(__file__).resolve().parents[2]
LLMROUTE = ROOT / ".venv" / "bin" / "llmroute"
_PATIENCE = 60.0
"""Seconds until a program that is not ready counts as broken; on a busy machine a start may take a while."""


class Program:
    """A running program. What it writes goes to a file, since a pipe that nobody reads would stop it."""

    def __init__(self, command: Sequence[str | Path], output: Path, environment: Mapping[str, str]) -> None:
        self.output = output
        with output.open("wb") as sink:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=dict(environment)
            )

    @property
    def said(self) -> str:
        """All that it has written so far."""
        return self.output.read_text(errors="replace")

    def wait_for(self, pattern: str) -> Match[str]:
        """Waits until its output matches. Raises AssertionError with the output if it ends before, or never says it."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            ended = self._process.poll()
            if found := re.search(pattern, self.said):
                return found
            assert ended is None, f"exit code {ended}:\n{self.said}"
            time.sleep(0.01)
        raise AssertionError(f"no {pattern!r} in:\n{self.said}")

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Asks it to end, and waits."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def running(
    command: Sequence[str | Path], output: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """A program for the length of a `with`; `environment` is added to ours."""
    program = Program(command, output, {**os.environ, **(environment or {})})
    try:
        yield program
    finally:
        program.stop()


class Sidecar:
    """`llmroute serve`, ready."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.origin = program.wait_for(r"serving on (http://[^/]+)/v1")[1]
        self.admin = program.wait_for(r"metrics and /status on (http://[^\"]+)")[1]

    @property
    def openai_url(self) -> str:
        """What OpenAI's SDK takes as its base URL."""
        return f"{self.origin}/v1"

    @property
    def anthropic_url(self) -> str:
        """What Anthropic's SDK takes as its base URL."""
        return self.origin


@contextmanager
def serving(routes: str, directory: Path, environment: Mapping[str, str] | None = None) -> Iterator[Sidecar]:
    """A sidecar for the LLMRoutes of a YAML text, on ports that the system chooses."""
    file = directory / "routes.yaml"
    file.write_text(routes)
    command = (LLMROUTE, "serve", file, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain-timeout", "1s")
    with running(command, directory / "serve.log", environment) as program:
        yield Sidecar(program)


@contextmanager
def simulating(fleet: str, directory: Path) -> Iterator[dict[str, str]]:
    """Simulated providers of a YAML text: their base URLs by name."""
    file = directory / "fleet.yaml"
    file.write_text(fleet)
    names = re.findall(r"name: ([-\w]+)", fleet)
    with running((LLMROUTE, "simulate", file), directory / "simulate.log") as program:
        yield {name: program.wait_for(rf"(?m)^{name} +\w+ +(http://\S+)$")[1] for name in names}

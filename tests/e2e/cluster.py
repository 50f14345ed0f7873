"""kubectl, helm and patience."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.cluster.ways import Reached, Way

CHECKOUT = Path(__file__).parents[2]
POLL = 0.2
"""Seconds between two looks at something that is waited for."""
_Seen = TypeVar("_Seen")
Manifest = Mapping[str, Any]


class CommandFailed(Exception):
    """A command that ended badly, with what it said."""

    def __init__(self, command: Sequence[str], said: str) -> None:
        super().__init__(f"{' '.join(command)[:300]}\n{said.strip()}")
        self.said = said


class Cluster:
    """A cluster as the stories see it."""

    def __init__(self, way: Way, reached: Reached, images: Mapping[str, str]) -> None:
        self.way = way
        self.reached = reached
        self.images = images
        """The images of this checkout that its nodes hold: sidecar, operator, e2e-app, with what tells builds apart."""
        self._environment = {**os.environ, "KUBECONFIG": str(reached.kubeconfig)}

    def kubectl(self, *arguments: str, stdin: str = "", seconds: float = 60) -> str:
        """What kubectl prints. Raises CommandFailed."""
        return self._run("kubectl", *arguments, stdin=stdin, seconds=seconds)

    @contextmanager
    def following(self, *arguments: str) -> Iterator[Iterator[str]]:
        """The lines of a kubectl that goes on, as they come. It is ended in the end."""
        command = [self.reached.program("kubectl"), *arguments]
        with subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            try:
                yield iter(running.stdout.readline, "")
            finally:
                running.kill()

    def helm(self, *arguments: str, seconds: float = 180) -> str:
        """What helm prints. Raises CommandFailed."""
        return self._run("helm", *arguments, stdin="", seconds=seconds)

    def get(self, *arguments: str) -> Any:
        """`kubectl get` as JSON: an object, or a list of them. Raises CommandFailed."""
        found = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found["items"] if found["kind"] == "List" else found

    def apply(self, *manifests: Manifest | str, namespace: str = "default") -> str:
        """`kubectl apply` of objects or of YAML; what it says. Raises CommandFailed."""
        documents = [part if isinstance(part, str) else json.dumps(part) for part in manifests]
        return self.kubectl("apply", "-n", namespace, "-f", "-", stdin="\n---\n".join(documents))

    def until(self, what: str, seen: Callable[[], _Seen], seconds: float = 60) -> _Seen:
        """What `seen` gives as soon as it is true. Raises AssertionError with what was seen last.

        A command that fails means: not yet.
        """
        deadline = time.monotonic() + seconds
        while True:
            last: object
            try:
                if last := seen():
                    return last
            except CommandFailed as error:
                last = error
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {seconds:g} s; seen last: {last!s:.3000}")
            time.sleep(POLL)

    def ready(self, kind: str, name: str, namespace: str, seconds: float = 120) -> None:
        """Waits for a Deployment's or StatefulSet's rollout. Raises CommandFailed."""
        limit = f"--timeout={seconds:g}s"
        self.kubectl("rollout", "status", f"{kind}/{name}", "-n", namespace, limit, seconds=seconds + 10)

    def _run(self, program: str, *arguments: str, stdin: str, seconds: float) -> str:
        command = [self.reached.program(program), *arguments]
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(command, f"no end after {seconds:g} s") from error
        if done.returncode:
            raise CommandFailed(command, done.stderr or done.stdout)
        return done.stdout

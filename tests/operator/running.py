"""The operator as a process of its own, as users run it."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from tests.operator.apiserver import free_port


class Process:
    """One replica."""

    def __init__(self, kubeconfig: Path, name: str, **settings: str) -> None:
        self.name = name
        self.port = free_port()
        self._log = kubeconfig.parent / f"{name}.log"
        environment = {
            "PATH": os.environ["PATH"],
            "POD_NAME": name,
            "LLMROUTE_KUBECONFIG": str(kubeconfig),
            "LLMROUTE_PORT": str(self.port),
            **{f"LLMROUTE_{key.upper()}": value for key, value in settings.items()},
        }
        command = [sys.executable, "-m", "llmroute_operator"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=environment, stderr=log, stdin=subprocess.DEVNULL)

    def get(self, path: str) -> tuple[int, str]:
        """Status (0: nobody answers) and text of /livez, /readyz or /metrics."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2.0) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, line: str) -> float:
        """Value of a metric, by its name and labels as they are written; 0 if it is not there."""
        for one in self.get("/metrics")[1].splitlines():
            if one.startswith(f"llmroute_operator_{line} "):
                return float(one.rsplit(" ", 1)[1])
        return 0.0

    @property
    def leads(self) -> bool:
        """Whether it holds the Lease."""
        return self.metric("leader") == 1.0

    def log(self) -> list[dict[str, Any]]:
        """All lines so far; each is JSON."""
        return [orjson.loads(line) for line in self._log.read_bytes().splitlines()]

    def stop(self) -> int:
        """As kubelet stops it; gives its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(15.0)

    def kill(self) -> None:
        """As a node that loses its power."""
        self._process.kill()
        self._process.wait()

    def wait(self, seconds: float) -> int:
        """Its exit code, when it ends by itself."""
        return self._process.wait(seconds)


@contextmanager
def replica(kubeconfig: Path, name: str, **settings: str) -> Iterator[Process]:
    """A replica that ends with the block."""
    process = Process(kubeconfig, name, **settings)
    try:
        yield process
    finally:
        process.kill()

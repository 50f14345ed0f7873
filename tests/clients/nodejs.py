"""Whether what is written for Node.js can run here, and how it is run."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "node"
LEAST = 20
"""Node.js 20 runs both SDKs and the simulated providers."""


@cache
def missing() -> str:
    """Why nothing of it can run here; empty if it can."""
    node = shutil.which("node")
    if node is None:
        return f"Node.js {LEAST} or newer is not installed"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < LEAST:
        return f"Node.js {LEAST} or newer is needed, {version} is installed"
    lock = HERE / "package-lock.json"
    installed = HERE / "node_modules" / ".package-lock.json"
    if not installed.exists() or _versions(installed) != _versions(lock):
        return "the packages of tests/clients/node are not installed: run scripts/node-clients"
    return ""


def run(script: str, argument: object) -> Any:
    """Runs a script of the directory and returns the JSON that it prints."""
    ended = subprocess.run(["node", HERE / script, json.dumps(argument)], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def _versions(lock: Path) -> dict[str, str]:
    packages = json.loads(lock.read_text())["packages"]
    return {path: package["version"] for path, package in packages.items() if path}

"""Peers' installations: one directory for each lock file's content and build of Python, kept in the user's cache, never
in the checkout. Peers in Python run on the same build as the sidecar: builds differ by a factor of 1.65 in speed."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from bench.proxy.peers import BENCH, NodeLock, Peer, PythonLock


class Absent(Exception):
    """A peer that cannot be measured here; the text says why and goes into the results."""


@dataclass(frozen=True)
class Installation:
    """Where a peer's files are; `site` is the directory of its Python packages, where it has any."""

    prefix: Path
    site: Path


def install(peer: Peer) -> Installation:
    """Install a peer unless its lock file is installed already.

    Raises:
        Absent: something to install it with is missing, or installing failed.
    """
    if isinstance(peer.source, PythonLock):
        prefix = _cached(peer.name, peer.source.path.read_bytes())
        if not _complete(prefix).exists():
            _install_python(prefix, peer.source.path)
    elif isinstance(peer.source, NodeLock):
        prefix = _cached(peer.name, (peer.source.directory / "package-lock.json").read_bytes())
        if shutil.which("node") is None or shutil.which("npm") is None:
            raise Absent("Node.js is not installed")
        if not _complete(prefix).exists():
            _install_node(prefix, peer.source.directory)
    else:
        prefix = peer.source.prefix
    return Installation(prefix, prefix / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages")


def plotting_python() -> Path:
    """The interpreter of an environment with matplotlib.

    Raises:
        Absent: installing failed.
    """
    lock = BENCH.parent / "requirements" / "bench.txt"
    prefix = _cached("plot", lock.read_bytes())
    if not _complete(prefix).exists():
        _install_python(prefix, lock)
    return prefix / "bin" / "python"


def _cached(name: str, lock: bytes) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    content = hashlib.sha256(lock + sys.version.encode() + sys.base_prefix.encode()).hexdigest()[:12]
    return cache / "llmroute" / "bench" / f"{name}-py{version}-{content}"


def _complete(prefix: Path) -> Path:
    return prefix / ".complete"


def _install_python(prefix: Path, lock: Path) -> None:
    print(f"installing {lock.name} ...", file=sys.stderr)
    shutil.rmtree(prefix, ignore_errors=True)
    venv.create(prefix, with_pip=True)
    # --no-deps: the lock file is complete, and LiteLLM's has overrides that a second resolution would refuse.
    pip = [str(prefix / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)], prefix)
    _complete(prefix).touch()


def _install_node(prefix: Path, source: Path) -> None:
    print(f"installing {source.name} ...", file=sys.stderr)
    shutil.rmtree(prefix, ignore_errors=True)
    prefix.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, prefix / name)
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"], prefix)
    _complete(prefix).touch()


def _run(command: list[str], directory: Path) -> None:
    finished = subprocess.run(command, cwd=directory, capture_output=True, text=True, env=_environment(), check=False)
    if finished.returncode != 0:
        print(finished.stdout, finished.stderr, sep="", file=sys.stderr)  # may name this machine: not for the results
        raise Absent(f"cannot be installed: {Path(command[0]).name} exited with {finished.returncode}")


def _environment() -> dict[str, str]:
    """Ours, but with bytecode written: a peer that compiles its sources at each import would look slower than it is."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

"""Where routes and keys come from: a source of configurations that changes while it serves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from llmroute.load import load
from llmroute.runtime import KeySources, local_key_sources
from llmroute.spec import LLMRoute

Stamp = tuple[tuple[int, int, int] | None, ...]


class Refusal(Struct, frozen=True):
    """What could not be used and why; what was good before serves on. `revision`: the one that it names."""

    error: str
    revision: str | None = None


class Found(Struct, frozen=True):
    """One configuration.

    `revision`: its name, None to have one made from the routes. `refused`: what of it could not be used. `place`: where
    the routes are from, for "no route{place} serves the model". `region`: where this sidecar runs, if that is known.
    """

    routes: tuple[LLMRoute, ...]
    keys: KeySources
    revision: str | None = None
    refused: Refusal | None = None
    place: str = ""
    region: str | None = None


class Configuration(Protocol):
    """A source of configurations."""

    def look(self) -> Stamp:
        """Cheap; another value than before says that there is something to read."""

    def read(self) -> Found:
        """What it says now. Raises ConfigError."""

    def in_force(self) -> None:
        """What was read last serves now."""

    def last_good(self) -> Found | None:
        """What served last, if it remembers: to start with when what it says now cannot be used."""


class LocalFiles:
    """YAML files that people write, and keys in them, in a directory or in the environment."""

    def __init__(self, files: Sequence[Path], secrets_dir: Path | None) -> None:
        self._files = files
        self._secrets_dir = secrets_dir

    def look(self) -> Stamp:
        """Changes when a file does."""
        return tuple(map(stamp_of, self._files))

    def read(self) -> Found:
        """Raises ConfigErrors with all that is wrong."""
        loaded = load(self._files)
        return Found(loaded.routes, local_key_sources(loaded.secrets, self._secrets_dir))

    def in_force(self) -> None:
        """Nothing is kept: the files are there after a restart."""

    def last_good(self) -> None:
        """Nothing: who starts it sees what is wrong."""


def stamp_of(path: Path) -> tuple[int, int, int] | None:
    """Changes when the file does, also when it is another one behind a symlink; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size

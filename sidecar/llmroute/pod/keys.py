"""Keys of Secrets that are mounted into the pod, and what is wrong where one is not there.

A route may use the Secret `llmroute-credentials` and those that the *pod's* annotation lists: only these are mounted.
So whoever may write routes cannot send any Secret of the namespace to a URL of theirs.
"""

from collections.abc import Collection
from pathlib import Path

from llmroute.credentials import FileSource
from llmroute.runtime import DEFAULT_SECRET

SECRETS_ANNOTATION = "llmroute.dev/secrets"


def listed(annotation: str) -> frozenset[str]:
    """The names in the annotation."""
    return frozenset(name for part in annotation.split(",") if (name := part.strip()))


class Mounted:
    """The Secrets of the pod. `listed`: those that its annotation names now."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.listed: Collection[str] = frozenset()

    def key(self, secret: str, key: str) -> "MountedKey":
        """Where the key is, or would be."""
        return MountedKey(self, secret, key)


class MountedKey(FileSource):
    """A key of a Secret."""

    def __init__(self, mounted: Mounted, secret: str, key: str) -> None:
        self._directory = mounted.directory / secret
        super().__init__(self._directory / key)
        self._mounted = mounted
        self._secret = secret
        self._key = key

    def __str__(self) -> str:
        """What is wrong, for a key that is not there."""
        try:
            keys = [entry.name for entry in self._directory.iterdir() if not entry.name.startswith("..")]
        except OSError:
            if self._secret in self._mounted.listed:
                return (
                    f"Secret {self._secret} is listed in the pod's annotation {SECRETS_ANNOTATION}, but was not when "
                    "the pod was made: make the pod anew"
                )
            if self._secret == DEFAULT_SECRET:
                return f"Secret {self._secret} is not mounted"
            return f"Secret {self._secret} is not listed in the pod's annotation {SECRETS_ANNOTATION}"
        if not keys:
            return f"Secret {self._secret} is not there, or empty"
        if self._key not in keys:
            return f"Secret {self._secret} has no key {self._key}"
        return f"key {self._key} of Secret {self._secret} is empty, or not text"

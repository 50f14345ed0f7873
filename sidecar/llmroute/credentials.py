"""Header that proves who we are to a target: from a mounted file or the environment, re-read when it changes.

The only place that holds a key in memory. A key is never in a repr, an error or a log.
"""

import hmac
import json
import os
from pathlib import Path
from typing import Protocol

from llmroute.errors import CredentialMissing

SHORTEST_KEY = 8
"""Characters of a key, or of its beginning, that are taken out of what a provider says."""
REDACTED = b"[redacted]"


class Source(Protocol):
    """Where a key comes from."""

    def read(self) -> str | None:
        """The key as it is now, None where there is none."""

    def __str__(self) -> str:
        """Where to look, for people: names only, never the value."""


class FileSource:
    """A key of a mounted Secret: `<secrets dir>/<secret>/<key>`. Kubelet replaces it through a symlink swap."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str | None:
        """The file's content without surrounding white space."""
        try:
            return self._path.read_text().strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def __str__(self) -> str:
        return f"file {self._path}"


class EnvironmentSource:
    """An environment variable: fixed for the life of the process."""

    def __init__(self, variable: str) -> None:
        self._variable = variable

    def read(self) -> str | None:
        """The variable's value without surrounding white space."""
        return os.environ.get(self._variable, "").strip() or None

    def __str__(self) -> str:
        return f"environment variable {self._variable}"


class LiteralSource:
    """A Secret that stands in the same YAML file as its route."""

    def __init__(self, value: bytes, name: str) -> None:
        self._value = value
        self._name = name

    def read(self) -> str | None:
        """The Secret's value."""
        return self._value.decode("utf-8", "replace").strip() or None

    def __str__(self) -> str:
        return f"secret {self._name}"

    def __repr__(self) -> str:
        return f"LiteralSource({self._name})"


class Credential:
    """One target's key, tried from several sources in order, as a header line.

    `refresh()` reads the sources again and returns whether the key changed; the caller then rebuilds what it
    derived. A key with control characters counts as missing: it could not be sent.
    """

    __slots__ = ("_header", "_line", "_prefix", "_sources")

    def __init__(self, header: str, prefix: str, sources: tuple[Source, ...]) -> None:
        self._header = header
        self._prefix = prefix
        self._sources = sources
        self._line: bytes | None = None
        self.refresh()

    def refresh(self) -> bool:
        """Read the sources again; True if the key is another one now."""
        key = next((key for source in self._sources if (key := source.read())), None)
        line = None
        if key is not None and key.isascii() and key.isprintable():
            line = f"{self._header}: {self._prefix}{key}\r\n".encode()
        changed = line != self._line
        self._line = line
        return changed

    @property
    def available(self) -> bool:
        """Whether there is a key, or none is needed."""
        return self._line is not None or not self._sources

    @property
    def looked_in(self) -> str:
        """The places that were looked at, for people."""
        return ", ".join(map(str, self._sources)) or "nowhere: no key is needed"

    @property
    def missing(self) -> str:
        """The places that were looked at in vain; empty if there is a key, or none is needed."""
        return "" if self.available else self.looked_in

    @property
    def line(self) -> bytes:
        """The header line with its line end; empty where no key is needed. Raises CredentialMissing."""
        if self._line is not None:
            return self._line
        if self._sources:
            raise CredentialMissing(f"the target's key is missing: {self.missing}")
        return b""

    def says_the_same_as(self, other: "Credential") -> bool:
        """Whether both would send the same header line, or none."""
        return self._line == other._line

    def redact(self, text: bytes) -> bytes:
        """The same without the key, as it stands, as JSON writes it, or cut off at the end: some providers quote it.
        A shorter key than any provider's stays: what it spells may be a word."""
        if self._line is None:
            return text
        key = self._line[len(self._header) + len(self._prefix) + 2 : -2]
        if len(key) < SHORTEST_KEY:
            return text
        escaped = json.dumps(key.decode())[1:-1].encode()
        for quoted in {key, escaped, escaped.replace(b"/", rb"\/")}:
            text = text.replace(quoted, REDACTED)
            for length in range(len(quoted) - 1, SHORTEST_KEY - 1, -1):
                if text.endswith(quoted[:length]):
                    return text[:-length] + REDACTED
        return text

    def __repr__(self) -> str:
        return f"Credential({self._header}, {'available' if self.available else 'missing'})"


class SharedKey:
    """A key that callers must show, as `Authorization: Bearer <key>`: read anew each time, as it may change."""

    __slots__ = ("_source",)

    def __init__(self, file: Path) -> None:
        self._source = FileSource(file)

    def opens(self, authorization: bytes) -> bool:
        """Whether the header's value holds the key; never where there is no key."""
        key = self._source.read()
        scheme, _, shown = authorization.partition(b" ")
        # Compared even where there is nothing to compare with: how long it takes tells nothing.
        same = hmac.compare_digest(shown.strip(), (key or "").encode("utf-8", "replace"))
        return same and key is not None and scheme.lower() == b"bearer"

"""Where connections go, and the head of a request. Pure."""

from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(msgspec.Struct, frozen=True):
    """Scheme, host and port: what a connection can be reused for. IPv6 hosts are held without brackets.

    `address`: the only one of the host's that is connected to; empty: any.
    """

    scheme: str
    host: str
    port: int
    address: str = ""

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Takes the origin of an absolute http or https URL; raises ValueError for anything else."""
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS:
            raise ValueError(f"a target's URL begins with http:// or https://, not {parts.scheme or 'nothing'!r}")
        host = (parts.hostname or "").rstrip(".")
        if not host:
            raise ValueError("a target's URL names a host")
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
        return cls(parts.scheme, host, parts.port or DEFAULT_PORTS[parts.scheme])

    @property
    def authority(self) -> str:
        """The value of the Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """`host:port`, for messages."""
        place = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return f"{place} at {self.address}" if self.address else place


def build_head(method: str, path: str, host: str, headers: Sequence[tuple[str, str]]) -> bytes:
    """The head of a request, up to but without content-length and the blank line (`Pool.send` adds both).

    `path` is the request target with its query, `host` an `Origin.authority`. Raises ValueError for control
    characters, which would let a value start a header of its own. For `Pool.send_streaming` the headers may
    hold a content-length; without one the body is sent in chunks.
    """
    if " " in path or not path.startswith("/"):
        raise ValueError("the path of a request begins with / and has no spaces")
    text = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n" + "".join(
        [f"{name}: {value}\r\n" for name, value in headers]
    )
    lines = len(headers) + 2
    if text.count("\r") != lines or text.count("\n") != lines or "\0" in text:
        raise ValueError("a header of a request holds a line break or a NUL")
    return text.encode("utf-8", "surrogateescape")

"""The way out: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. Pure."""

from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

import msgspec

from llmroute.errors import ConfigError
from llmroute.upstream.origin import Origin


class Proxy(msgspec.Struct, frozen=True):
    """A forward proxy. `authorization` is the whole Proxy-Authorization header line, or empty; never shown."""

    scheme: str
    host: str
    port: int
    authorization: bytes = b""

    def __repr__(self) -> str:
        return f"Proxy({self})"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def connect_head(self, origin: Origin) -> bytes:
        """The request that opens a tunnel (RFC 9110, section 9.3.6)."""
        authority = str(origin).encode()
        return b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (authority, authority, self.authorization)

    def absolute(self, origin: Origin, head: bytes) -> bytes:
        """The head of a request in absolute form, as a proxy wants it for http:// (RFC 9112, section 3.2.2)."""
        method, _, rest = head.partition(b" ")
        line, _, headers = rest.partition(b"\r\n")
        return b"%b http://%b%b\r\n%b%b" % (method, origin.authority.encode(), line, self.authorization, headers)


def proxy_for(origin: Origin, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that the environment names for an origin; None for a direct connection.

    Lower-case names win, as in curl. Loopback is always direct, as in Go: a proxy elsewhere could not reach it.
    Raises ConfigError, without the value since it may hold a password, where a proxy's URL makes no sense.
    """
    for name in (f"{origin.scheme}_proxy", "all_proxy"):
        for spelling in (name, name.upper()):
            if url := environ.get(spelling, ""):
                no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
                return None if _direct(origin, no_proxy) else _parse(spelling, url)
    return None


def _parse(name: str, url: str) -> Proxy:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise ConfigError("not the URL of a proxy", where=name) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("a proxy is http://host:port or https://host:port", where=name)
    authorization = b""
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = b"proxy-authorization: Basic %b\r\n" % b64encode(credentials)
    return Proxy(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), authorization)


def _direct(origin: Origin, no_proxy: str) -> bool:
    try:
        address = ip_address(origin.host.partition("%")[0])
    except ValueError:
        address = None
    if origin.host == "localhost" or (address is not None and address.is_loopback):
        return True
    for entry in no_proxy.replace(",", " ").lower().split():
        if entry == "*" or _matches(entry, origin):
            return True
        if address is not None and _in_network(entry, address):
            return True
    return False


def _matches(entry: str, origin: Origin) -> bool:
    """`example.com` and `.example.com` both name the host and all below it; `host:port` names that port alone."""
    if entry == f"[{origin.host}]":
        return True
    if entry.count(":") == 1 or entry.startswith("["):
        entry, _, port = entry.rpartition(":")
        if port != str(origin.port):
            return False
    suffix = entry.strip("[]").removeprefix("*").removeprefix(".")
    return bool(suffix) and (origin.host == suffix or origin.host.endswith("." + suffix))


def _in_network(entry: str, address: object) -> bool:
    try:
        return address in ip_network(entry, strict=False)
    except (ValueError, TypeError):
        return False

"""What may come in: Host and Origin, headers, sizes, drip timeouts."""

import asyncio
import hashlib
import ipaddress
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from llmroute.buffers import Share
from llmroute.errors import BadRequest, ForbiddenOrigin, RequestTimeout, TooLarge, WrongContentType
from llmroute.inbound import Arrival, Body, Opening
from llmroute.request import NO_WISHES, Wishes
from llmroute.settings import Settings
from llmroute.spec import Duration

BODY_RATE = 64 * 1024
"""Bytes that buy a slow body one more second."""
MAX_REQUEST_ID = 128

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_FORWARD, _DROP, _DIALECT, _OURS, _READ = range(5)
_NEVER_UPSTREAM = frozenset(
    b"accept-encoding content-encoding content-length cookie expect keep-alive openai-organization"
    b" openai-project proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding"
    b" upgrade".split()
)
_READ_HERE = frozenset(
    b"access-control-request-headers access-control-request-method api-key authorization connection content-type host"
    b" ocp-apim-subscription-key origin x-amz-security-token x-auth-token x-request-id".split()
)
_CREDENTIALS = (b"-api-key", b"-authorization")
"""How the names of headers end that hold somebody's key: the app's own stays here."""
_USUAL_CONNECTIONS = frozenset({b"keep-alive", b"Keep-Alive", b"close"})
_KINDS: dict[bytes, tuple[int, bytes]] = {}
"""Header names seen so far → (kind, lower case); bounded, since apps choose the names."""
_MAX_KINDS = 1024
_LONGEST_NAME = 64


RawHeaders = tuple[tuple[bytes, bytes], ...]


class Head(msgspec.Struct):
    """What the header lines of a request say, sorted by what becomes of them. Not to be changed once it is made:
    the next request of the connection may get the same one."""

    wishes: Wishes = NO_WISHES
    forward: bytes = b""
    dialect: bytes = b""
    content_type: bytes = b""
    request_id: str | None = None
    credentials: tuple[bytes, ...] = ()
    speaks_anthropic: bool = False
    hop_by_hop: frozenset[bytes] = frozenset()
    """Headers that `connection` names: they are meant for us."""
    origin: bytes = b""
    """The web page that asks; only such as are allowed."""
    asks_ahead: bool = False
    """With OPTIONS: whether it may, what it asks for."""
    asks_headers: bytes = b""
    """The names of headers that it would send."""
    hashed: bytes | None = None

    def __repr__(self) -> str:
        return "<Head>"  # the app's key is in it

    def credential_hash(self) -> bytes:
        """Tells callers apart without keeping what they sent."""
        if self.hashed is None:
            self.hashed = hashlib.sha256(b"\0".join(self.credentials)).digest() if self.credentials else b""
        return self.hashed


def _kind(name: bytes) -> tuple[int, bytes]:
    lower = name.lower()
    if lower in _NEVER_UPSTREAM:
        kind = _DROP
    elif lower in _READ_HERE or lower.endswith(_CREDENTIALS):
        kind = _READ
    elif lower.startswith(b"x-llmroute-"):
        kind = _OURS
    elif lower.startswith(b"anthropic-") or lower == b"openai-beta":
        kind = _DIALECT
    else:
        kind = _FORWARD
    if len(_KINDS) < _MAX_KINDS and len(name) <= _LONGEST_NAME:
        _KINDS[name] = (kind, lower)
    return kind, lower


class Gate:
    """Checks the head of each request and sorts its header lines, in one pass."""

    def __init__(self, settings: Settings) -> None:
        self._hosts = _LOOPBACK | set(map(str.lower, settings.allowed_hosts))
        self._origins = frozenset(origin.encode() for origin in settings.allowed_origins)
        self._last_host = b"localhost"
        """The last one that was admitted: apps call us by the same name each time."""

    def admit(self, opening: Opening) -> Head:
        """Raises ForbiddenOrigin and BadRequest."""
        if opening.old and opening.version != "1.0":
            raise BadRequest(f"HTTP/{opening.version} is not spoken here; use HTTP/1.1")
        opening.head = head = self.sort(opening.lines)
        return head

    def sort(self, lines: RawHeaders) -> Head:
        """What the lines say. Raises ForbiddenOrigin and BadRequest."""
        head = Head()
        forward: list[bytes] = []
        dialect: list[bytes] = []
        ours: dict[str, str] | None = None
        host = None
        for name, value in lines:
            kind, lower = _KINDS.get(name) or _kind(name)
            if kind == _FORWARD:
                forward += (lower, b": ", value, b"\r\n")
            elif kind == _DIALECT:
                dialect += (lower, b": ", value, b"\r\n")
            elif kind == _OURS:
                ours = ours if ours is not None else {}
                ours[lower.decode()[11:]] = value.decode("latin-1").strip()
            elif kind == _READ:
                if lower == b"host":
                    host = value
                else:
                    self._read(head, lower, value)
        self._check_host(host)
        if head.hop_by_hop:
            forward, dialect = (_without(head.hop_by_hop, pieces) for pieces in (forward, dialect))
        head.forward = b"".join(forward)
        head.dialect = b"".join(dialect)
        head.speaks_anthropic = b"anthropic-version: " in head.dialect
        if ours is not None:
            head.wishes = read_wishes(ours)
        return head

    def _read(self, head: Head, name: bytes, value: bytes) -> None:
        if name == b"content-type":
            head.content_type = value
        elif name == b"origin":
            if value not in self._origins:
                raise ForbiddenOrigin("requests from web pages are refused; --allow-origin admits an origin")
            head.origin = value
        elif name == b"access-control-request-method":
            head.asks_ahead = True
        elif name == b"access-control-request-headers":
            head.asks_headers = value
        elif name == b"connection":
            if value not in _USUAL_CONNECTIONS:
                head.hop_by_hop |= frozenset(option.strip().lower() for option in value.split(b","))
        elif name == b"x-request-id":
            text = value.decode("latin-1")
            if len(text) <= MAX_REQUEST_ID and text.isascii() and text.isprintable():
                head.request_id = text
        else:
            head.credentials = (*head.credentials, name + b":" + value)

    def _check_host(self, host: bytes | None) -> None:
        """A foreign name here is DNS rebinding: a web page that made its own name point to us."""
        if host == self._last_host:
            return
        if host is None:
            raise BadRequest("the Host header is missing")
        name = host.decode("latin-1").lower()
        if not name.endswith("]"):
            name = name.rpartition(":")[0] or name
        if name in self._hosts or _is_address(name):
            self._last_host = host
            return
        raise ForbiddenOrigin(f"unknown Host {name[:100]!r}; --allow-host admits a name")


def _without(names: frozenset[bytes], pieces: list[bytes]) -> list[bytes]:
    """Header lines, four pieces each, but for those of the names."""
    return [piece for at in range(0, len(pieces), 4) if pieces[at] not in names for piece in pieces[at : at + 4]]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return text

    return parse


def _seconds(text: str) -> float:
    """A duration such as `2s`, or a bare number of milliseconds."""
    seconds = int(text) / 1000 if text.isascii() and text.isdigit() else float(Duration.parse(text))
    if not 0 < seconds < 86_400:
        raise ValueError("expected a duration above zero and below a day")
    return seconds


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"expected a whole number from {low} to {high}")
        return int(text)

    return parse


def _name(text: str) -> str:
    if not 0 < len(text) <= 128:
        raise ValueError("expected 1 to 128 characters")
    return text


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "1", "false", "0"):
        raise ValueError("expected true or false")
    return text.lower() in ("true", "1")


_WISHES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "priority": ("priority", _one_of("speed", "balanced", "cost", "quality")),
    "objective": ("objective", _one_of("auto", "ttft", "total", "throughput")),
    "max-latency": ("max_latency", _seconds),
    "max-ttft": ("max_ttft", _seconds),
    "min-quality": ("min_quality", _whole(1, 5)),
    "expected-tokens": ("expected_tokens", _whole(1, 10_000_000)),
    "tenant": ("tenant", _name),
    "target": ("target", _name),
    "dry-run": ("dry_run", _flag),
}


def read_wishes(headers: dict[str, str]) -> Wishes:
    """`x-llmroute-*` headers, without the prefix, as values. Raises BadRequest that names the header."""
    wishes: dict[str, Any] = {}
    for name, text in headers.items():
        try:
            if name == "cache":
                wishes[{"no-store": "no_store", "refresh": "refresh"}[text.lower()]] = True
            else:
                field, parse = _WISHES[name]
                wishes[field] = parse(text)
        except KeyError:
            known = "x-llmroute-cache is no-store or refresh" if name == "cache" else "unknown header"
            raise BadRequest(f"x-llmroute-{name[:64]}: {known}", param=f"x-llmroute-{name[:64]}") from None
        except ValueError as error:
            raise BadRequest(f"x-llmroute-{name}: {error}", param=f"x-llmroute-{name}") from None
    return Wishes(**wishes)


def require_json(content_type: bytes) -> None:
    """Raises WrongContentType for a body that is declared as something else."""
    if content_type == b"application/json":
        return
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type and media_type != b"application/json" and not media_type.endswith(b"+json"):
        raise WrongContentType(f"the body must be application/json, not {media_type.decode('latin-1')[:100]!r}")


def take_body(body: bytes, max_body: int, share: Share) -> bytes:
    """A body that came with its head, its length taken from the buffers. Raises TooLarge and Overloaded."""
    size = len(body)
    if size > max_body:
        raise TooLarge(f"the body has {size} bytes; the limit is {max_body} (--max-body)")
    share.take(size)
    return body


async def read_body(arrival: Arrival, body: Body, settings: Settings, share: Share) -> bytes:
    """The whole of a body that is on its way, its length taken from the buffers.

    Raises TooLarge, RequestTimeout, Overloaded, BadRequest, WrongContentType. A body may take `body_timeout` and one
    more second for every BODY_RATE bytes, so that a drip ends.
    """
    coding = arrival.opening.coding
    if coding and not body.decodes and coding.lower() != b"identity":
        told = coding.decode("latin-1")[:100]
        raise WrongContentType(f"the body's content-encoding is {told!r}; gzip, deflate and br are understood")
    taken, max_body = max(0, body.length), settings.max_body
    if taken > max_body:
        raise TooLarge(f"the body has {taken} bytes; the limit is {max_body} (--max-body)")
    share.take(taken)
    answer_expectation(arrival)
    chunks: list[bytes] = []
    size = 0
    async for chunk in arriving(body, settings.body_timeout):
        size += len(chunk)
        if size > max_body:
            raise TooLarge(f"the body has more than {max_body} bytes (--max-body)")
        if size > taken:
            share.take(size - taken)
            taken = size
        chunks.append(chunk)
    share.give(taken - size)
    return b"".join(chunks)


def answer_expectation(arrival: Arrival) -> None:
    """`Expect: 100-continue`: the app waits for our word before it sends the body."""
    if arrival.opening.expects and not arrival.complete:
        arrival.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def arriving(body: Body, max_seconds: float) -> AsyncIterator[bytes]:
    """The body's bytes as they come. Raises RequestTimeout and BadRequest."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + max_seconds
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await body.read()
        except TimeoutError:
            raise RequestTimeout(f"the body did not arrive within {max_seconds:g} s") from None
        if not chunk:
            return
        deadline += len(chunk) / BODY_RATE
        yield chunk

"""Header lines of answers, as bytes: our own, and those of a target's that the app may see."""

import math
from collections.abc import Iterable
from functools import lru_cache

from llmroute.errors import RequestError
from llmroute.request import Dialect

_ANTHROPIC = Dialect.ANTHROPIC
_KEPT = frozenset(
    b"retry-after request-id openai-processing-ms openai-version anthropic-organization-id cf-ray".split()
)
_KEPT_PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-")
_SHOWN_AS: dict[bytes, bytes] = {}
"""Header names of targets seen so far → how the app's line begins, empty for nothing; bounded, since targets choose
the names."""
_MAX_NAMES = 1024
_LF, _CR = b"\n\r"
_LONGEST_NAME = 64


def line(name: bytes, value: bytes) -> bytes:
    """One header line; line ends in the value, which no honest peer sends, become spaces."""
    return b"%b: %b\r\n" % (name, _in_one_line(value))


def _in_one_line(value: bytes) -> bytes:
    return value.replace(b"\r", b" ").replace(b"\n", b" ")


def identified(request_id: str, dialect: Dialect, by_target: bool = False) -> bytes:
    """Our request id; Anthropic's SDK reads it by another name, unless it reads the target's own there."""
    name = request_id.encode()
    if dialect is _ANTHROPIC and not by_target:
        return b"x-request-id: %b\r\nrequest-id: %b\r\n" % (name, name)
    return b"x-request-id: %b\r\n" % name


@lru_cache(maxsize=1024)
def routed(target: str, reason: str, attempts: str = "") -> bytes:
    """Who answers, and why."""
    lines = f"x-llmroute-target: {target}\r\nx-llmroute-reason: {reason}\r\n"
    if attempts:
        lines += f"x-llmroute-attempts: {attempts}\r\n"
    return lines.encode()


def refused(error: RequestError, attempts: str, allow: str) -> bytes:
    """An error made by us: not to be retried by the SDK, because what could be retried has been. `attempts` that failed
    before it; `allow`: the methods that would do."""
    lines = f"x-llmroute-error: {error.code}\r\nx-should-retry: false\r\n"
    if error.retry_after is not None:
        lines += f"retry-after: {max(1, math.ceil(error.retry_after))}\r\n"
    if allow:
        lines += f"allow: {allow}\r\n"
    if attempts:
        lines += f"x-llmroute-attempts: {attempts}\r\n"
    return lines.encode()


def for_origin(origin: bytes) -> bytes:
    """A browser may show the answer to web pages of the origin, with all its headers."""
    return line(b"access-control-allow-origin", origin) + b"access-control-expose-headers: *\r\nvary: origin\r\n"


def for_what_is_asked_ahead(headers: bytes) -> bytes:
    """A browser may send what a web page wants to: these headers, and whichever method."""
    allowed = line(b"access-control-allow-headers", headers) if headers else b""
    return allowed + b"access-control-allow-methods: GET, POST, PUT, PATCH, DELETE\r\naccess-control-max-age: 600\r\n"


def measured(overhead: float, cache: str) -> bytes:
    """Seconds that the sidecar added, shown as milliseconds, and what the cache had to say."""
    if cache:
        return b"x-llmroute-overhead-ms: %.2f\r\nx-llmroute-cache: %b\r\n" % (overhead * 1e3, cache.encode())
    return b"x-llmroute-overhead-ms: %.2f\r\n" % (overhead * 1e3)


def upstream_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The target's header lines that the app may see: request ids, rate limits, retry-after.

    `x-request-id` is ours on the way to the app; the target's own becomes `x-upstream-request-id`.
    """
    lines = b""
    for name, value in headers:
        shown = _SHOWN_AS.get(name)
        if shown is None:
            shown = _shown_as(name)
        if shown:
            if _LF in value or _CR in value:
                value = _in_one_line(value)
            lines += shown + value + b"\r\n"
    return lines


def _shown_as(name: bytes) -> bytes:
    lower = name.lower()
    shown = lower + b": " if lower in _KEPT or lower.startswith(_KEPT_PREFIXES) else b""
    if lower == b"x-request-id":
        shown = b"x-upstream-request-id: "
    if len(_SHOWN_AS) < _MAX_NAMES and len(name) <= _LONGEST_NAME:
        _SHOWN_AS[name] = shown
    return shown

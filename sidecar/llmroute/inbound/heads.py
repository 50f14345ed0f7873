"""The head of a request: bytes in, what it says out. Every head that was not heard before is judged by llhttp."""

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

if TYPE_CHECKING:
    from llmroute.admission import Head

MAX_HEAD = 64 * 1024
"""Bytes of a whole head."""
MAX_LINE = 16 * 1024
"""Bytes of one header's value: long enough for the longest tokens and trace headers seen."""
MAX_LINES = 128
CHUNKED = -1
"""Instead of a body's length."""

_LONGEST_LENGTH = 15  # digits of a content-length: far beyond any body that is taken, far below an overflow
_ONCE = frozenset(b"content-encoding content-type host user-agent".split())
"""Header lines that mean nothing if they stand there twice; llhttp sees to those of the body's length."""


class BadHead(Exception):
    """What came is no request. `status` is the answer's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Opening:
    """How a request begins: the request line and the header lines.

    Not to be changed once it is made: a head that is said again, as SDKs do time after time, has the same one.
    """

    __slots__ = (
        "after",
        "before",
        "coding",
        "expects",
        "head",
        "length",
        "length_at",
        "lines",
        "method",
        "old",
        "path",
        "stays",
        "target",
        "version",
    )

    def __init__(self, method: str, url: str, version: str, lines: tuple[tuple[bytes, bytes], ...]) -> None:
        self.method = method
        self.target = _origin_form(url)
        """Path and query as the app wrote them."""
        self.path = _path(self.target)
        """The path alone, unquoted."""
        self.version = version
        self.old = version != "1.1"
        self.lines = lines
        """Names as they came, and values without the blanks around them."""
        self.stays = False
        """The connection may serve another request after this one."""
        self.length = 0
        """Bytes of the body of the head that was read first; CHUNKED if nobody knows."""
        self.coding = b""
        """Content coding of the body."""
        self.expects = False
        """The app waits for `100 Continue` before it sends the body."""
        self.before = b""
        """All bytes before the digits of content-length, if the head can be known again."""
        self.length_at = 0
        self.after = b""
        """All bytes behind those digits."""
        self.head: Head | None = None
        """What the Gate made of it."""


class Reading:
    """A head that is being read: `feed` it until there is an `opening`."""

    __slots__ = ("_lines", "_parser", "_raw", "_stays", "_url", "opening")

    def __init__(self) -> None:
        self._raw = bytearray()
        self._lines: list[tuple[bytes, bytes]] = []
        self._url = b""
        self._stays: bool | None = None
        self._parser = HttpRequestParser(self)
        self.opening: Opening | None = None

    def feed(self, received: bytes) -> bytes:
        """Take what belongs to the head, give what lies behind it. Raises BadHead.

        The head ends at the first empty line, and the parser must be of the same opinion: it never sees a byte of the
        body, nor of another request.
        """
        raw = self._raw
        known = len(raw)
        raw += received
        end = raw.find(b"\r\n\r\n", max(0, known - 3)) + 4
        whole = end >= 4
        if not whole:
            end = len(raw)
        if end > MAX_HEAD:
            raise BadHead(431, f"the head has more than {MAX_HEAD} bytes")
        try:
            self._parser.feed_data(raw[known:end])
        except HttpParserUpgrade:
            pass  # an offer that is not taken up: the request is one like any other
        except HttpParserError as error:
            raise _reason(error) from error
        if whole != (self._stays is not None):
            raise BadHead(400, "the head does not end with an empty line")
        if whole:
            self.opening = self._read(bytes(raw[:end]))
        return received[end - known :]

    def _read(self, raw: bytes) -> Opening:
        parser, lines = self._parser, tuple(self._lines)
        del self._parser  # a cycle
        opening = Opening(parser.get_method().decode(), self._url.decode(), parser.get_http_version(), lines)
        opening.stays = bool(self._stays) and opening.method != "CONNECT"
        seen = set()
        for name, value in lines:
            lower = name.lower()
            if lower in _ONCE and lower in seen:
                raise BadHead(400, f"{lower.decode()} stands there twice")
            seen.add(lower)
            if lower == b"content-length":
                opening.length = _length(value)
            elif lower == b"transfer-encoding":
                if value.lower() != b"chunked" or opening.old:
                    raise BadHead(400, "transfer-encoding can only be chunked, and only in HTTP/1.1")
                opening.length = CHUNKED
            elif lower == b"content-encoding":
                opening.coding = value
            elif lower == b"expect":
                opening.expects = value.lower() == b"100-continue" and not opening.old
        if b"content-length" in seen:
            _make_known(opening, raw)
        return opening

    # What the parser calls.

    def on_url(self, url: bytes) -> None:
        """The request target, or a part of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line."""
        if len(value) > MAX_LINE or len(name) > MAX_LINE:
            raise BadHead(431, f"a header line has more than {MAX_LINE} bytes")
        if len(self._lines) >= MAX_LINES:
            raise BadHead(431, f"more than {MAX_LINES} header lines")
        self._lines.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The end, as the parser sees it."""
        self._stays = self._parser.should_keep_alive()


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > _LONGEST_LENGTH:
        raise BadHead(400, "content-length is no length")
    return int(value)


def _make_known(opening: Opening, raw: bytes) -> None:
    """Note what must come again, byte for byte, for the head to be the same but for the length of the body.

    In a head that llhttp has accepted, every line end begins a line, and there is one content-length: so the digits
    are found by their name. A head with blanks behind them is not worth knowing.
    """
    name = b"\r\ncontent-length:"
    at = raw.lower().find(name) + len(name)
    at += len(raw) - at - len(raw[at:].lstrip(b" \t"))
    end = raw.index(b"\r", at)
    if raw[at:end].isdigit():
        opening.before, opening.after, opening.length_at = raw[:at], raw[end:], at


def _reason(error: HttpParserError) -> BadHead:
    own = error.__context__
    return own if isinstance(own, BadHead) else BadHead(400, f"the request is not HTTP/1.1: {error}")


def _origin_form(url: str) -> str:
    """Path and query of a request target, whichever of its forms it has. Raises BadHead."""
    if url.startswith("/"):
        return url.partition("#")[0]
    if "://" not in url:  # the forms of OPTIONS and CONNECT
        return url
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadHead(400, "the request target is no URL") from error
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _path(target: str) -> str:
    path = target.partition("?")[0]
    return unquote(path) if "%" in path else path

"""Server-sent events as bytes: where frames end, and what one frame holds.

Frames are never rebuilt: what is relayed is the provider's own bytes. Line ends are LF or CRLF, also mixed; a lone CR
(which no provider sends and which would make every chunk boundary ambiguous) is not a line end.
"""

from collections.abc import Iterator

MAX_FRAME = 16 * 1024 * 1024
"""Bytes of one frame that are held while its end has not come; image-bearing frames are megabytes."""


def end_of_frames(buffer: bytes) -> int:
    """Offset after the last complete frame in `buffer`; 0 if there is none."""
    plain = buffer.rfind(b"\n\n")
    mixed = buffer.rfind(b"\n\r\n")
    if mixed > plain:
        return mixed + 3
    return plain + 2 if plain >= 0 else 0


def frames(buffer: bytes) -> Iterator[bytes]:
    """The frames of `buffer`, which ends after a frame, each with its own line ends: together they are `buffer`."""
    start = 0
    while True:
        plain = buffer.find(b"\n\n", start)
        mixed = buffer.find(b"\n\r\n", start, plain + 1 if plain >= 0 else len(buffer))
        if mixed >= 0:
            end = mixed + 3
        elif plain >= 0:
            end = plain + 2
        else:
            break
        yield buffer[start:end]
        start = end
    if start < len(buffer):  # surplus blank lines
        yield buffer[start:]


def parse(frame: bytes) -> tuple[str, bytes]:
    """Event name ("" if none) and data of one frame; data lines are joined by newlines, comments dropped."""
    if frame.startswith(b"data: ") and frame.find(b"\n") == len(frame) - 2:  # one line, as nearly all are
        return "", frame[6:-2]
    event = ""
    lines: list[bytes] = []
    for line in frame.split(b"\n"):
        name, colon, value = line.rstrip(b"\r").partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            lines.append(value)
        elif name == b"event" and colon:
            event = value.decode("utf-8", "replace")
    return event, b"\n".join(lines)


def event(data: bytes, name: str = "") -> bytes:
    """One frame; `data` is JSON and so without line ends."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data) if name else b"data: %b\n\n" % data

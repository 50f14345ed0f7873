"""What the readers of streams in the app's own dialect share: the target's frames pass through as they are.

Until the first content each frame is parsed. After it a read of many frames costs the same Python as a read of one:
frames are counted, and parsed only from the first one on that matters (usage, an error, the end, not JSON).
"""

from typing import ClassVar

from llmroute.dialects import sse
from llmroute.dialects.failures import Failure, failure_in_answer, read_error
from llmroute.errors import StreamBroken
from llmroute.request import Usage


class FrameReader:
    """An AnswerReader that takes whole frames."""

    __slots__ = ("_blank", "_rest", "_seen", "content_frames", "ended", "failure", "finish", "first_content", "usage")

    def __init__(self) -> None:
        self.first_content = False
        self.usage: Usage | None = None
        self.content_frames = 0
        self.ended = False
        self.failure: Failure | None = None
        self.finish: str | None = None
        self._rest = b""
        self._blank = b"\n\n"
        self._seen = False

    def feed(self, chunk: bytes) -> bytes:
        """See AnswerReader."""
        if self._rest:
            chunk = self._rest + chunk
        if chunk.endswith(self._blank):
            self._rest = b""
            return self.take(chunk)
        end = sse.end_of_frames(chunk)
        self._rest = chunk[end:]
        if len(self._rest) > sse.MAX_FRAME:
            raise StreamBroken(f"the target sent a frame of more than {sse.MAX_FRAME} bytes")
        return self.take(chunk[:end]) if end else b""

    def close(self) -> bytes:
        """See AnswerReader."""
        rest, self._rest = self._rest, b""
        relayed = b""
        if rest.strip() and not self.ended and self.failure is None:
            if not self._seen and rest.lstrip()[:1] in (b"{", b"["):
                self._take_body(rest)
            else:  # closed before the last blank line: whether the frame is whole shows when it is parsed
                relayed = self.take(rest.rstrip(b"\r\n") + b"\n\n")
        if self.failure is None and not self.ended:
            relayed += self.end_without_mark()
            self.end()
        return relayed

    def take(self, chunk: bytes) -> bytes:
        """Whole frames to bytes for the app."""
        return self.parse(chunk)[0]

    def parse(self, chunk: bytes, *, until_content: bool = False) -> tuple[bytes, int]:
        """Whole frames one by one; bytes for the app, and how far `chunk` was taken. Nothing counts behind the end."""
        relayed, at = [], 0
        for frame in sse.frames(chunk):
            if self.ended or self.failure is not None or (until_content and self.first_content):
                break
            at += len(frame)
            event, data = sse.parse(frame)
            if data and not self._seen:
                self._seen = True
                self._blank = b"\r\n\r\n" if frame.endswith(b"\r\n\r\n") else b"\n\n"
            relayed.append(self.take_frame(frame, event, data))
        return b"".join(relayed), at

    def take_frame(self, frame: bytes, event: str, data: bytes) -> bytes:
        """One frame to bytes for the app. Raises StreamBroken if it is malformed."""
        raise NotImplementedError

    def end_without_mark(self) -> bytes:
        """What to add for a target that closes without an end mark. Raises StreamBroken if that is no clean end."""
        raise StreamBroken("the target closed the stream before its end")

    def content(self) -> None:
        """A frame held content."""
        self.first_content = True
        self.content_frames += 1

    def end(self) -> None:
        """The clean end has come: it commits too."""
        self.ended = True
        self.first_content = True

    def _take_body(self, body: bytes) -> None:
        error = read_error(body)
        if error is None:
            raise StreamBroken("the target answered a stream with something else")
        self.failure = failure_in_answer(error)


class StreamReader(FrameReader):
    """Relays frames as they are; a dialect adds how one is read."""

    __slots__ = ("_passed",)

    marks: ClassVar[tuple[bytes, ...]]
    """What the frames that must be parsed contain; a frame that only quotes it is parsed in vain, and no harm done."""

    def __init__(self) -> None:
        super().__init__()
        self._passed = b""
        """The last frames that were relayed unparsed."""

    def take(self, chunk: bytes) -> bytes:
        """See FrameReader."""
        before = b""
        if not self.first_content:
            before, at = self.parse(chunk, until_content=True)
            chunk = chunk[at:]
        if not chunk or self.ended or self.failure is not None:
            return before
        end, count = self._plain(chunk)
        self.content_frames += count
        if end == len(chunk):
            self._passed = chunk
            return before + chunk if before else chunk
        if end:
            self._passed = chunk[:end]
        return b"".join((before, chunk[:end], self.parse(chunk[end:])[0]))

    def _plain(self, chunk: bytes) -> tuple[int, int]:
        """Up to where frames can be relayed unparsed, and how many they are."""
        blank, end = self._blank, len(chunk)
        for mark in self.marks:
            at = chunk.find(mark, 0, end)
            if at >= 0:
                end = at
        # Frames that do not end as JSON objects do are comments, [DONE], or broken.
        closing = b"}" + blank
        if end < len(chunk):
            end = _after(chunk, blank, end)
        elif not chunk.endswith(closing):
            end = _after(chunk, blank, end - len(blank))
        count = chunk.count(blank, 0, end)
        return (end, count) if chunk.count(closing, 0, end) == count else (0, 0)

    def take_frame(self, frame: bytes, event: str, data: bytes) -> bytes:
        """See FrameReader."""
        return frame if not data or self.read_frame(event, data) else b""

    def read_frame(self, event: str, data: bytes) -> bool:
        """Takes one frame's data; False if the frame must not be relayed. Raises StreamBroken if it is malformed."""
        raise NotImplementedError


def _after(chunk: bytes, blank: bytes, end: int) -> int:
    """Where the frame begins that `end` is within."""
    at = chunk.rfind(blank, 0, end)
    return at + len(blank) if at >= 0 else 0

"""Reader of answers that are not streams, in the app's own dialect: the target's very bytes, once they are complete."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmroute.dialects.conversation import FINISH_OF_STOP
from llmroute.dialects.failures import Failure, error_of, failure_in_answer, read_error
from llmroute.dialects.fields import NULL
from llmroute.dialects.usage import OpenaiCounts, anthropic_counts, usage_of
from llmroute.errors import StreamBroken
from llmroute.request import Dialect, Usage

MAX_BODY = 64 * 1024 * 1024
"""Bytes of an answer that is held until it is complete."""


class _Choice(Struct):
    finish_reason: Any = None


class _Body(Struct):
    usage: Raw = NULL
    error: Any = None
    choices: list[_Choice] | None = None
    stop_reason: Any = None


class _Counted(Struct):
    """Nearly every OpenAI body, decoded at once."""

    usage: OpenaiCounts | None = None
    error: Any = None
    choices: list[_Choice] | None = None


_ANTHROPIC = Dialect.ANTHROPIC
_bodies = msgspec.json.Decoder(_Body)
_counted = msgspec.json.Decoder(_Counted)


class BodyReader(Struct, eq=False):
    """An AnswerReader. A Struct, since one call of C makes all of it."""

    _dialect: Dialect
    _body: bytes = b""
    first_content: bool = False
    usage: Usage | None = None
    content_frames: int = 0
    ended: bool = False
    failure: Failure | None = None
    finish: str | None = None

    def __repr__(self) -> str:
        return f"<BodyReader {len(self._body)} bytes>"  # what the app gets is in it

    def feed(self, chunk: bytes) -> bytes:
        """See AnswerReader."""
        self._body = body = self._body + chunk if self._body else chunk
        if len(body) > MAX_BODY:
            raise StreamBroken(f"the target's answer has more than {MAX_BODY} bytes")
        return b""

    def close(self) -> bytes:
        """See AnswerReader."""
        body = self._body
        self._read(body)
        if self.failure is None:
            self.first_content = True
            self.ended = True
        return body

    def _read(self, body: bytes) -> None:
        try:
            if self._dialect is _ANTHROPIC:
                self._take(_bodies.decode(body))
                return
            read = _counted.decode(body)
        except msgspec.ValidationError:
            self._read_other(body)
            return
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StreamBroken(f"the target's answer is not JSON: {error}") from error
        if read.error is not None:
            self.failure = failure_in_answer(error_of(read.error))
            return
        if read.usage is not None:
            self.usage = usage_of(read.usage)
        if read.choices and read.choices[0].finish_reason:
            self.finish = str(read.choices[0].finish_reason)

    def _take(self, read: _Body) -> None:
        if read.error is not None:
            self.failure = failure_in_answer(error_of(read.error))
        elif self._dialect is not _ANTHROPIC:
            if read.choices and read.choices[0].finish_reason:
                self.finish = str(read.choices[0].finish_reason)
        else:
            self.usage = anthropic_counts(read.usage).usage()
            self.finish = FINISH_OF_STOP.get(read.stop_reason) if isinstance(read.stop_reason, str) else None

    def _read_other(self, body: bytes) -> None:
        """JSON that is not an answer's object: Gemini wraps its errors in a list; anything else is no answer. An
        answer may also count its tokens in a way that we do not know."""
        try:
            self._take(_bodies.decode(body))
            return
        except msgspec.ValidationError:
            pass
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # behind what is not valid
            raise StreamBroken(f"the target's answer is not JSON: {error}") from error
        told = read_error(body)
        if told is None:
            raise StreamBroken("the target's answer is not an object")
        self.failure = failure_in_answer(told)

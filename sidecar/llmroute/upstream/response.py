"""What the caller holds: the answer to one request, from the moment the request is written."""

import asyncio
from collections.abc import Awaitable
from time import monotonic
from typing import TYPE_CHECKING, NoReturn

from llmroute.codings import Decoder, decoder_for
from llmroute.errors import AttemptCancelled, AttemptError, StreamBroken
from llmroute.upstream.connection import HIGH, Connection
from llmroute.upstream.origin import Origin

if TYPE_CHECKING:
    from llmroute.upstream.pool import Pool

RACE = 1.0
"""Seconds after writing within which the loss of a reused connection counts as a keep-alive race: the target's
notice is one round trip away. A target that works on a request for longer and then dies must not get it again."""

ENCODED = (b"content-encoding", b"content-length")
"""Headers that are wrong once a body has been decoded."""

HEAD, SOME, ALL = 0, 1, 2
"""What a waiter waits for."""


class Response:
    """The answer to one request. One coroutine reads it; timers and hang-ups call `abort` from outside.

    `reused`: a ready connection carried it. `connect`: seconds of DNS, TCP and TLS, 0.0 on a ready connection.
    `written_at`, `headers_at` (None before the head), `last_byte_at` (0.0 before the first byte): time.monotonic().
    `status` is 0, and `headers` (in their order, names in lower case) empty, until the head has come. What was
    decoded has lost its content-encoding and content-length. `complete`: nothing comes after what has been returned.
    """

    __slots__ = (
        "_connection",
        "_decoder",
        "_dial",
        "_index",
        "_pool",
        "_request",
        "_timeout",
        "_wanted",
        "bodiless",
        "complete",
        "connect",
        "ended",
        "error",
        "headers",
        "headers_at",
        "last_byte_at",
        "reused",
        "stale",
        "status",
        "waiter",
        "written_at",
    )

    def __init__(
        self, pool: "Pool", connection: Connection, request: tuple[bytes, bytes] | None, timeout: float
    ) -> None:
        self._pool = pool
        self._connection: Connection | None = connection
        self._request = request
        self._timeout = timeout
        self.headers: list[tuple[bytes, bytes]] = []
        self._index: dict[bytes, bytes] = {}
        self._decoder: Decoder | None = None
        self._wanted = HEAD
        self._dial: asyncio.Future[Connection] | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.bodiless = False
        self.reused = True
        self.connect = 0.0
        self.written_at = 0.0
        self.headers_at: float | None = None
        self.last_byte_at = 0.0
        self.status = 0
        self.ended = False  # the last byte has come from the wire
        self.complete = False
        self.stale = False  # the reused connection was closed under the request: send it again
        self.error: BaseException | None = None

    @property
    def origin(self) -> Origin:
        """Where the request went."""
        return self._pool.origin

    # --- the caller's side ------------------------------------------------------------------------------

    def header(self, name: bytes) -> bytes | None:
        """The value of one header, the last one if it came more than once; `name` in lower case."""
        if self._decoder is not None and name in ENCODED:
            return None
        return self._index.get(name)

    async def head(self) -> None:
        """Waits for the final head. Raises StreamBroken, ConnectFailed, ConnectTimeout, or what `abort` was given."""
        while not self.status:
            await self.news(HEAD)

    async def body(self, limit: int) -> bytes:
        """The whole answer, one wakeup for a small one. Beyond `limit` bytes what has come; go on with `read` then.

        The limit may be overshot by one read from the socket (256 KiB). Raises as `head`.
        """
        while (body := self.whole(limit)) is None:
            await self.news(ALL)
        return body

    async def read(self) -> bytes:
        """All that has come since the last read, at once; b"" at the clean end. Raises as `head`."""
        while (some := self.some()) is None:
            await self.news(SOME)
        return some

    def whole(self, limit: int) -> bytes | None:
        """`body`, for who cannot afford a coroutine: None as long as `news(ALL)` must be awaited first."""
        connection = self._connection
        if not self.ended and connection is not None:
            if connection.unread > limit:
                connection.unread = sum(map(len, connection.chunks))  # without heads and chunk framing
            if connection.unread <= limit:
                connection.high = limit
                connection.resume()
                return None
        if self.error is not None or connection is None:
            self._raise()
        connection.high = HIGH
        if self._decoder is not None:
            return self._decoded(self._decoder, connection, limit)
        return connection.take()

    def some(self) -> bytes | None:
        """`read`, for who cannot afford a coroutine: None as long as `news(SOME)` must be awaited first."""
        connection = self._connection
        if connection is None:
            self._raise()
        if self._decoder is not None:
            if decoded := self._decoded(self._decoder, connection, HIGH):
                return decoded
        elif connection.chunks:
            return connection.take()
        return b"" if self.ended and self.error is None else None

    def news(self, wanted: int) -> Awaitable[None]:
        """What to await until what is `wanted` may have come. Raises as `head`."""
        if self.stale:
            return self._repeat()
        if self.error is not None or self._connection is None:
            self._raise()
        self._wanted = wanted
        self.waiter = waiter = self._pool.loop.create_future()
        return waiter

    def abort(self, error: AttemptError | None = None) -> None:
        """Closes the connection at once; what waits, or comes to wait, raises `error` (AttemptCancelled if None)."""
        self.fail(error or AttemptCancelled("the attempt was ended"))

    def release(self) -> None:
        """Gives the connection back if the answer was taken to its end, closes it otherwise. Idempotent."""
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        if self.complete and connection.reusable():
            connection.response = None
            self._pool.restore(connection, self._index.get(b"keep-alive"))
        else:
            connection.close()
            connection.stop_sending()
            connection.response = None

    # --- the connection's side --------------------------------------------------------------------------

    def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The final head has come; names of headers are in lower case."""
        self._request = None
        self._index = index = dict(headers)
        coding = index.get(b"transfer-encoding")
        if coding is not None and coding.lower() not in (b"chunked", b"identity"):
            raise StreamBroken(f"{self.origin}: the answer has a transfer-encoding other than chunked")
        if b"content-encoding" in index and not self.bodiless and status not in (204, 304):
            self._decoder = decoder_for(index[b"content-encoding"])
            if self._decoder is not None:
                headers = [header for header in headers if header[0] not in ENCODED]
        self.headers = headers
        self.status = status

    def end(self) -> None:
        """The last byte has come."""
        self.ended = True
        self.complete = self._decoder is None

    def ends_at_close(self) -> bool:
        """Whether the end of the connection is the end of the answer: neither length nor chunks were declared."""
        return b"content-length" not in self._index and self._index.get(b"transfer-encoding", b"").lower() != b"chunked"

    def repeatable(self, now: float) -> bool:
        """Whether a connection lost now was a keep-alive race, safe to run again: reused, and no byte came back."""
        if not self.reused or self.last_byte_at or now - self.written_at > RACE:
            return False
        return self._request is not None

    def satisfied(self) -> bool:
        """Whether what the waiter waits for has come; the end and failures wake it anyway."""
        wanted = self._wanted
        connection = self._connection
        if connection is None or connection.unread > connection.high:
            return True
        return bool(connection.chunks) if wanted == SOME else wanted == HEAD and self.status != 0

    def wake(self) -> None:
        """Lets the waiter look again."""
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():  # it may have been cancelled
                waiter.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Ends the response from outside, whatever it waits for."""
        self.error = error
        if self._connection is not None:
            self._connection.chunks.clear()
            self._connection.close()
            self._connection.stop_sending()
        if self._dial is not None and not self._dial.done():
            self._dial.set_exception(error)
        self.wake()

    # --- inside -----------------------------------------------------------------------------------------

    async def _repeat(self) -> None:
        """Sends the request once more, on a connection dialled for it."""
        if self.error is not None or self._connection is None:
            self._raise()
        assert self._request is not None  # `repeatable` has seen it
        self._connection.response = None
        self._connection = None
        self.stale = False
        self.reused = False
        started = monotonic()
        self._dial = self._pool.loop.create_future()
        try:
            self._connection = connection = await self._pool.dialled(self._dial, self._timeout)
        finally:
            self._dial = None
        self.connect = monotonic() - started
        connection.begin(self, *self._request)

    def _decoded(self, decoder: Decoder, connection: Connection, limit: int) -> bytes:
        """Up to about `limit` decoded bytes; wire bytes are taken only as far as needed."""
        parts: list[bytes] = []
        size = 0
        chunks = connection.chunks
        while size < limit:
            try:
                part = decoder.take(limit - size)
            except ValueError as error:
                raise StreamBroken(f"{self.origin}: the answer has {error}") from error
            if part:
                parts.append(part)
                size += len(part)
            elif chunks:
                decoder.feed(connection.take())
            elif self.ended:
                if not decoder.finished():
                    raise StreamBroken(f"{self.origin}: the answer has damaged compression: its end is missing")
                self.complete = True
                break
            else:
                break
        return b"".join(parts)

    def _raise(self) -> NoReturn:
        raise self.error or RuntimeError("the response has been released")

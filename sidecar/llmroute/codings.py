"""Content codings, for apps that compress and for targets that do although asked not to. Output is bounded by the
caller. Pure."""

import zlib
from typing import Protocol

GZIP_MAGIC = 0x1F


class Decoder(Protocol):
    """Takes wire bytes, gives at most so many decoded ones at a time; the rest waits inside."""

    def feed(self, wire: bytes) -> None:
        """Adds bytes of the wire."""

    def take(self, limit: int) -> bytes:
        """Up to about `limit` decoded bytes; b"" when more wire bytes are needed. Raises ValueError for damage."""

    def finished(self) -> bool:
        """Whether the wire may end here."""


class Zlib:
    """gzip (also of several members) and deflate (with the zlib wrapper, or raw as some servers send it)."""

    __slots__ = ("_begun", "_deflate", "_inflate", "_wire")

    def __init__(self, *, deflate: bool) -> None:
        self._deflate = deflate
        self._wire = b""
        self._begun = False
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS if deflate else 16 + zlib.MAX_WBITS)

    def feed(self, wire: bytes) -> None:
        """Adds bytes of the wire."""
        self._wire += wire
        if not self._begun and self._wire:
            self._begun = True
            if self._deflate and self._wire[0] & 0x0F != zlib.DEFLATED:
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def take(self, limit: int) -> bytes:
        """Up to `limit` decoded bytes. What follows the end and is no further gzip member is padding, and dropped."""
        while self._wire:
            if self._inflate.eof:
                if self._deflate or self._wire[0] != GZIP_MAGIC:
                    self._wire = b""
                    break
                self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                decoded = self._inflate.decompress(self._wire, limit)
            except zlib.error as error:
                raise ValueError(f"damaged compression: {error}") from error
            self._wire = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if decoded:
                return decoded
        return b""

    def finished(self) -> bool:
        """At the end of a member, or before the first byte."""
        return not self._begun or (self._inflate.eof and not self._wire)


class Brotli:
    """br; the library is loaded when it is first met."""

    __slots__ = ("_begun", "_brotli", "_error", "_wire")

    def __init__(self) -> None:
        import brotli

        self._brotli = brotli.Decompressor()
        self._error = brotli.error
        self._wire = b""
        self._begun = False

    def feed(self, wire: bytes) -> None:
        """Adds bytes of the wire."""
        self._wire += wire
        self._begun = self._begun or bool(wire)

    def take(self, limit: int) -> bytes:
        """About `limit` decoded bytes; the library may give a little more."""
        wire = b""
        if self._brotli.can_accept_more_data():
            wire, self._wire = self._wire, b""
        try:
            decoded: bytes = self._brotli.process(wire, output_buffer_limit=limit)
        except self._error as error:
            raise ValueError(f"damaged compression: {error}") from error
        return decoded

    def finished(self) -> bool:
        """At the end of the stream, or before the first byte."""
        return not self._begun or bool(self._brotli.is_finished())


def decoder_for(coding: bytes) -> Decoder | None:
    """The decoder of a Content-Encoding; None leaves the body as it came (identity, and codings we do not speak)."""
    name = coding.strip().lower()
    if name in (b"gzip", b"x-gzip"):
        return Zlib(deflate=False)
    if name == b"deflate":
        return Zlib(deflate=True)
    if name == b"br":
        return Brotli()
    return None

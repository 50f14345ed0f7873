"""The webhook's certificate as mounted files, followed without dropping a connection.

A new pair becomes a new SSLContext, which each handshake picks up by itself; what is connected stays connected. Loading
a pair into the living context instead could leave it with a certificate and another one's key.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

EVERY = 2.0
"""Seconds between looks at the files. Kubelet brings a change after up to a minute or two."""

log = logging.getLogger("llmroute.injector")


class Certificate:
    """The pair `tls.crt`, `tls.key` of a directory: the last one that was valid. Absent at first, handshakes fail."""

    def __init__(self, directory: Path) -> None:
        self._files = (directory / "tls.crt", directory / "tls.key")
        self._seen: tuple[bytes, bytes] | None = None
        self._absent = False
        self._current = _context()
        self.expires: float | None = None
        """Seconds since 1970; None until there is a certificate."""
        self.context = _context()
        """For the server. It has no certificate of its own."""
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called in each handshake, also where the client names no server."""
        connection.context = self._current

    def look(self) -> bool:
        """Read the files; True when another pair is in force since. What is wrong is logged, and changes nothing."""
        try:
            pair = self._read()
        except OSError as error:
            if not self._absent:
                log.warning("cannot read the certificate: %s", error)
            self._absent = True
            return False
        self._absent = False
        if pair == self._seen:
            return False
        context = _context()
        try:
            context.load_cert_chain(*self._files)
            expires = x509.load_pem_x509_certificate(pair[0]).not_valid_after_utc
            if self._read() != pair:  # exchanged while we read it: next time
                return False
        except (OSError, ValueError) as error:
            self._seen = pair
            log.error("the certificate cannot be used, the one before stays: %s", type(error).__name__)
            return False
        self._seen, self._current, self.expires = pair, context, expires.timestamp()
        level = logging.ERROR if expires < datetime.now(UTC) else logging.INFO
        log.log(level, "certificate loaded, valid until %s", expires.isoformat())
        return True

    def _read(self) -> tuple[bytes, bytes]:
        certificate, key = self._files
        return certificate.read_bytes(), key.read_bytes()

    async def follow(self, changed: Callable[[], None], every: float = EVERY) -> None:
        """Look again and again; `changed` is called after each new pair."""
        while True:
            if self.look():
                changed()
            await asyncio.sleep(every)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context

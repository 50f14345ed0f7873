"""Whom we trust: the system's certificate authorities, and a bundle of the user's own."""

import asyncio
import ssl

from llmroute.errors import ConfigError


class Trust:
    """Builds the one TLS client context of the process when it is first needed.

    Reading the system's bundle takes about 25 ms, so it happens in a thread, and not at start. The user's
    bundle is checked at once: raises ConfigError if it cannot be read or holds no certificate.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ca_file: str | None) -> None:
        self._loop = loop
        self._ca_file = ca_file
        self._context: asyncio.Future[ssl.SSLContext] | None = None
        if ca_file is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=ca_file)
            except (OSError, ValueError) as error:
                raise ConfigError(f"not a readable PEM bundle of certificates: {error}", where=ca_file) from error

    async def context(self) -> ssl.SSLContext:
        """The context: certificates and host names are verified, HTTP/1.1 is offered by ALPN."""
        if self._context is None:
            self._context = self._loop.run_in_executor(None, self._build)
            self._context.add_done_callback(self._built)
        return await asyncio.shield(self._context)

    def _built(self, context: "asyncio.Future[ssl.SSLContext]") -> None:
        """A failure, as when the bundle is just being replaced, is told to those who wait, and not kept."""
        if context.cancelled() or context.exception() is not None:
            self._context = None

    def _build(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        context.set_alpn_protocols(["http/1.1"])
        return context


def in_words(error: OSError) -> str:
    """Why TLS failed, for people: certificate errors in OpenSSL's own sentence, the rest by its reason code."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: certificate verify failed: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "handshake failed").replace("_", " ").lower()
        hint = " (does the port speak TLS?)" if reason in ("wrong version number", "record layer failure") else ""
        return f"TLS: {reason}{hint}"
    return "TLS: the connection was closed during the handshake"

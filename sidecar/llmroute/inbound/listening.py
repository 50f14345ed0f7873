"""Addresses: where apps find us."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from llmroute.errors import ConfigError

log = logging.getLogger("llmroute")

BACKLOG = 1024
"""Connections that may wait to be accepted."""

_BESIDE = {"127.0.0.1": "::1", "": "::"}
"""What else is listened on, for IPv6."""


async def listen(server: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> tuple[list[asyncio.Server], int]:
    """Accept connections at `addresses`. Returns the port, chosen if 0 was asked. Raises ConfigError."""
    loop = asyncio.get_running_loop()
    sockets = addresses(host, port)
    return [await loop.create_server(server, sock=sock, backlog=BACKLOG) for sock in sockets], sockets[0].getsockname()[
        1
    ]


def addresses(host: str, port: int) -> list[socket.socket]:
    """Listening sockets; for 127.0.0.1 also one on [::1] where IPv6 exists, without a host all addresses of both
    families.

    Raises ConfigError if the address cannot be had.
    """
    try:
        sockets = [_bound(host or "0.0.0.0", port)]
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    if (beside := _BESIDE.get(host)) is not None:
        port = sockets[0].getsockname()[1]
        try:
            sockets.append(_bound(beside, port))
        except OSError as error:  # without IPv6, 127.0.0.1 is all that is promised
            if error.errno == errno.EADDRINUSE and beside == "::1":
                log.warning(
                    "[::1]:%d belongs to another process: who calls localhost may reach that one; call 127.0.0.1", port
                )
    return sockets


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # connections get it from here
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener

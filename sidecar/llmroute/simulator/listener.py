"""A listening socket that can be really closed for a while, so that connections are refused by the kernel."""

import asyncio
import socket
from collections.abc import Callable

from llmroute.errors import ConfigError

_ATTEMPTS = 50


class Listener:
    """Owns one address. Between `close` and `open` the socket is bound but does not listen: nobody can take the port,
    and whoever connects gets RST.
    """

    def __init__(self, host: str, port: int, factory: Callable[[], asyncio.Protocol]) -> None:
        self._host = host
        self._factory = factory
        self._server: asyncio.Server | None = None
        try:
            self._reserved: socket.socket | None = _bind(host, port)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror}. Is another simulator running?"
            ) from error
        self.port: int = self._reserved.getsockname()[1]

    @property
    def listening(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None

    async def open(self) -> None:
        """Begins to listen. Raises ConfigError if the port is not ours to listen on."""
        if self._server is not None:
            return
        assert self._reserved is not None
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._factory, sock=self._reserved, backlog=1024
            )
        except OSError as error:
            raise ConfigError(f"cannot listen on {self._host}:{self.port}: {error.strerror}") from error
        self._reserved = None

    async def close(self) -> None:
        """Refuses connections from now on; those accepted live on."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for attempt in range(_ATTEMPTS):
            try:
                self._reserved = _bind(self._host, self.port)
                return
            except OSError:  # uvloop closes the old socket a turn of the loop later
                if attempt == _ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.001)

    async def release(self) -> None:
        """Gives the address up."""
        await self.close()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it tokens wait 40 ms for delayed ACKs.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock

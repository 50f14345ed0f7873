"""What a listener promises on either event loop."""

import asyncio
import socket

from llmroute.simulator.listener import Listener


class Noting(asyncio.Protocol):
    """Tells whether its connection sends small writes at once."""

    def __init__(self, told: "asyncio.Future[bool]") -> None:
        self._told = told

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        accepted = transport.get_extra_info("socket")
        self._told.set_result(bool(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
        transport.close()


async def test_tokens_are_sent_at_once_on_asyncios_own_loop_too() -> None:
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    listener = Listener("127.0.0.1", 0, lambda: Noting(told))
    await listener.open()
    _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    assert await told
    writer.close()
    await writer.wait_closed()
    await listener.release()

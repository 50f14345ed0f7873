"""One request as it arrived, and the way back to its app."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from llmroute.inbound.bodies import Body
from llmroute.inbound.heads import Opening

if TYPE_CHECKING:
    from llmroute.inbound.connection import Connection


class Arrival:
    """One request, from the moment when its head has been read."""

    __slots__ = ("begun", "body", "connection", "goes_on", "opening", "stays", "whole")

    def __init__(self, connection: "Connection", opening: Opening, whole: bytes, body: Body | None = None) -> None:
        self.connection = connection
        self.opening = opening
        """Request line and header lines."""
        self.whole = whole
        """The body, if it came with the head."""
        self.body = body
        """The body, if it did not."""
        self.stays = opening.stays
        """The connection may serve another request; to be set before the answer begins."""
        self.begun = 0
        """Status of an answer that comes piece by piece, once it has begun: there can be no other."""
        self.goes_on: Callable[[], bool] | None = None
        """Asked when the app has hung up. True: go on, others wait for the same answer."""

    @property
    def length(self) -> int:
        """Bytes of the body as it is sent; CHUNKED if nobody knows."""
        return len(self.whole) if self.body is None else self.body.length

    @property
    def complete(self) -> bool:
        """Whether nothing of the body is still to come."""
        return self.body is None or self.body.ended

    def write(self, out: bytes) -> bool:
        """Hand bytes to the app's connection. True: it can take no more for now, await `drained`.

        Raises ConnectionError if the app has hung up.
        """
        connection = self.connection
        if connection.lost:
            raise ConnectionResetError("the app has hung up")
        connection.transport.write(out)
        return connection.full

    async def drained(self) -> None:
        """Until the connection can take more. Raises ConnectionError."""
        await self.connection.drained()

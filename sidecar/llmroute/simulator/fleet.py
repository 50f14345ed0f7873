"""All providers of a file, running: the listeners, their timetables, and the commands that reach any of them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from llmroute.errors import ConfigError
from llmroute.simulator.connection import Connection, Request
from llmroute.simulator.control import PREFIX, control
from llmroute.simulator.listener import Listener
from llmroute.simulator.provider import Provider
from llmroute.simulator.records import Records, Stats
from llmroute.simulator.spec import FleetSpec, ProviderSpec, load
from llmroute.simulator.temper import Command, Temper


class Member:
    """One provider of a running fleet, as tests and the demo hold it. The Handler of its connections."""

    def __init__(self, spec: ProviderSpec, fleet: "Fleet") -> None:
        loop = asyncio.get_running_loop()
        self.spec = spec
        self._fleet = fleet
        self._loop = loop
        self._temper = Temper(spec, fleet.started)
        self._provider = Provider(spec, fleet.spec.seed, self._temper, loop)
        self._listener = Listener(spec.host, spec.port, lambda: Connection(self, loop))
        self._gate = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._turning: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """Its name in the fleet."""
        return self.spec.name

    @property
    def port(self) -> int:
        """The port it listens on, also when 0 was declared."""
        return self._listener.port

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:9101`"""
        host = f"[{self.spec.host}]" if ":" in self.spec.host else self.spec.host
        return f"http://{host}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL that the SDK of its dialect takes: with /v1 for OpenAI's, without for Anthropic's."""
        return f"{self.origin}/v1" if self.spec.dialect == "openai" else self.origin

    @property
    def stats(self) -> Stats:
        """Counters of this moment."""
        return self.records.report()

    @property
    def requests(self) -> list[Request]:
        """The last requests as they came, oldest first; credentials included."""
        return self.records.last

    @property
    def records(self) -> Records:
        """What it remembers."""
        self._provider.count_engine()
        return self._provider.records

    async def command(self, command: Command) -> None:
        """Tells it what to do; when this returns, it is so."""
        self._temper.obey(command, self._loop.time())
        await self.turn()

    async def turn(self) -> None:
        """Opens or closes the listener as the timetable says, and comes back when that changes."""
        async with self._gate:
            gate = self._temper.gate(self._loop.time())
            if gate.refused is None and not gate.absent:
                await self._listener.open()
            elif self._listener.listening:
                await self._listener.close()
                for connection in list(self._provider.connections):
                    if gate.refused is not None and gate.refused.kill:
                        connection.reset()
                    else:
                        connection.close_after_answer()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None if gate.changes_at is None else self._loop.call_at(gate.changes_at, self._turn_later)

    async def stop(self) -> None:
        """Closes the listener and hangs up on everyone."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._turning:
            task.cancel()
        await self._listener.release()
        self._provider.stop()
        await self._provider.deserted()

    def opened(self, connection: Connection) -> None:
        """Part of Handler."""
        self._provider.opened(connection)

    def closed(self, connection: Connection) -> None:
        """Part of Handler."""
        self._provider.closed(connection)

    def handle(self, connection: Connection, request: Request) -> Coroutine[Any, Any, None]:
        """Part of Handler."""
        if request.path.startswith(PREFIX):
            return control(connection, request, self.records, self._obey)
        return self._provider.handle(connection, request)

    async def _obey(self, command: Command) -> Records:
        member = self if command.provider is None else self._fleet[command.provider]
        await member.command(command)
        return member.records

    def _turn_later(self) -> None:
        task = self._loop.create_task(self.turn())
        self._turning.add(task)
        task.add_done_callback(self._turning.discard)


class Fleet(Mapping[str, Member]):
    """Providers by name. Made by `Fleet.start`."""

    def __init__(self, spec: FleetSpec) -> None:
        self.spec = spec
        self.started = asyncio.get_running_loop().time()
        """The zero of all windows, on the loop's clock."""
        self._members: dict[str, Member] = {}

    @classmethod
    @asynccontextmanager
    async def start(cls, spec: FleetSpec | str) -> AsyncIterator["Fleet"]:
        """A fleet on the running loop, from its spec or from YAML. Raises ConfigError, also for a port in use."""
        fleet = cls(load(spec) if isinstance(spec, str) else spec)
        try:
            for provider in fleet.spec.providers:
                member = fleet._members[provider.name] = Member(provider, fleet)
                await member.turn()
            yield fleet
        finally:
            for member in fleet.values():
                await member.stop()

    def __getitem__(self, name: str) -> Member:
        try:
            return self._members[name]
        except KeyError:
            known = ", ".join(self._members)
            raise ConfigError(f"no provider is called {name!r}; there are {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

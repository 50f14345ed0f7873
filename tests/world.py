"""A small world: simulated providers and one sidecar before them, all in this process, on real sockets.

    async with world(provider("east", faults=[Status(status=500)]), provider("west")) as here:
        answer = await here.chat("hello")
        assert answer.attempts == "east:server-error, west:ok"

The providers are believed to be the faster the earlier they stand (each prior is ten times the one before), so that
tests know who is asked first. What a world leaves behind is checked: nothing in flight, nobody waiting.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import yaml
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from tests.app import CHAT, MESSAGES, Answer, App, connected

from llmroute.runtime import LiveRoute
from llmroute.server import Sidecar, sidecar
from llmroute.settings import Settings
from llmroute.simulator import Command, Fleet, FleetSpec, Member
from llmroute.simulator.spec import Fault, ProviderSpec
from llmroute.target import LiveTarget

MODEL = "chat"
"""What apps ask for, and the route's name."""
KEYS = {"ANTHROPIC_API_KEY": "key-of-anthropic", "OPENAI_API_KEY": "key-of-openai", "OWN_KEY": "key-of-own"}
"""What the Secret `llmroute-credentials` holds."""
SHORT_WAITS = {"connect": "500ms", "firstToken": "2s", "betweenTokens": "2s", "total": "2s"}
"""Long enough for a busy machine, short enough for a test that fails."""


class Provider(Struct, frozen=True):
    """A provider with the target that stands for it. `url` is only given for one that is not simulated."""

    name: str
    target: Mapping[str, Any]
    simulated: ProviderSpec | None = None
    url: str = ""


def provider(
    name: str, *, target: Mapping[str, Any] | None = None, faults: Iterable[Fault] = (), **members: Any
) -> Provider:
    """A simulated provider; `members` are those of the simulator's ProviderSpec, `target` those of the route's."""
    return Provider(name, target or {}, ProviderSpec(name=name, faults=tuple(faults), **members))


def elsewhere(name: str, url: str, **target: Any) -> Provider:
    """A provider that somebody else runs."""
    return Provider(name, target, url=url)


def own_key(name: str = "OWN_KEY") -> dict[str, Any]:
    """The member `credential` of a target."""
    return {"credential": {"secretRef": {"name": "llmroute-credentials", "key": name}}}


class Metrics:
    """What /metrics said at one moment."""

    def __init__(self, text: str) -> None:
        self.text = text

    def sum(self, name: str, **labels: str) -> float:
        """Sum over all series of a name whose labels match."""
        return sum(sample.value for sample in self._samples(name, labels))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Values of a name by one label, zeros left out."""
        values: dict[str, float] = {}
        for sample in self._samples(name, labels):
            if sample.value:
                values[sample.labels[label]] = values.get(sample.labels[label], 0.0) + sample.value
        return values

    def _samples(self, name: str, labels: Mapping[str, str]) -> list[Sample]:
        lines = [line for line in self.text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        families = text_string_to_metric_families("\n".join(lines) + "\n")
        samples = [sample for family in families for sample in family.samples]
        return [sample for sample in samples if labels.items() <= sample.labels.items()]


class World:
    """Made by `world`."""

    def __init__(self, fleet: Fleet, running: Sidecar, file: Path, resources: list[dict[str, Any]]) -> None:
        self.fleet = fleet
        self.sidecar = running
        self.file = file
        self.resources = resources
        """What the route's file declares; `declare` writes it anew."""

    @property
    def url(self) -> str:
        """Where apps call: what ANTHROPIC_BASE_URL is set to; OPENAI_BASE_URL has /v1 behind it."""
        return f"http://127.0.0.1:{self.sidecar.app_port}"

    @property
    def spec(self) -> dict[str, Any]:
        """The spec of the (first) route as it stands in the file; change it, then `declare()`."""
        spec: dict[str, Any] = self.resources[0]["spec"]
        return spec

    @property
    def route(self) -> LiveRoute:
        """The (first) route that serves now."""
        return self.sidecar.cell.runtime.routes[0]

    def target(self, name: str) -> LiveTarget:
        """A target of the route that serves now."""
        return self.route.targets[name]

    def app(self) -> AbstractAsyncContextManager[App]:
        """A connection of an app: `async with here.app() as app`."""
        return connected(self.sidecar.app_port)

    async def ask(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None, *, method: str | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        async with connected(self.sidecar.app_port) as app:
            app.ask(path, body, headers, method=method)
            return await app.answer(bodiless=method == "HEAD")

    async def chat(self, text: str = "hello", headers: Mapping[str, str] | None = None, **members: Any) -> Answer:
        """A request in OpenAI's dialect."""
        return await self.ask(CHAT, chat(text, **members), headers)

    async def message(self, text: str = "hello", headers: Mapping[str, str] | None = None, **members: Any) -> Answer:
        """A request in Anthropic's dialect."""
        return await self.ask(MESSAGES, message(text, **members), headers)

    async def told(self, name: str, *faults: Fault, **command: Any) -> None:
        """Tells a provider how to behave from now on; without faults: well."""
        await self.fleet[name].command(Command(faults=faults, **command))

    def requests(self, name: str) -> int:
        """Requests that a provider has got."""
        return self.fleet[name].stats.requests

    async def status(self) -> dict[str, Any]:
        """/status."""
        async with connected(self.sidecar.admin_port) as app:
            app.ask("/status")
            status: dict[str, Any] = (await app.answer()).json
            return status

    async def target_status(self, name: str) -> dict[str, Any]:
        """What /status says of one target."""
        (found,) = [
            each for route in (await self.status())["routes"] for each in route["targets"] if each["name"] == name
        ]
        return dict(found)

    async def metrics(self) -> Metrics:
        """/metrics."""
        async with connected(self.sidecar.admin_port) as app:
            app.ask("/metrics")
            return Metrics((await app.answer()).body.decode())

    def declare(self) -> None:
        """Writes the file anew; the sidecar sees it by itself."""
        write(self.file, self.resources)

    async def reloaded(self) -> None:
        """Waits until another configuration than now is in force."""
        before = self.sidecar.cell.runtime
        async with asyncio.timeout(5.0):
            while self.sidecar.cell.runtime is before:  # noqa: ASYNC110 - the sidecar tells nobody
                await asyncio.sleep(0.005)

    async def arrived(self, name: str, requests: int = 1) -> None:
        """Waits until a provider has got so many requests."""
        async with asyncio.timeout(5.0):
            while self.requests(name) < requests:  # noqa: ASYNC110 - the provider tells nobody
                await asyncio.sleep(0.001)

    async def queued(self, name: str, requests: int) -> None:
        """Waits until so many requests wait for a slot of a target, or of any other."""
        slots = self.target(name).slots
        async with asyncio.timeout(5.0):
            while sum(slots in place.wants for place in slots.line.places) != requests:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)

    async def left(self, name: str, clients: int = 1) -> None:
        """Waits until a provider has seen so many clients hang up on an answer."""
        async with asyncio.timeout(5.0):
            while self.fleet[name].stats.cancelled < clients:  # noqa: ASYNC110 - the provider tells nobody
                await asyncio.sleep(0.001)

    async def settled(self) -> None:
        """Waits until no attempt is in flight and nobody waits for another's answer."""
        async with asyncio.timeout(5.0):
            while any(self._under_way()):  # noqa: ASYNC110 - nothing tells when all is quiet
                await asyncio.sleep(0.001)

    def _under_way(self) -> Iterable[int]:
        for route in self.sidecar.cell.runtime.routes:
            yield len(route.flights)
            for target in route.targets.values():
                yield target.slots.in_flight


def write(file: Path, resources: list[dict[str, Any]]) -> None:
    """Resources as people write them: YAML documents."""
    file.write_text(yaml.dump_all(resources, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False))


def chat(text: str = "hello", **members: Any) -> dict[str, Any]:
    """The body of a request in OpenAI's dialect."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **members}


def message(text: str = "hello", **members: Any) -> dict[str, Any]:
    """The body of a request in Anthropic's dialect."""
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": text}], **members}


SURFACES: dict[str, dict[str, Any]] = {
    CHAT: chat(),
    "/v1/completions": {"model": MODEL, "prompt": "hello"},
    "/v1/embeddings": {"model": MODEL, "input": "hello"},
    "/v1/responses": {"model": MODEL, "input": "hello"},
    MESSAGES: message(),
}
"""A request of each API, by path."""


@asynccontextmanager
async def world(
    *providers: Provider, settings: Mapping[str, Any] | None = None, keys: Mapping[str, str] = KEYS, **spec: Any
) -> AsyncIterator[World]:
    """Everything running; `spec` holds further members of the route's spec, as YAML spells them."""
    simulated = tuple(each.simulated for each in providers if each.simulated is not None)
    fleet_spec = FleetSpec(seed=1, providers=simulated or (ProviderSpec(name="nobody"),))
    with tempfile.TemporaryDirectory() as directory:
        async with Fleet.start(fleet_spec) as fleet:
            file = Path(directory, "route.yaml")
            resources = [_route(providers, fleet, spec), *([_secret(keys)] if keys else ())]
            write(file, resources)
            chosen = Settings(**{"listen_port": 0, "admin_port": 0, "drain_timeout": 2.0} | dict(settings or {}))
            async with sidecar(chosen, [file], Random(1)) as running:
                here = World(fleet, running, file, resources)
                yield here
                await here.settled()


def _route(providers: tuple[Provider, ...], fleet: Fleet, spec: Mapping[str, Any]) -> dict[str, Any]:
    targets = [_target(each, fleet, 10 ** (index + 1)) for index, each in enumerate(providers)]
    return {
        "apiVersion": "llmroute.dev/v1alpha1",
        "kind": "LLMRoute",
        "metadata": {"name": MODEL},
        "spec": {"targets": targets, **spec},
    }


def _target(each: Provider, fleet: Fleet, milliseconds: int) -> dict[str, Any]:
    member: Member | None = fleet[each.name] if each.simulated is not None else None
    kind = "anthropic" if each.simulated is not None and each.simulated.dialect == "anthropic" else "openai-compatible"
    return {
        "name": each.name,
        "provider": kind,
        "model": f"model-of-{each.name}",
        "url": each.url or (member.url if member is not None else ""),
        "prior": {"ttft": f"{milliseconds / 1000:g}s", "tokensPerSecond": 1_000_000 / milliseconds},
        **each.target,
    }


def _secret(keys: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "llmroute-credentials"},
        "stringData": dict(keys),
    }

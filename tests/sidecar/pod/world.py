"""A sidecar in a pod: a directory as kubelet mounts it, simulated providers, an app.

`async with pod(provider("east")) as here`: the mounts are real files behind real symlinks; `here.render()` is what the
operator and kubelet do together.
"""

import asyncio
import copy
import gzip
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests.app import CHAT, Answer, connected
from tests.world import Provider, chat

from llmroute.server import Sidecar, sidecar
from llmroute.settings import Pod, Settings
from llmroute.simulator import Fleet, FleetSpec
from llmroute.simulator.spec import ProviderSpec

LABELS = {"app": "shop", "llmroute.dev/sidecar": "true"}
NAMESPACE = "shop"


class Volume:
    """A directory that kubelet writes: files are links through `..data` to a directory that is exchanged as a whole."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._count = 0
        directory.mkdir(parents=True)
        self._files: dict[str, bytes] = {}

    def write(self, **files: bytes | str | None) -> None:
        """Changes files, all at once; None takes one away. `__` stands for a dot in names."""
        for name, content in files.items():
            real = name.replace("__", ".")
            if content is None:
                self._files.pop(real, None)
            else:
                self._files[real] = content.encode() if isinstance(content, str) else content
        self._count += 1
        fresh = self.directory / f"..2026_11_21_{self._count}"
        fresh.mkdir()
        for name, stored in self._files.items():
            (fresh / name).write_bytes(stored)
        link = self.directory / "..data_tmp"
        link.symlink_to(fresh.name)
        link.rename(self.directory / "..data")
        for name in self._files:
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(f"..data/{name}")
        for entry in self.directory.iterdir():
            if not entry.name.startswith("..") and entry.name not in self._files:
                entry.unlink()
            elif entry.is_dir() and not entry.is_symlink() and entry.name != fresh.name:
                for old in entry.iterdir():
                    old.unlink()
                entry.rmdir()


def quoted(pairs: Mapping[str, str]) -> str:
    """A file of the downward API; JSON's quoting and Go's agree on what is used here."""
    return "\n".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in sorted(pairs.items()))


class InPod:
    """Made by `pod`."""

    def __init__(self, fleet: Fleet, directory: Path, routes: list[dict[str, Any]]) -> None:
        self.fleet = fleet
        self.directory = directory
        self.routes = routes
        """What the operator would render; change it, then `render()`."""
        self.config = Volume(directory / "config")
        self.sidecar: Sidecar
        self.labels = dict(LABELS)
        self.annotations: dict[str, str] = {}

    @property
    def spec(self) -> dict[str, Any]:
        """Of the (first) route."""
        spec: dict[str, Any] = self.routes[0]["spec"]
        return spec

    @property
    def state(self) -> Path:
        return self.directory / "state" / "routes.json"

    def render(self, revision: str = "000000000001", *, zipped: bool = False, **more: Any) -> None:
        """The operator writes the ConfigMap, kubelet the mount."""
        text = json.dumps({"format": 1, "revision": revision, "routes": self.routes} | more).encode()
        self.config.write(routes__json=gzip.compress(text) if zipped else text)

    def describe(self) -> None:
        """Kubelet writes the pod's labels and annotations."""
        self.config.write(labels=quoted(self.labels), annotations=quoted(self.annotations))

    def secret(self, name: str, **keys: str) -> Volume:
        """A Secret's volume, mounted; without keys the Secret is not there."""
        volume = Volume(self.directory / "secrets" / name)
        volume.write(**keys)
        return volume

    async def chat(self, model: str = "chat", headers: Mapping[str, str] | None = None) -> Answer:
        return await self.ask(CHAT, chat(model=model), headers)

    async def ask(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        async with connected(self.sidecar.app_port) as app:
            app.ask(path, body, headers)
            return await app.answer()

    async def admin(
        self, path: str = "/status", headers: Mapping[str, str] | None = None, host: str = "127.0.0.1"
    ) -> Answer:
        async with connected(self.sidecar.admin_port, host) as caller:
            caller.ask(path, headers=headers)
            return await caller.answer()

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = (await self.admin()).json
        return status

    async def runs(self, revision: str) -> dict[str, Any]:
        """Waits until /status tells the revision."""
        async with asyncio.timeout(5.0):
            while (status := await self.status())["revision"] != revision:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        return status

    async def refuses(self) -> dict[str, Any]:
        """Waits until something was refused, and tells what."""
        async with asyncio.timeout(5.0):
            while (refused := (await self.status())["rejected"]) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return dict(refused)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Sidecar]:
        """A container of the sidecar."""
        settings = Settings(
            listen_port=0,
            admin_port=0,
            admin_host="",
            drain_timeout=2.0,
            pod=Pod(directory=str(self.directory), name="shop-1", namespace=NAMESPACE),
        )
        async with sidecar(settings, (), Random(1)) as self.sidecar:
            yield self.sidecar


@asynccontextmanager
async def mounted(*providers: Provider, **spec: Any) -> AsyncIterator[InPod]:
    """A pod whose sidecar has not started: no ConfigMap, no Secrets, an empty state; one route to render."""
    simulated = tuple(each.simulated for each in providers if each.simulated is not None)
    fleet_spec = FleetSpec(seed=1, providers=simulated or (ProviderSpec(name="nobody"),))
    with tempfile.TemporaryDirectory() as directory:
        async with Fleet.start(fleet_spec) as fleet:
            targets = [
                {
                    "name": each.name,
                    "provider": "openai-compatible",
                    "model": "m",
                    "url": each.url or fleet[each.name].url,
                    **each.target,
                }
                for each in providers
            ]
            here = InPod(fleet, Path(directory), [route("chat", targets, **spec)])
            (here.directory / "state").mkdir()
            here.describe()
            yield here


@asynccontextmanager
async def pod(*providers: Provider, **spec: Any) -> AsyncIterator[InPod]:
    """A pod that runs, with the route rendered."""
    async with mounted(*providers, **spec) as here:
        here.render()
        async with here.started():
            yield here


def route(name: str, targets: list[dict[str, Any]], *, generation: int = 1, **spec: Any) -> dict[str, Any]:
    """As the operator renders it."""
    return {
        "apiVersion": "llmroute.dev/v1alpha1",
        "kind": "LLMRoute",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}", "generation": generation},
        "spec": {"targets": copy.deepcopy(targets), **spec},
    }

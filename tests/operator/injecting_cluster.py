"""A real API server that calls the command `llmroute-injector` by the webhooks of the chart."""

import base64
import contextlib
import io
import itertools
import os
import re
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import trustme
import yaml
from tests.operator.apiserver import BUILD, ApiServer, CannotBeHad, running, until
from tests.operator.injector_server import issue

CHART = Path(__file__).parents[2] / "charts/llmroute"
PODS = "/api/v1/namespaces/{}/pods"
_numbers = itertools.count(1)


class Created(msgspec.Struct):
    """What the API server answered to one who creates something."""

    status: int
    object: dict[str, Any]
    warnings: list[str]


class InjectingCluster:
    """The API server, and the injector beside it as a process."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server = server
        self.authority = trustme.CA()
        (folder / "tls").mkdir()
        issue(self.authority, folder / "tls")
        environment = {
            "LLMROUTE_SIDECAR_IMAGE": "llmroute/sidecar:1",
            "LLMROUTE_CERTIFICATE_DIR": str(folder / "tls"),
            "LLMROUTE_LISTEN": "127.0.0.1:0",
            "LLMROUTE_ADMIN": "127.0.0.1:0",
            "LLMROUTE_LOG_LEVEL": "debug",
            "LLMROUTE_OWN_NAMESPACE": "llmroute-system",
        }
        self._log = folder / "injector.log"
        command = [Path(sys.executable).with_name("llmroute-injector")]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log)
        until(lambda: b"reviews on port" in self._log.read_bytes(), 60.0)
        ports = re.search(rb"reviews on port (\d+), probes and metrics on port (\d+)", self._log.read_bytes())
        assert ports
        self.port, self._admin_port = map(int, ports.groups())

    def reviews(self) -> Counter[str]:
        """What became of the pods that the injector was asked about so far: how many of each outcome."""
        page = subprocess.run(
            ["curl", "-sf", f"http://127.0.0.1:{self._admin_port}/metrics"], capture_output=True, text=True, check=True
        )
        found = re.findall(r'^llmroute_injector_reviews_total{outcome="(\w+)"} (\d+)', page.stdout, re.MULTILINE)
        return Counter({outcome: int(count) for outcome, count in found if int(count)})

    def stop(self) -> None:
        """The injector ends as it does in a pod."""
        self.process.terminate()
        if self.process.poll() is None:
            until(lambda: b"draining" in self._log.read_bytes(), 20.0)
            self.process.terminate()
        self.process.wait()

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator["Client"]:
        """With every right."""
        context = ssl.create_default_context(cafile=str(self.server.folder / "ca.crt"))
        context.load_cert_chain(self.server.folder / "admin.crt", self.server.folder / "admin.key")
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(f"https://127.0.0.1:{self.server.port}", connector=connector) as session:
            yield Client(session)


class Client:
    """Creates objects as kubectl does."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def create(self, path: str, manifest: dict[str, Any], *, dry: bool = False) -> Created:
        """Creates one and gives back what was stored."""
        query = {"dryRun": "All"} if dry else {}
        data = aiohttp.BytesIOPayload(io.BytesIO(msgspec.json.encode(manifest)), content_type="application/json")
        async with self._session.post(path, params=query, data=data) as answer:
            warnings = [header.split('"', 1)[1].rstrip('"') for header in answer.headers.getall("Warning", [])]
            return Created(answer.status, await answer.json(), warnings)

    async def pods(self, namespace: str) -> list[dict[str, Any]]:
        """All of a namespace."""
        async with self._session.get(PODS.format(namespace)) as answer:
            items: list[dict[str, Any]] = (await answer.json())["items"]
            return items

    async def merge(self, path: str, change: dict[str, Any]) -> None:
        """Change some fields of an object."""
        headers = {"content-type": "application/merge-patch+json"}
        async with self._session.patch(path, data=msgspec.json.encode(change), headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def delete(self, path: str) -> None:
        """One object."""
        async with self._session.delete(path) as answer:
            await answer.read()

    async def namespace(self, **labels: str) -> str:
        """A new one with its default account."""
        name = f"team-{next(_numbers)}"
        created = await self.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        assert created.status == 201, created.object
        await self.account(name)
        return name

    async def account(self, namespace: str) -> None:
        """The one that a controller would make."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        assert (await self.create(path, {"metadata": {"name": "default"}})).status in (201, 409)

    async def pod(self, namespace: str, pod: dict[str, Any], *, dry: bool = False) -> Created:
        """A new pod, whatever namespace and name it had."""
        metadata = {**pod["metadata"], "name": f"pod-{next(_numbers)}", "namespace": namespace}
        return await self.create(PODS.format(namespace), {**pod, "metadata": metadata}, dry=dry)


CONTROLLERS = ("deployment", "replicaset", "statefulset", "job", "cronjob", "serviceaccount")


@contextlib.contextmanager
def controllers(cluster: InjectingCluster) -> Iterator[None]:
    """Those that make pods of workloads."""
    folder = cluster.server.folder
    command = [
        str(folder / "programs/kube-controller-manager"),
        f"--kubeconfig={cluster.server.admin}",
        f"--controllers={','.join(f'{name}-controller' for name in CONTROLLERS)}",
        "--leader-elect=false",
        "--secure-port=0",
    ]
    with (folder / "controllers.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def webhooks(cluster: InjectingCluster, helm: Path) -> dict[str, Any]:
    """The chart's, but that they are reached at an address of this machine."""
    command = [str(helm), "template", "llmroute", str(CHART), "--namespace", "llmroute-system"]
    command += ["--kube-version", "1.34", "--show-only", "templates/webhook.yaml"]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True)
    configuration: dict[str, Any] = yaml.safe_load(rendered.stdout)
    bundle = base64.b64encode(cluster.authority.cert_pem.bytes()).decode()
    for webhook in configuration["webhooks"]:
        path = webhook["clientConfig"].pop("service")["path"]
        webhook["clientConfig"] = {"url": f"https://127.0.0.1:{cluster.port}{path}", "caBundle": bundle}
    return configuration


@contextlib.contextmanager
def injecting(folder: Path) -> Iterator[InjectingCluster]:
    """Both run until the block ends. Raises CannotBeHad."""
    programs = ("helm", "kube-controller-manager")
    built = subprocess.run([BUILD, folder / "programs", *programs], capture_output=True, text=True)
    if built.returncode:
        raise CannotBeHad(built.stderr.strip())
    with running(folder, accounts=True) as server:
        cluster = InjectingCluster(server, folder)
        try:
            yield cluster
        finally:
            cluster.stop()

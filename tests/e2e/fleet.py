"""Hundreds of routes and a thousand pods, of which nothing runs: kwok plays nodes and pods, one server all sidecars.

A pod of kwok has an address that nobody listens on. Here all these addresses lead to this process, which answers for
each pod as its sidecar would: it runs what the ConfigMap said when the pod was nudged.
"""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.e2e.cluster import Cluster, CommandFailed, Manifest

ADDRESSES = "10.245.0.0/16"
"""Of kwok's pods."""
NODES, NAMESPACES, ROUTES, PODS = 10, 50, 10, 20
"""Routes and pods in each namespace."""
PART = "scale"
LABELS = {"part": PART}
LATENCY = {"ttft": {"count": 100, "mean": 0.3, "p50": 0.25, "p95": 0.6, "p99": 0.9}}


def names() -> list[str]:
    """The namespaces."""
    return [f"{PART}-{number:02}" for number in range(NAMESPACES)]


def create(cluster: Cluster, *manifests: Manifest) -> None:
    """Create or change many objects with one command. Raises CommandFailed."""
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    command = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    cluster.kubectl(*command, stdin=body, seconds=300)


def node(number: int) -> Manifest:
    """A node that kwok plays. Nobody else's pods go there."""
    room = {"cpu": "64", "memory": "256Gi", "pods": "250"}
    metadata = {
        "name": f"{PART}-{number}",
        "labels": {**LABELS, "topology.kubernetes.io/region": f"region-{number % 3}"},
        "annotations": {"kwok.x-k8s.io/node": "fake"},
    }
    taint = {"key": PART, "value": "fake", "effect": "NoSchedule"}
    status = {"allocatable": room, "capacity": room}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": [taint]}, "status": status}


def namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": LABELS}}


def workload(name: str) -> Manifest:
    """A Deployment whose pods look as if the injector had seen them."""
    labels = {"app": "shop", "llmroute.dev/sidecar": "true"}
    pod = {
        "containers": [{"name": "main", "image": "shop"}],
        "nodeSelector": LABELS,
        "tolerations": [{"key": PART, "operator": "Exists"}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": PODS, "selector": {"matchLabels": {"app": "shop"}}, "template": template}
    metadata = {"name": "shop", "namespace": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def route(name: str, number: int, model: str = "gpt-5") -> Manifest:
    """A route with three targets."""
    targets = [
        {"name": place, "provider": "openai", "model": model, "url": f"https://{place}.example.com/v1"}
        for place in ("east", "west", "south")
    ]
    return {
        "apiVersion": "llmroute.dev/v1alpha1",
        "kind": "LLMRoute",
        "metadata": {"name": f"route-{number}", "namespace": name},
        "spec": {"models": [f"model-{number}"], "targets": targets},
    }


@contextmanager
def fleet(cluster: Cluster) -> Iterator["Sidecars"]:
    """Nodes, namespaces and pods, with sidecars that answer. All gone in the end."""
    remove(cluster)
    try:
        create(cluster, *(node(number) for number in range(NODES)))
        create(cluster, *map(namespace, names()))
        with Sidecars(cluster) as sidecars:
            create(cluster, *map(workload, names()))
            yield sidecars
    finally:
        with suppress(CommandFailed):  # the test's own failure says more
            remove(cluster)


def remove(cluster: Cluster) -> None:
    """All of it, also what an earlier run left. Raises CommandFailed."""
    selected = ("-l", f"part={PART}", "--ignore-not-found")
    cluster.kubectl("delete", "namespaces", *selected, "--timeout=300s", seconds=330)
    cluster.kubectl("delete", "nodes", *selected)


class Sidecars:
    """Plays the sidecars of all pods, within `with`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._open = ExitStack()
        self._over = threading.Event()
        self._files: dict[str, Any] = {}
        """What ConfigMaps have said, by revision."""
        self._mounted: dict[str, str] = {}
        """Namespace → the revision that a pod starts with."""
        self._running: dict[str, str] = {}
        """Address → revision."""

    def __enter__(self) -> "Sidecars":
        self._open.callback(self._over.set)
        config = ("configmaps", "--field-selector=metadata.name=llmroute-config")
        self._follow(config, r"{.metadata.namespace}|{.data.routes\.json}", self._written)
        pods = ("pods", "-l", "llmroute.dev/sidecar=true")
        told = r"{.metadata.namespace}|{.status.podIP}|{.metadata.annotations.llmroute\.dev/revision}"
        self._follow(pods, told, self._nudged)
        server = Server(("0.0.0.0", 4001), Answer)
        server.sidecars = self
        threading.Thread(target=server.serve_forever, name="sidecars").start()
        self._open.callback(server.server_close)
        self._open.callback(server.shutdown)
        ip("route", "add", "local", ADDRESSES, "dev", "lo")
        self._open.callback(ip, "route", "del", ADDRESSES, "table", "local")
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Whatever is sent to a sidecar vanishes."""
        ip("route", "add", "blackhole", ADDRESSES)
        ip("route", "del", ADDRESSES, "table", "local")
        try:
            yield
        finally:
            ip("route", "add", "local", ADDRESSES, "dev", "lo")
            ip("route", "del", "blackhole", ADDRESSES)

    def _follow(self, what: tuple[str, ...], told: str, heard: Any) -> None:
        """Calls `heard` with the words of each line that watches tell. When one ends, the next one begins."""
        output = ("-o", f"jsonpath={told}{{'\\n'}}", "--request-timeout=20s")

        def listen() -> None:
            while not self._over.wait(0.1):
                with self._cluster.following("get", *what, "-A", "--watch", *output) as lines:
                    for line in lines:
                        if self._over.is_set():
                            return
                        words = line.rstrip("\n").split("|", told.count("|"))
                        if words[0]:  # an empty list is told, too
                            heard(*words)

        threading.Thread(target=listen, name=what[0], daemon=True).start()

    def _written(self, namespace: str, text: str) -> None:
        file = json.loads(text)
        self._files[file["revision"]] = file
        self._mounted[namespace] = file["revision"]

    def _nudged(self, namespace: str, address: str, told: str) -> None:
        revision = told.partition(".")[0] or self._running.get(address) or self._mounted.get(namespace, "")
        if address:
            self._running[address] = revision

    def status(self, address: str) -> Any:
        """What the sidecar at an address says."""
        file = self._files.get(self._running.get(address, ""), {"revision": "", "routes": []})
        return {"revision": file["revision"], "draining": False, "routes": [_runs(one) for one in file["routes"]]}


def _runs(entry: Any) -> Any:
    metadata = entry["metadata"]
    seen = {"state": "healthy", "reason": "", "credential": "available", "attempts": 100, "latency": LATENCY}
    targets = [{"name": target["name"], **seen} for target in entry["spec"]["targets"]]
    return {**{key: metadata[key] for key in ("name", "uid", "generation")}, "targets": targets}


class Server(ThreadingHTTPServer):
    """All sidecars' admin port."""

    request_queue_size = 512
    daemon_threads = True
    sidecars: Sidecars


class Answer(BaseHTTPRequestHandler):
    """One answer."""

    server: Server

    def do_GET(self) -> None:
        """/status, whatever is asked."""
        body = json.dumps(self.server.sidecars.status(self.connection.getsockname()[0])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A thousand sidecars are asked too often to tell."""


def ip(*arguments: str) -> None:
    """Changes the routes of the network that the cluster, and this process, lives in."""
    subprocess.run(["ip", *arguments], check=True)

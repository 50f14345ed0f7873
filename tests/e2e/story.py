"""A story's own namespace: simulated providers, routes, and apps that use OpenAI's SDK."""

import json
from collections.abc import Mapping
from typing import Any

from tests.e2e.cluster import Cluster, Manifest

IMAGES = {name: f"llmroute/{name}:e2e" for name in ("sidecar", "operator", "e2e-app")}
WARDEN = "warden"
"""A provider that nobody routes to: it hears commands for the others, also for those that are dead."""
RESTRICTED = {
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
CALL = """
import sys, urllib.error, urllib.request
method, url = sys.argv[1:]
body = sys.stdin.buffer.read() if method == "POST" else None
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=60)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status)
sys.stdout.write(answer.read().decode())
"""


class Story:
    """A namespace of the cluster, and what happens in it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def kubectl(self, *arguments: str, stdin: str = "", seconds: float = 60) -> str:
        """kubectl in this namespace. Raises CommandFailed."""
        return self.cluster.kubectl("-n", self.name, *arguments, stdin=stdin, seconds=seconds)

    def get(self, *arguments: str) -> Any:
        """`kubectl get` in this namespace, as JSON. Raises CommandFailed."""
        return self.cluster.get("-n", self.name, *arguments)

    def apply(self, *manifests: Manifest | str) -> str:
        """`kubectl apply` into this namespace. Raises CommandFailed."""
        return self.cluster.apply(*manifests, namespace=self.name)

    def secret(self, name: str = "llmroute-credentials", **keys: str) -> None:
        """A Secret with these keys."""
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys})

    def route(self, name: str, spec: Manifest) -> None:
        """An LLMRoute. Raises CommandFailed if the API server refuses it."""
        self.apply(
            {"apiVersion": "llmroute.dev/v1alpha1", "kind": "LLMRoute", "metadata": {"name": name}, "spec": spec}
        )

    def providers(self, **specs: Mapping[str, Any]) -> None:
        """Simulated providers as the simulator's file describes them: each a Service, `http://<name>/v1`."""
        fleet = {"seed": 7, "providers": []}
        services: list[Manifest] = []
        for port, (name, spec) in enumerate({WARDEN: {}, **specs}.items(), start=9100):
            fleet["providers"].append({"name": name, "host": "0.0.0.0", "port": port, **spec})  # type: ignore[attr-defined]
            services.append(service(name, "providers", port))
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "providers"}}
        self.apply({**config, "data": {"providers.yaml": json.dumps(fleet)}}, *services)
        container = {
            "image": IMAGES["sidecar"],
            "args": ["simulate", "/etc/providers/providers.yaml"],
            "volumeMounts": [{"name": "providers", "mountPath": "/etc/providers"}],
            "readinessProbe": {"tcpSocket": {"port": 9100}, "periodSeconds": 1},
        }
        volume = {"name": "providers", "configMap": {"name": "providers"}}
        self.deploy("providers", container, labels={"llmroute.dev/inject": "false"}, volumes=[volume])

    def command(self, provider: str, **words: Any) -> None:
        """Tells a simulated provider what to do: `latency=6`, `faults=[...]`, `clear=True`."""
        body = json.dumps({"provider": provider, **words})
        status, said = self.call("providers", "POST", f"http://{WARDEN}/simulator/control", body)
        assert status == 200, said

    def stats(self, provider: str) -> Any:
        """What a simulated provider has counted."""
        return json.loads(self.call("providers", "GET", f"http://{provider}/simulator/stats")[1])

    def app(self, name: str, *, replicas: int = 1, labels: Mapping[str, str] | None = None, **settings: str) -> None:
        """An app that uses OpenAI's SDK, ready; `settings` are its environment (RATE, STREAM, MODEL, TOKENS)."""
        container = {
            "image": IMAGES["e2e-app"],
            "env": [{"name": key, "value": value} for key, value in settings.items()],
            "readinessProbe": {"httpGet": {"path": "/counts", "port": 8000}, "periodSeconds": 1},
        }
        self.deploy(name, container, replicas=replicas, labels=labels or {})

    def ask(self, app: str, question: str) -> str:
        """What the model says to an app that asks it. Raises AssertionError unless it is answered."""
        status, said = self.call(app, "POST", "http://localhost:8000/ask", question)
        assert status == 200, f"{status} {said}"
        return said

    def counts(self, app: str) -> Mapping[str, int]:
        """What an app has counted: asked, answered, failed, broken. Of one of its pods."""
        counted: Mapping[str, int] = json.loads(self.call(app, "GET", "http://localhost:8000/counts")[1])
        return counted

    def call(self, deployment: str, method: str, url: str, body: str = "") -> tuple[int, str]:
        """Status and body of a request out of a Deployment's pod. Raises CommandFailed if there is no answer."""
        target = deployment if "/" in deployment else f"deployment/{deployment}"
        run = ("exec", "-i", target, "-c", "main", "--", "python3", "-c", CALL, method, url)
        status, _, said = self.kubectl(*run, stdin=body).partition("\n")
        return int(status), said

    def pods(self, app: str) -> list[Any]:
        """The pods of a Deployment that are not on their way out."""
        found = self.get("pods", "-l", f"app={app}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def deploy(
        self,
        name: str,
        container: Manifest,
        *,
        replicas: int = 1,
        labels: Mapping[str, str] | None = None,
        volumes: list[Manifest] | None = None,
    ) -> None:
        """A Deployment with one container called `main`, under restricted Pod Security. Waits until it is ready."""
        main = {"name": "main", "imagePullPolicy": "IfNotPresent", "securityContext": RESTRICTED, **container}
        pod = {"containers": [main], "volumes": volumes or [], "terminationGracePeriodSeconds": 10}
        template = {"metadata": {"labels": {"app": name, **(labels or {})}}, "spec": pod}
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
        self.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
        self.cluster.ready("deployment", name, self.name)


def service(name: str, app: str, port: int) -> Manifest:
    """A Service on port 80 of an app's port."""
    spec = {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}

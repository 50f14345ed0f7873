"""A story's own namespace: simulated providers, routes, and apps that use OpenAI's SDK."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

    def target(self, name: str, **members: Any) -> dict[str, Any]:
        """A target of a route: a simulated provider of this namespace."""
        url = f"http://{name}.{self.name}.svc/v1"
        return {"name": name, "provider": "openai", "model": "gpt-5", "url": url, **members}

    def rendered(self, route: str) -> None:
        """Waits until the configuration that pods start with has a route."""
        config, name = ("configmap", "llmroute-config"), f'"name":"{route}"'
        self.cluster.until(f"{route} is rendered", lambda: name in self.get(*config)["data"]["routes.json"])

    def condition(self, route: str, kind: str) -> Mapping[str, Any]:
        """A condition of a route, if it is about the route as it stands now; else nothing."""
        found = self.get("llmroute", route)
        for each in found.get("status", {}).get("conditions", ()):
            if each["type"] == kind and each["observedGeneration"] == found["metadata"]["generation"]:
                return dict(each)
        return {}

    def becomes(self, route: str, kind: str, status: str, *, seconds: float = 120) -> Mapping[str, Any]:
        """Waits until a condition of a route is "True", "False" or "Unknown"; the condition."""

        def seen() -> Mapping[str, Any]:
            found = self.condition(route, kind)
            return found if found.get("status") == status else {}

        return self.cluster.until(f"{route} becomes {kind}={status}", seen, seconds)

    def target_becomes(self, route: str, target: str, state: str, *, seconds: float = 120) -> Mapping[str, Any]:
        """Waits until a route's status says that a target is Healthy, Ejected, ...; what it says of the target."""

        def seen() -> Mapping[str, Any]:
            targets = self.get("llmroute", route).get("status", {}).get("targets", ())
            return next((dict(each) for each in targets if (each["name"], each["state"]) == (target, state)), {})

        return self.cluster.until(f"{target} becomes {state}", seen, seconds)

    def cell(self, route: str, column: str) -> str:
        """What `kubectl get llmr` shows of a route below a heading."""
        header, row = self.kubectl("get", "llmr", route).splitlines()
        return row[header.index(column) :].split()[0]

    def event(self, reason: str, *words: str) -> str:
        """Waits for an event about a route with this reason and words; its message."""

        def seen() -> str:
            messages = [event["message"] for event in self.get("events") if event["reason"] == reason]
            return next((message for message in messages if all(word in message for word in words)), "")

        return self.cluster.until(f"an event {reason} {words}", seen)

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

    def requests(self, provider: str, last: int = 100) -> list[Any]:
        """The last requests that a simulated provider got: method, path, headers, body."""
        return list(json.loads(self.call("providers", "GET", f"http://{provider}/simulator/requests?last={last}")[1]))

    def app(
        self,
        name: str,
        *,
        replicas: int = 1,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        **settings: str,
    ) -> None:
        """An app that uses OpenAI's SDK, ready; `settings` are its environment (RATE, STREAM, MODEL, TOKENS)."""
        container = {
            "image": IMAGES["e2e-app"],
            "env": [{"name": key, "value": value} for key, value in settings.items()],
            "readinessProbe": {"httpGet": {"path": "/counts", "port": 8000}, "periodSeconds": 1},
        }
        self.deploy(name, container, replicas=replicas, labels=labels, annotations=annotations)

    def ask(self, app: str, question: str) -> str:
        """What the model says to an app that asks it. Raises AssertionError unless it is answered."""
        status, said = self.call(app, "POST", "http://localhost:8000/ask", question)
        assert status == 200, f"{status} {said}"
        return said

    def counts(self, app: str) -> Mapping[str, int]:
        """What an app has counted: asked, answered, failed, broken. Of one of its pods."""
        counted: Mapping[str, int] = json.loads(self.call(app, "GET", "http://localhost:8000/counts")[1])
        return counted

    @contextmanager
    def unharmed(self, *apps: str) -> Iterator[None]:
        """Apps that ask by themselves are answered meanwhile: none of their questions fails or breaks."""
        pods = [f"pod/{pod['metadata']['name']}" for app in apps for pod in self.pods(app)]
        before = {pod: self._answered_again(pod, 0) for pod in pods}
        yield
        for pod, counts in before.items():
            after = self._answered_again(pod, self.counts(pod)["answered"])
            harm = {word: after.get(word, 0) - counts.get(word, 0) for word in ("failed", "broken")}
            assert harm == {"failed": 0, "broken": 0}, f"{pod}: {after}"

    def _answered_again(self, pod: str, answered: int) -> Mapping[str, int]:
        def seen() -> Mapping[str, int]:
            counts = self.counts(pod)
            return counts if counts.get("answered", 0) > answered else {}

        return self.cluster.until(f"{pod} is answered again", seen)

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
        annotations: Mapping[str, str] | None = None,
        volumes: list[Manifest] | None = None,
    ) -> None:
        """A Deployment with one container called `main`, under restricted Pod Security. Waits until it is ready."""
        main = {"name": "main", "imagePullPolicy": "IfNotPresent", "securityContext": RESTRICTED, **container}
        pod = {"containers": [main], "volumes": volumes or [], "terminationGracePeriodSeconds": 10}
        metadata = {"labels": {"app": name, **(labels or {})}, "annotations": annotations or {}}
        template = {"metadata": metadata, "spec": pod}
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
        self.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
        self.cluster.ready("deployment", name, self.name)


def service(name: str, app: str, port: int) -> Manifest:
    """A Service on port 80 of an app's port."""
    spec = {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}

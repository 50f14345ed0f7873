"""Pods with sidecars on a real kubelet: what runs, what holds, what ends, and what happens without an injector."""

import json
from collections.abc import Mapping
from typing import Any

from tests.e2e.conftest import NAMESPACE
from tests.e2e.story import IMAGES, RESTRICTED, Story

MAIN: Mapping[str, Any] = {
    "name": "main",
    "image": IMAGES["e2e-app"],
    "imagePullPolicy": "IfNotPresent",
    "securityContext": RESTRICTED,
}
ASK = """
import openai
answer = openai.OpenAI().chat.completions.create(model="chat", messages=[{"role": "user", "content": "Hello"}])
assert answer.choices[0].message.content
print("answered")
"""
LOOK = """
import json, os, sys
token = "/var/run/secrets/kubernetes.io/serviceaccount"
def writable(path):
    try:
        open(f"{path}/try", "w").close()
        return True
    except OSError:
        return False
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "token": os.listdir(token),
    "writable": list(filter(writable, ("/", "/tmp", token, "/etc/llmroute/config", "/etc/llmroute/state"))),
    "user": os.getuid(),
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "seccomp": int(status["Seccomp"]),
    "secrets": sorted(os.listdir("/etc/llmroute/secrets")),
}))
"""


def test_what_runs_to_its_end_ends(story: Story) -> None:
    """A Job under restricted Pod Security: its init container asks a model, then it does, then all is over."""
    story.kubectl("label", "namespace", story.name, "pod-security.kubernetes.io/enforce=restricted")
    served(story)
    asks = {**MAIN, "command": ["python3", "-c", ASK]}
    pod = {
        "restartPolicy": "Never",
        "initContainers": [{**asks, "name": "first"}],
        "containers": [asks],
    }
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "import"}}
    story.apply({**job, "spec": {"backoffLimit": 0, "template": {"spec": pod}}})
    story.kubectl("wait", "job/import", "--for=condition=complete", "--timeout=120s", seconds=130)
    (ended,) = story.get("pods", "-l", "job-name=import")
    assert ended["status"]["phase"] == "Succeeded"
    (sidecar,) = [one for one in ended["status"]["initContainerStatuses"] if one["name"] == "llmroute-sidecar"]
    assert sidecar["state"]["terminated"]["exitCode"] == 0
    assert story.kubectl("logs", "job/import", "-c", "first").strip() == "answered"


def test_the_sidecar_can_do_what_it_must_and_no_more(story: Story) -> None:
    story.app("shop")
    (pod,) = story.pods("shop")
    look = ("exec", pod["metadata"]["name"], "-c", "llmroute-sidecar", "--", "python", "-c", LOOK)
    assert json.loads(story.kubectl(*look)) == {
        "token": [],
        "writable": ["/etc/llmroute/state"],
        "user": 10001,
        "capabilities": 0,
        "seccomp": 2,
        "secrets": ["llmroute-credentials"],
    }
    listing = "import os; print(os.listdir('/var/run/secrets/kubernetes.io/serviceaccount'))"
    assert "token" in story.kubectl("exec", pod["metadata"]["name"], "-c", "main", "--", "python3", "-c", listing)


def test_beside_a_mesh_probes_come_from_inside(story: Story) -> None:
    served(story)
    mesh = {**MAIN, "name": "linkerd-network-validator", "command": ["python3", "-c", ""]}
    ready = {"httpGet": {"path": "/counts", "port": 8000}, "periodSeconds": 1}
    pod = {"containers": [{**MAIN, "readinessProbe": ready}], "initContainers": [mesh]}
    story.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "meshed"}, "spec": pod})
    story.kubectl("wait", "pod/meshed", "--for=condition=Ready", "--timeout=90s", seconds=100)
    found = story.get("pod", "meshed")["spec"]["initContainers"]
    assert [one["name"] for one in found] == ["linkerd-network-validator", "llmroute-sidecar"]
    assert "exec" in found[1]["readinessProbe"]
    assert story.ask("pod/meshed", "How are you?")


def test_a_rollout_of_the_injector_misses_no_pod(story: Story) -> None:
    pods = ("get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=injector", "-o", "name")
    before = set(story.cluster.kubectl(*pods).split())
    story.cluster.kubectl("rollout", "restart", "deployment/llmroute-injector", "-n", NAMESPACE)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": {"containers": [MAIN]}}
    dry = ("create", "--dry-run=server", "-o", "json", "-f", "-")
    created = missed = 0
    while before & set(story.cluster.kubectl(*pods).split()):  # the last of the old ones is still there, draining
        for _ in range(5):
            made = json.loads(story.kubectl(*dry, stdin=json.dumps(pod)))
            created += 1
            missed += "initContainers" not in made["spec"]
    assert created
    assert missed == 0, f"{missed} of {created}"


def test_without_an_injector_pods_start_and_recover_when_started_again(story: Story) -> None:
    served(story)
    injector = ("deployment/llmroute-injector", "-n", NAMESPACE)
    story.cluster.kubectl("scale", *injector, "--replicas=0")
    try:
        pods = ("get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=injector", "-o", "name")
        story.cluster.until("no injector is left", lambda: not story.cluster.kubectl(*pods).strip())
        story.app("shop", OPENAI_API_KEY="own")  # without any, this SDK would not start
        (pod,) = story.pods("shop")
        assert "llmroute.dev/sidecar" not in pod["metadata"]["labels"]
    finally:
        story.cluster.kubectl("scale", *injector, "--replicas=2")
        story.cluster.ready("deployment", "llmroute-injector", NAMESPACE)
    story.kubectl("rollout", "restart", "deployment/shop")
    story.cluster.ready("deployment", "shop", story.name)
    assert story.ask("shop", "How are you?")


def served(story: Story) -> None:
    """A provider, its key and a route to it."""
    story.providers(east={"ttft": {"median": "20ms"}})
    story.secret(OPENAI_API_KEY="the-key-of-the-company")
    target = {"name": "east", "provider": "openai", "model": "gpt-5", "url": f"http://east.{story.name}.svc/v1"}
    story.route("chat", {"models": ["chat"], "targets": [target]})
    rendered = ("get", "configmap", "llmroute-config", "-o", "yaml")
    story.cluster.until("the route is rendered", lambda: "chat" in story.kubectl(*rendered))

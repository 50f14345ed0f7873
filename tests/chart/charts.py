"""The chart as Helm renders and installs it."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
CHART = HERE.parents[1] / "charts/llmroute"
BUILD = HERE.parents[1] / "tests/cluster/build"
SNAPSHOTS = HERE / "snapshots"
KUBERNETES = "1.34.4"
OWN = "llmroute-system"
"""The release's namespace."""
RELEASE_NAME = "llmroute"

Manifest = dict[str, Any]
Values = Mapping[str, Any]

EVERYTHING: Values = {
    "images": {
        "registry": "registry.example.com/team",
        "pullSecrets": ["pull"],
        "sidecar": {"digest": "sha256:" + "0" * 64},
    },
    "operator": {
        "priorityClassName": "high",
        "nodeSelector": {"pool": "system"},
        "podAnnotations": {"note": "operator"},
    },
    "injector": {
        "failurePolicy": "Fail",
        "excludedNamespaces": ["databases"],
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "podLabels": {"team": "platform"},
    },
    "autoscaling": {
        "prometheusAddress": "http://prometheus.monitoring.svc:9090",
        "scaleUpSeconds": 0,
        "scaleDownSeconds": 3600,
    },
    "networkPolicies": {
        "enabled": True,
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    },
    "monitoring": {
        "podMonitors": {"enabled": True, "labels": {"release": "prometheus"}},
        "rules": {"enabled": True},
        "dashboard": {"enabled": True},
    },
    "certificates": {"method": "cert-manager"},
}
NAMESPACED: Values = {
    "namespaces": ["shop", "bank"],
    "operator": {"nudge": False},
    "autoscaling": {"enabled": False},
    "clusterAssignsUsers": True,
    "certificates": {"method": "provided", "provided": {"secretName": "made-by-us", "caBundle": "Q0E="}},
    "crd": {"install": False},
    "rbac": {"aggregate": False},
    "admissionPolicies": {"enabled": False},
}


class CannotBeHad(Exception):
    """Helm is not here and cannot be built here."""


class Refused(Exception):
    """Helm's complaint."""


class Helm:
    """The pinned Helm, with no configuration of anybody's."""

    def __init__(self, folder: Path) -> None:
        built = subprocess.run([BUILD, folder / "programs", "helm"], capture_output=True, text=True)
        if built.returncode:
            raise CannotBeHad(built.stderr.strip() or "the build failed")
        self._folder = folder
        self._rendered: dict[str, str] = {}

    def run(self, *arguments: str, values: Values | None = None) -> str:
        """What Helm prints. Raises Refused with its complaint."""
        command = [str(self._folder / "programs/helm"), *arguments]
        if values is not None:
            file = self._folder / "values.json"
            file.write_text(json.dumps(values))
            command += ["--values", str(file)]
        done = subprocess.run(command, env={"HOME": str(self._folder)}, capture_output=True, text=True)
        if done.returncode:
            raise Refused(done.stderr)
        return done.stdout

    def text(self, values: Values | None = None, kubernetes: str = KUBERNETES) -> str:
        """The chart's manifests, as YAML."""
        key = json.dumps([values, kubernetes])
        if key not in self._rendered:
            arguments = ("template", RELEASE_NAME, str(CHART), "--namespace", OWN, "--kube-version", kubernetes)
            self._rendered[key] = self.run(*arguments, values=values or {})
        return self._rendered[key]

    def manifests(self, values: Values | None = None, kubernetes: str = KUBERNETES) -> list[Manifest]:
        """The chart's manifests."""
        return [one for one in yaml.load_all(self.text(values, kubernetes), yaml.CSafeLoader) if one]


class Release:
    """The chart as released on one API server."""

    def __init__(self, helm: Helm, kubeconfig: str) -> None:
        self._helm = helm
        self._kubeconfig = kubeconfig

    def helm(self, *arguments: str, values: Values | None = None) -> str:
        """A command about releases. Raises Refused."""
        return self._helm.run(*arguments, "--kubeconfig", self._kubeconfig, "--namespace", OWN, values=values)

    def upgrade(self, values: Values | None = None) -> None:
        """Install, or upgrade."""
        self.helm("upgrade", RELEASE_NAME, str(CHART), "--install", "--create-namespace", values=values or {})


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Those of some kinds."""
    return [one for one in manifests if one["kind"] in kinds]


def the(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one of a kind and name."""
    (found,) = (one for one in of_kind(manifests, kind) if one["metadata"]["name"] == name)
    return found


def environment(manifests: list[Manifest], deployment: str) -> dict[str, str]:
    """What a Deployment's container finds in its environment, as far as the chart writes it out."""
    (container,) = the(manifests, "Deployment", deployment)["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}

"""The three ways to a cluster, and which of them this machine allows."""

import ctypes
import os
import platform
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from msgspec import Struct

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmroute/cluster"
NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of sched.h: what setns(2) is told to enter."""
GIVEN = "LLMROUTE_E2E_KUBECONFIG"
"""Names the kubeconfig of a cluster for these tests. KUBECONFIG is never read: it may be somebody's production."""
KILL = ("--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL")


class NoWay(Exception):
    """This machine has no way to a cluster; the message says what each way lacks."""


class Reached(Struct, frozen=True):
    """A cluster that is up: how to speak to it. `network` is the network namespace that it lives in, if not ours."""

    kubeconfig: Path
    programs: Path | None = None
    network: Path | None = None

    def program(self, name: str) -> str:
        """Where `kubectl` or another program is: the cluster's own, else the first of PATH."""
        own = self.programs / name if self.programs else None
        return str(own) if own and own.exists() else name


class Way(Protocol):
    """One way to a cluster."""

    name: str
    disposable: bool
    """Whether a test may stop the API server: only where the cluster is all ours."""

    def prepare(self) -> None:
        """Builds what a cluster is made of, where it is missing; says on stderr what takes long."""

    def up(self, owner: int | None = None) -> Reached:
        """Brings a cluster up. It does not outlive the process `owner`."""

    def down(self) -> None:
        """Leaves nothing."""

    def load(self, archive: Path) -> None:
        """Puts the image of an archive onto the node."""

    def stop(self, component: str) -> None:
        """Kills a part of the control plane, such as kube-apiserver."""

    def start(self, component: str) -> None:
        """Starts it again."""

    def kill(self, container: str) -> None:
        """Kills a container by its id, as its own crash would; nobody is asked."""

    def fetch(self, url: str) -> str:
        """What a pod's address answers, without any help of the control plane."""

    def add(self, addon: str) -> None:
        """Adds prometheus, keda or kwok. Raises NoWay where only somebody else could."""


def way(name: str) -> Way:
    """The first way that fits. Raises NoWay."""
    if os.environ.get("LLMROUTE_E2E") == "off":
        raise NoWay("LLMROUTE_E2E=off")
    if os.environ.get(GIVEN):
        return GivenCluster()
    lacks = {"kind": KindCluster.lacks(), "a node of our own": OwnNode.lacks()}
    if not lacks["kind"]:
        return KindCluster(name)
    if not lacks["a node of our own"]:
        return OwnNode(name)
    reasons = "; ".join(f"{tried}: {lack}" for tried, lack in lacks.items())
    raise NoWay(f"no way to a Kubernetes on this machine ({GIVEN} is not set; {reasons})")


class GivenCluster:
    """A cluster that somebody gave us. Its nodes must be able to pull our images, or hold them already."""

    name = "given"
    disposable = False

    def prepare(self) -> None:
        """Nothing."""

    def up(self, owner: int | None = None) -> Reached:
        """Trusts that it is up."""
        return Reached(Path(os.environ[GIVEN]).resolve())

    def down(self) -> None:
        """It is not ours."""

    def load(self, archive: Path) -> None:
        """Nothing: who gave the cluster gave it the images, too."""

    def stop(self, component: str) -> None:
        """Refuses: others may use this cluster."""
        raise NoWay(f"{component} of a cluster that is not ours is not stopped")

    start = stop

    def kill(self, container: str) -> None:
        """Refuses, for the same reason."""
        raise NoWay(f"container {container} of a cluster that is not ours is not killed")

    def fetch(self, url: str) -> str:
        """Refuses: from here, its pods may have no addresses."""
        raise NoWay(f"{url} is of a cluster that is not ours")

    def add(self, addon: str) -> None:
        """Refuses, for the same reason."""
        raise NoWay(f"{addon} is not added to a cluster that is not ours")


class KindCluster:
    """Kubernetes in Docker, by the `kind` of the machine."""

    name = "kind"
    disposable = True

    def __init__(self, name: str) -> None:
        self._cluster = f"llmroute-{name}"
        self._folder = CACHE / "run" / self._cluster

    @staticmethod
    def lacks() -> str:
        """What is missing for it; empty if nothing."""
        missing = [tool for tool in ("kind", "docker", "kubectl", "helm") if not shutil.which(tool)]
        if missing:
            return f"no {', '.join(missing)}"
        answer = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30)
        return "" if answer.returncode == 0 else "no Docker daemon answers"

    def prepare(self) -> None:
        """Nothing: kind brings its own image."""

    def up(self, owner: int | None = None) -> Reached:
        """Creates it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        kubeconfig = self._folder / "kubeconfig"
        run("kind", "create", "cluster", "--name", self._cluster, "--kubeconfig", str(kubeconfig), "--wait", "120s")
        return Reached(kubeconfig)

    def down(self) -> None:
        """Deletes it."""
        run("kind", "delete", "cluster", "--name", self._cluster)
        shutil.rmtree(self._folder, ignore_errors=True)

    def load(self, archive: Path) -> None:
        """Loads an archive."""
        run("kind", "load", "image-archive", str(archive), "--name", self._cluster)

    def stop(self, component: str) -> None:
        """Takes its manifest away, so that the kubelet ends it."""
        self._on_node("mv", f"/etc/kubernetes/manifests/{component}.yaml", "/root/")

    def start(self, component: str) -> None:
        """Puts its manifest back."""
        self._on_node("mv", f"/root/{component}.yaml", "/etc/kubernetes/manifests/")

    def kill(self, container: str) -> None:
        """By the node's containerd."""
        self._on_node("ctr", *KILL, container)

    def fetch(self, url: str) -> str:
        """Asks from the node."""
        return self._on_node("curl", "--silent", "--fail", "--max-time", "10", url)

    def add(self, addon: str) -> None:
        """Refuses: it would come from the internet, in whatever version."""
        raise NoWay(f"{addon} is only built for {OwnNode.name}")

    def _on_node(self, *command: str) -> str:
        return run("docker", "exec", f"{self._cluster}-control-plane", *command)


class OwnNode:
    """A single node from pinned Go modules and Debian packages, in namespaces of its own."""

    name = "a node of our own"
    disposable = True

    def __init__(self, name: str) -> None:
        self._cluster = name
        self._state = CACHE / "run" / name

    @staticmethod
    def lacks() -> str:
        """What is missing for it; empty if nothing."""
        if platform.system() != "Linux" or os.geteuid() != 0:
            return "needs root on Linux"
        if not shutil.which("go"):
            return "no Go to build it"
        if not (shutil.which("apt-get") or shutil.which("containerd")):
            return "needs Debian's packages"
        tried = subprocess.run(
            ["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False
        )
        return "" if tried.returncode == 0 else "may not make namespaces"

    def prepare(self) -> None:
        """Builds all programs and images: 15 to 25 minutes on two cores the first time."""
        run(str(HERE / "prepare"))

    def up(self, owner: int | None = None) -> Reached:
        """Starts it unless it runs, and builds what is missing for that."""
        if not self._runs():
            run(str(HERE / "up"), self._cluster, *([str(owner)] if owner else []))
        return Reached(self._state / "admin.kubeconfig", self._state / "bin", self._network())

    def down(self) -> None:
        """Ends its namespaces."""
        run(str(HERE / "down"), self._cluster)

    def load(self, archive: Path) -> None:
        """Imports an archive into its containerd, unless it is what that image was imported from last."""
        last = self._state / f"imported-{archive.name.rpartition('-')[0]}"
        if last.exists() and last.read_text() == str(archive):
            return
        socket = str(self._state / "containerd.sock")
        run("ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", str(archive))
        last.write_text(str(archive))

    def stop(self, component: str) -> None:
        """Kills it."""
        self._component("stop", component)

    def start(self, component: str) -> None:
        """Starts it with the flags that it had."""
        self._component("start", component)

    def kill(self, container: str) -> None:
        """By its containerd."""
        run("ctr", "--address", str(self._state / "containerd.sock"), *KILL, container)

    def fetch(self, url: str) -> str:
        """Asks from its network."""
        with within(self._network()), urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())

    def add(self, addon: str) -> None:
        """Builds it where it is missing, and waits until it works."""
        run(str(HERE / "addon"), self._cluster, addon)

    def _network(self) -> Path:
        init = (self._state / "init").read_text().strip()
        return Path(f"/proc/{init}/ns/net")

    def _runs(self) -> bool:
        return (self._state / "ready").exists() and self._network().exists()

    def _component(self, action: str, component: str) -> None:
        run(str(HERE / "inside"), self._cluster, str(HERE / "component"), action, component)


def run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints. Raises CalledProcessError with a note that holds its complaint."""
    surroundings = {**os.environ, **(environment or {})}
    done = subprocess.run(command, env=surroundings, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout)
    return done.stdout.strip()


@contextmanager
def within(network: Path | None) -> Iterator[None]:
    """This thread, and what it starts, in another network namespace: there pods and services have their addresses."""
    if network is None:
        yield
        return
    with Path("/proc/thread-self/ns/net").open() as home, network.open() as other:
        enter(other.fileno())
        try:
            yield
        finally:
            enter(home.fileno())


def enter(namespace: int) -> None:
    """setns(2), which Python has from 3.12 on. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "cannot enter the network namespace of the cluster")

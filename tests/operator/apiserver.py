"""A real API server with its etcd, and nothing else of Kubernetes: no controllers, no scheduler, no nodes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

BUILD = Path(__file__).parents[1] / "cluster/build"
CRD = Path(__file__).parents[2] / "crds/llmroutes.yaml"


class CannotBeHad(Exception):
    """The programs are not here and cannot be built here."""


class ApiServer:
    """The two processes, in a folder of their own, on ports of their own.

    `accounts`: pods get the token of their ServiceAccount. Then somebody must make a namespace's account `default`.
    """

    def __init__(self, folder: Path, *, accounts: bool = False) -> None:
        self.folder = folder
        self._accounts = accounts
        self.port = free_port()
        self._etcd_port = free_port()
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(folder / "ca.crt"))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        built = subprocess.run([BUILD, folder / "programs", "etcd", "kube-apiserver"], capture_output=True, text=True)
        if built.returncode:
            raise CannotBeHad(built.stderr.strip() or "the build failed")
        self._certificates()
        self.admin = self.kubeconfig("admin", "system:masters")

    def _certificates(self) -> None:
        served = self._authority.issue_cert("127.0.0.1", "localhost")
        served.cert_chain_pems[0].write_to_path(str(self.folder / "apiserver.crt"))
        served.private_key_pem.write_to_path(str(self.folder / "apiserver.key"))
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        (self.folder / "accounts.key").write_bytes(pem)

    def kubeconfig(self, user: str, group: str = "users") -> Path:
        """A kubeconfig of a user with a certificate of his own."""
        held = self._authority.issue_cert("client.test", common_name=user, organization_name=group)
        certificate, key = self.folder / f"{user}.crt", self.folder / f"{user}.key"
        held.cert_chain_pems[0].write_to_path(str(certificate))
        held.private_key_pem.write_to_path(str(key))
        path = self.folder / f"{user}.kubeconfig"
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self.folder / "ca.crt")}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": user, "user": {"client-certificate": str(certificate), "client-key": str(key)}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
                    "current-context": "test",
                }
            )
        )
        return path

    def start(self) -> None:
        """Start both and wait until they answer."""
        etcd = f"http://127.0.0.1:{self._etcd_port}"
        self._run(
            "etcd",
            *("--data-dir", str(self.folder / "etcd"), "--unsafe-no-fsync", "--listen-client-urls", etcd),
            *("--advertise-client-urls", etcd, "--listen-peer-urls", f"http://127.0.0.1:{free_port()}"),
        )
        self.start_api(etcd)

    def start_api(self, etcd: str = "") -> None:
        """Start the API server alone."""
        files = {name: str(self.folder / name) for name in ("ca.crt", "apiserver.crt", "apiserver.key", "accounts.key")}
        self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd or f'http://127.0.0.1:{self._etcd_port}'}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=198.51.100.1",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            *(() if self._accounts else ("--disable-admission-plugins=ServiceAccount",)),
            f"--client-ca-file={files['ca.crt']}",
            f"--tls-cert-file={files['apiserver.crt']}",
            f"--tls-private-key-file={files['apiserver.key']}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={files['accounts.key']}",
            f"--service-account-signing-key-file={files['accounts.key']}",
        )
        until(self._answers, 60.0)

    def _answers(self) -> bool:
        for name, process in self._processes.items():
            assert process.poll() is None, (self.folder / f"{name}.log").read_text()[-2000:]
        return self.get("/readyz") is not None

    def stop_api(self) -> None:
        """Kill the API server; etcd stays."""
        self._end("kube-apiserver", signal.SIGKILL)

    def stop(self) -> None:
        """Kill both."""
        for name in list(self._processes):
            self._end(name, signal.SIGKILL)

    def _run(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            # Tests that are killed leave nothing behind.
            bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
            command = [*bound, str(self.folder / "programs" / name), *arguments]
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _end(self, name: str, how: int) -> None:
        ended = self._processes.pop(name)
        os.kill(ended.pid, how)
        ended.wait()

    def get(self, path: str) -> bytes | None:
        """What a path answers to the administrator; None if it does not answer with 200."""
        command = ["curl", "-sf", "--max-time", "5", "--cacert", str(self.folder / "ca.crt")]
        command += ["--cert", str(self.folder / "admin.crt"), "--key", str(self.folder / "admin.key")]
        answer = subprocess.run([*command, f"https://127.0.0.1:{self.port}{path}"], capture_output=True)
        return answer.stdout if answer.returncode == 0 else None


@contextmanager
def running(folder: Path, *, accounts: bool = False) -> Iterator[ApiServer]:
    """An API server that ends with the block."""
    server = ApiServer(folder, accounts=accounts)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    return json.loads(json.dumps(yaml.safe_load(CRD.read_text())))  # type: ignore[no-any-return]


def until(true: Any, seconds: float) -> None:
    """Wait until something is true; AssertionError if it does not become so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.1)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

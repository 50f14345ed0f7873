"""A running injector with a certificate authority of its own, and the reviews that it gets."""

import base64
import contextlib
import io
import ssl
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import jsonpatch
import trustme
from tests.operator.injected_pods import SETTINGS

from llmroute_operator.injection_settings import ServerSettings
from llmroute_operator.injector import Running, running


def issue(authority: trustme.CA, directory: Path, ends: datetime | None = None) -> trustme.LeafCert:
    """Write another pair, as kubelet does: all at once by name."""
    leaf = authority.issue_cert("127.0.0.1", "localhost", not_after=ends)
    for name, blobs in (("tls.crt", leaf.cert_chain_pems), ("tls.key", [leaf.private_key_pem])):
        fresh = directory / f"{name}.new"
        fresh.write_bytes(b"".join(blob.bytes() for blob in blobs))
        fresh.replace(directory / name)
    return leaf


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """What the API server does with a caBundle."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextlib.asynccontextmanager
async def injector(directory: Path) -> AsyncIterator[Running]:
    """Listening on free ports of 127.0.0.1, with the certificate of the directory."""
    settings = ServerSettings(
        injection=SETTINGS,
        certificate_dir=directory,
        listen=("127.0.0.1", 0),
        admin=("127.0.0.1", 0),
        drain_delay=0.0,
    )
    async with running(settings) as server:
        yield server


class Api:
    """Asks as the API server does."""

    def __init__(self, server: Running, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session

    async def post(self, body: bytes) -> tuple[int, Any]:
        """Status and JSON of the answer to anything."""
        url = f"https://127.0.0.1:{self._server.port}/mutate?timeout=5s"
        async with self._session.post(
            url, data=io.BytesIO(body), headers={"content-type": "application/json"}
        ) as answer:
            return answer.status, await answer.json()

    async def admin(self, path: str) -> tuple[int, str]:
        """Status and text of a page of the admin port."""
        async with self._session.get(f"http://127.0.0.1:{self._server.admin_port}{path}") as answer:
            return answer.status, await answer.text()


@contextlib.asynccontextmanager
async def api(server: Running, authority: trustme.CA) -> AsyncIterator[Api]:
    connector = aiohttp.TCPConnector(ssl=trusting(authority))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Api(server, session)


def review_of(pod: Any, **request: Any) -> dict[str, Any]:
    """An AdmissionReview of a new pod."""
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "team",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod,
            "oldObject": None,
            "dryRun": False,
            **request,
        },
    }


def applied(pod: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """The pod after the response's patch."""
    assert response["patchType"] == "JSONPatch"
    after: dict[str, Any] = jsonpatch.apply_patch(pod, base64.b64decode(response["patch"]).decode())
    return after

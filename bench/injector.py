"""The injector's latency: real reviews over TLS to the command `llmroute-injector`, as a process of its own.

    python -m bench.injector [--seconds 5] [--json FILE]

First a rollout: 100 usual pods a second, each sent when it is due, over 8 connections that are kept as the API server
keeps its own. Then one review after the other, for usual pods and for those as large as the API server takes. Times run
from when a review was due, and are the client's: they contain its own TLS and loop.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import signal
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import orjson
import trustme
import uvloop


class Case(msgspec.Struct, frozen=True):
    """What to send. `rate`: reviews a second over all connections; None: each once the one before is answered."""

    pod: str
    connections: int = 1
    rate: float | None = None


CASES = (Case("usual", 8, 100.0), Case("usual"), Case("1.5 MB"), Case("3 MB"))


class Figures(msgspec.Struct, frozen=True):
    """Of one run; latencies in milliseconds."""

    pod: str
    connections: int
    due_per_second: float | None
    review_bytes: int
    reviews: int
    per_second: float
    p50: float
    p99: float
    worst: float


def usual_pod() -> dict[str, Any]:
    """As a ReplicaSet creates it, with managed fields."""
    container = {
        "name": "app",
        "image": "registry.example/shop/app:1.42.0",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{number}", "value": f"value of setting {number}"} for number in range(30)],
        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
        "volumeMounts": [{"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
    }
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-5d9c7b6f4", "uid": "u", "controller": True}
    return {
        "metadata": {
            "generateName": "shop-5d9c7b6f4-",
            "labels": {"app": "shop", "pod-template-hash": "5d9c7b6f4"},
            "ownerReferences": [owner],
            "managedFields": [{"manager": "kube-controller-manager", "fieldsV1": {f"f:{n}": {} for n in range(100)}}],
        },
        "spec": {
            "containers": [container, {**container, "name": "metrics"}],
            "initContainers": [{**container, "name": "migrate"}],
            "volumes": [{"name": "kube-api-access-x", "projected": {"sources": []}}],
            "serviceAccountName": "shop",
        },
    }


def review(pod: str) -> bytes:
    """The AdmissionReview of a usual pod, or of one of a size."""
    given = usual_pod()
    if pod != "usual":
        size = int(float(pod.split()[0]) * 1_000_000)
        given["spec"]["containers"][0]["args"] = ["x" * 1000] * (size // 1000)
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "namespace": "shop",
        "operation": "CREATE",
        "object": given,
    }
    return orjson.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})


@contextlib.asynccontextmanager
async def injector(authority: trustme.CA) -> AsyncIterator[int]:
    """The command as a process; gives its port."""
    with tempfile.TemporaryDirectory() as directory:
        leaf = authority.issue_cert("127.0.0.1")
        leaf.cert_chain_pems[0].write_to_path(f"{directory}/tls.crt")
        leaf.private_key_pem.write_to_path(f"{directory}/tls.key")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from llmroute_operator.injector import main; main()"),
            env={
                **os.environ,
                "LLMROUTE_SIDECAR_IMAGE": "llmroute/sidecar:1",
                "LLMROUTE_CERTIFICATE_DIR": directory,
                "LLMROUTE_LISTEN": "127.0.0.1:0",
                "LLMROUTE_ADMIN": "127.0.0.1:0",
            },
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        drained: asyncio.Task[None] | None = None
        try:
            while "reviews on port" not in (message := orjson.loads(await process.stdout.readline())["message"]):
                pass
            drained = asyncio.create_task(_discard(process.stdout))  # its log must not stall it
            yield int(message.split()[3].rstrip(","))
        finally:
            for _ in range(2):  # once to drain, once not to wait for it
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.1)
            await process.wait()
            if drained is not None:
                await drained


async def _discard(lines: asyncio.StreamReader) -> None:
    while await lines.read(65536):
        pass


async def measure(port: int, authority: trustme.CA, case: Case, seconds: float) -> Figures:
    """One run, after a warm-up of a tenth."""
    body = review(case.pod)
    times: list[float] = []
    context = ssl.create_default_context()
    authority.configure_trust(context)
    connections = [await asyncio.open_connection("127.0.0.1", port, ssl=context) for _ in range(case.connections)]
    began = perf_counter()
    warm, end = began + seconds / 10, began + seconds
    due = itertools.count(began, 1 / case.rate) if case.rate else None
    await asyncio.gather(*(_ask(each, body, due, (warm, end), times) for each in connections))
    times.sort()
    return Figures(
        pod=case.pod,
        connections=case.connections,
        due_per_second=case.rate,
        review_bytes=len(body),
        reviews=len(times),
        per_second=round(len(times) / (end - warm), 1),
        p50=round(times[len(times) // 2] * 1000, 2),
        p99=round(times[int(len(times) * 0.99)] * 1000, 2),
        worst=round(times[-1] * 1000, 2),
    )


async def _ask(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    body: bytes,
    due: Iterator[float] | None,
    window: tuple[float, float],
    times: list[float],
) -> None:
    reader, writer = connection
    head = f"POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    while (began := next(due) if due else perf_counter()) < window[1]:
        await asyncio.sleep(max(0.0, began - perf_counter()))
        writer.write(head + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        patch = await reader.readexactly(length)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"patch"' in patch
        if began >= window[0]:
            times.append(perf_counter() - began)
    writer.close()


async def run(seconds: float) -> list[Figures]:
    """All cases, one after the other."""
    authority = trustme.CA()
    figures = []
    async with injector(authority) as port:
        for case in CASES:
            found = await measure(port, authority, case, seconds)
            sent = f"{case.rate:g}/s" if case.rate else "one by one"
            print(
                f"{case.pod:>7} pods, {sent:<10} {found.reviews:6} reviews  "
                f"p50 {found.p50:6.2f} ms  p99 {found.p99:6.2f} ms  worst {found.worst:6.2f} ms"
            )
            figures.append(found)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the injector.")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run (default 5)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    figures = uvloop.run(run(arguments.seconds))
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")


if __name__ == "__main__":
    main()

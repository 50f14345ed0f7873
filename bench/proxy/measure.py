"""The rounds: in each, every case; within a case every peer in turn, so that ratios are of neighbouring runs."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import msgspec

from bench.proxy.cases import Case
from bench.proxy.gateway import Cores, Gateway, free_port, spawn
from bench.proxy.load import LoadReport, Plan
from bench.proxy.peers import DIRECT
from bench.proxy.upstream import STREAM_EVENTS

_CHECKOUT = Path(__file__).resolve().parents[2]
_SETTLE = 0.1  # for a peer to see the load's connections close before it is frozen


class Settings(msgspec.Struct, frozen=True):
    """How long and how often; `warmup` and `window` in seconds, `starts` per peer for the time to ready."""

    rounds: int
    window: float
    warmup: float
    starts: int
    events_per_write: int


class Measurement(msgspec.Struct, frozen=True):
    """One run. Latencies in microseconds; `busy` is the share of its core each used, `cpu_micros` per request."""

    peer: str
    case: str
    round: int
    requests_per_second: float
    tokens_per_second: float | None
    latency_p50: float | None
    latency_p99: float | None
    first_body_p50: float | None
    gateway_busy: float
    gateway_cpu_micros: float | None
    others_busy: float  # of the gateway's core, by what is none of ours: the figure is not to be trusted if large
    load_busy: float
    upstream_busy: float
    rss_bytes: int
    errors: dict[str, int]


@contextmanager
def mock_upstream(cores: Cores, events_per_write: int) -> Iterator[Gateway]:
    """The mock as a peer of its own, with no time to ready; ended with the block."""
    port = free_port()
    command = [sys.executable, "-m", "bench.proxy.upstream", "--port", str(port)]
    command += ["--events-per-write", str(events_per_write)]
    process = spawn(command, cores.upstream, environment=dict(os.environ), output=2, directory=_CHECKOUT)
    mock = Gateway(DIRECT, port, DIRECT.headers, process)
    try:
        _await_port(port)
        yield mock
    finally:
        mock.stop()


def _await_port(port: int) -> None:
    for _ in range(500):
        try:
            completions_begun(port)
        except OSError:
            sleep(0.01)
        else:
            return
    raise SystemExit("bench: the mock upstream did not start")


def completions_begun(port: int) -> int:
    """What the mock upstream counted so far."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/")
    begun = json.loads(connection.getresponse().read())["begun"]
    connection.close()
    return int(begun)


def rounds(
    gateways: Sequence[Gateway], cases: Sequence[Case], settings: Settings, cores: Cores, mock: Gateway
) -> Iterator[Measurement]:
    """Each peer is thawed for its turn only; each round begins with another peer."""
    for number in range(settings.rounds):
        for case in cases:
            first = number % len(gateways)
            for gateway in [*gateways[first:], *gateways[:first]]:
                gateway.thaw()
                begun = completions_begun(mock.port)
                report = _load(gateway, case, settings, cores, mock)
                begun = completions_begun(mock.port) - begun
                sleep(_SETTLE)
                measurement = _measurement(gateway, case, number, report, begun)
                gateway.trim_log()
                if gateway is not mock:
                    gateway.freeze()
                yield measurement


def _load(gateway: Gateway, case: Case, settings: Settings, cores: Cores, mock: Gateway) -> LoadReport:
    plan = Plan(
        port=gateway.port,
        path=gateway.peer.path,
        headers=gateway.headers,
        model=gateway.peer.model,
        case=case,
        warmup=settings.warmup,
        window=settings.window,
        gateway_core=cores.gateway,
        watched={
            "gateway": () if gateway is mock else gateway.process_ids(),
            "upstream": mock.process_ids(),
        },
    )
    finished = subprocess.run(
        [sys.executable, "-m", "bench.proxy.load"],
        input=msgspec.json.encode(plan),
        stdout=subprocess.PIPE,
        cwd=_CHECKOUT,
        check=True,
        timeout=settings.warmup + settings.window + 60,
    )
    return msgspec.json.decode(finished.stdout, type=LoadReport)


def _measurement(gateway: Gateway, case: Case, number: int, report: LoadReport, begun: int) -> Measurement:
    errors = dict(report.errors)
    if begun < report.completed_with_warmup:
        errors["answered without the upstream"] = report.completed_with_warmup - begun
    per_second = report.completed / report.seconds
    gateway_cpu = report.cpu_seconds["gateway"]
    return Measurement(
        peer=gateway.peer.name,
        case=case.name,
        round=number,
        requests_per_second=per_second,
        tokens_per_second=per_second * STREAM_EVENTS if case.stream else None,
        latency_p50=report.latency_p50,
        latency_p99=report.latency_p99,
        first_body_p50=report.first_body_p50,
        gateway_busy=gateway_cpu / report.seconds,
        gateway_cpu_micros=gateway_cpu / report.completed * 1e6 if report.completed else None,
        others_busy=max(0.0, (report.gateway_core_seconds - gateway_cpu) / report.seconds),
        load_busy=report.cpu_seconds["load"] / report.seconds,
        upstream_busy=report.cpu_seconds["upstream"] / report.seconds,
        rss_bytes=gateway.rss_bytes(),
        errors=errors,
    )

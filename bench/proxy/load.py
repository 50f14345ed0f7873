"""The load generator: a closed loop of connections, each sending its next request once the last was answered.

Runs as a process of its own (a Plan as JSON on stdin, a LoadReport as JSON on stdout), so that it can be pinned
to a core and so that nothing of the benchmark's own work falls into the measured window. Raw protocols on uvloop
and httptools: about 5 µs of its core for a small request.
"""

import asyncio
import gc
import os
import secrets
import socket
import sys
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import cast

import httptools
import msgspec
import uvloop

from bench.proxy.cases import Case, request_body

_RECONNECT_AFTER = 0.02
_TICK = 1 / os.sysconf("SC_CLK_TCK")


class Plan(msgspec.Struct, frozen=True):
    """What to send where, and for how long; `warmup` and `window` in seconds."""

    port: int
    path: str
    headers: tuple[tuple[str, str], ...]
    model: str
    case: Case
    warmup: float
    window: float
    watched: dict[str, tuple[int, ...]]  # process ids whose CPU time within the window is wanted, by name
    gateway_core: int


class LoadReport(msgspec.Struct, frozen=True):
    """What happened within the window; latencies in microseconds, `cpu_seconds` by the plan's names and `load`."""

    seconds: float
    completed: int
    completed_with_warmup: int
    errors: dict[str, int]
    latency_p50: float | None
    latency_p99: float | None
    first_body_p50: float | None
    cpu_seconds: dict[str, float]
    gateway_core_seconds: float  # that the gateway's core was busy, for whomever


class Window:
    """What all connections of a run write into."""

    def __init__(self, plan: Plan) -> None:
        before, after = request_body(plan.case, plan.model)
        lines = [f"POST {plan.path} HTTP/1.1", f"host: 127.0.0.1:{plan.port}", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in plan.headers]
        lines += ["accept: */*", "user-agent: llmroute-bench", f"content-length: {len(before) + 16 + len(after)}"]
        self.before = "\r\n".join(lines).encode() + b"\r\n\r\n" + before
        self.after = after
        self.unique = secrets.randbits(62)
        self.latencies: list[int] = []
        self.first_bodies: list[int] = []
        self.errors: dict[str, int] = {}
        self.completed_with_warmup = 0
        self.ended = False

    def next_request(self) -> bytes:
        self.unique += 1
        return b"%s%016x%s" % (self.before, self.unique, self.after)

    def count_error(self, reason: str) -> None:
        self.errors[reason] = self.errors.get(reason, 0) + 1

    def restart(self) -> None:
        """Forget the warm-up."""
        self.latencies.clear()
        self.first_bodies.clear()
        self.errors.clear()


class Connection(asyncio.Protocol):
    """One connection to the peer, for answers in one piece. Header callbacks are left out: they cost most."""

    def __init__(self, window: Window, plan: Plan) -> None:
        self._window = window
        self._plan = plan
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._started = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._send()

    def _send(self) -> None:
        self._started = perf_counter_ns()
        self._transport.write(self._window.next_request())

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        window = self._window
        if window.ended:
            return
        window.latencies.append(perf_counter_ns() - self._started)
        window.completed_with_warmup += 1
        status = self._parser.get_status_code()
        if status != 200:
            window.count_error(f"status {status}")
        if self._parser.should_keep_alive():
            self._send()
        else:
            window.count_error("connection: close")
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._window.ended:
            return
        if exc is not None or not self._transport.is_closing():
            self._window.count_error("connection lost")
        asyncio.get_running_loop().call_later(_RECONNECT_AFTER, self._reconnect)

    def _reconnect(self) -> None:
        task = asyncio.ensure_future(open_connection(self._window, self._plan))
        task.add_done_callback(self._reconnected)

    def _reconnected(self, task: "asyncio.Future[None]") -> None:
        if task.exception() is not None and not self._window.ended:
            self._window.count_error("cannot connect")


class StreamConnection(Connection):
    """The same for streams: the time of the first body byte too, and whether the stream ended as it should.

    Acknowledges every read at once. Otherwise a gateway that leaves Nagle's algorithm on (TensorZero) waits 40 ms
    for the delayed acknowledgement in each stream, with its core idle, and the ratio would be about that.
    """

    def __init__(self, window: Window, plan: Plan) -> None:
        super().__init__(window, plan)
        self._end = b""
        self._socket: socket.socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = transport.get_extra_info("socket")
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        # The kernel leaves this mode by itself, so it is set again for each read.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if not self._end:
            self._window.first_bodies.append(perf_counter_ns() - self._started)
        self._end = body if len(body) >= 32 else self._end[-32:] + body

    def on_message_complete(self) -> None:
        if b"[DONE]" not in self._end[-32:]:
            self._window.count_error("stream without [DONE]")
        self._end = b""
        super().on_message_complete()


async def open_connection(window: Window, plan: Plan) -> None:
    protocol = StreamConnection if plan.case.stream else Connection
    await asyncio.get_running_loop().create_connection(lambda: protocol(window, plan), "127.0.0.1", plan.port)


async def run(plan: Plan) -> LoadReport:
    window = Window(plan)
    gc.freeze()
    gc.disable()
    await asyncio.gather(*(open_connection(window, plan) for _ in range(plan.case.connections)))
    await asyncio.sleep(plan.warmup)
    watched = {**plan.watched, "load": (os.getpid(),)}
    cpu_before = {name: sum(map(cpu_seconds, pids)) for name, pids in watched.items()}
    core_before = core_seconds(plan.gateway_core)
    window.restart()
    started = perf_counter()
    await asyncio.sleep(plan.window)
    seconds = perf_counter() - started
    window.ended = True
    cpu_used = {name: sum(map(cpu_seconds, pids)) - cpu_before[name] for name, pids in watched.items()}
    return _report(window, seconds, cpu_used, core_seconds(plan.gateway_core) - core_before)


def _report(window: Window, seconds: float, cpu_used: dict[str, float], core_busy: float) -> LoadReport:
    latencies = sorted(window.latencies)
    first_bodies = sorted(window.first_bodies)
    return LoadReport(
        seconds=seconds,
        completed=len(latencies),
        completed_with_warmup=window.completed_with_warmup,
        errors=window.errors,
        latency_p50=_quantile(latencies, 0.5),
        latency_p99=_quantile(latencies, 0.99),
        first_body_p50=_quantile(first_bodies, 0.5),
        cpu_seconds=cpu_used,
        gateway_core_seconds=core_busy,
    )


def _quantile(ordered: list[int], quantile: float) -> float | None:
    """In microseconds, of sorted nanoseconds; none of nothing."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(len(ordered) * quantile))] / 1000


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far, to 10 ms; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * _TICK


def core_seconds(core: int) -> float:
    """How long a core was not idle so far, time stolen by the host included."""
    lines = Path("/proc/stat").read_text().splitlines()
    user, nice, system, _idle, _iowait, irq, softirq, steal = next(
        map(int, line.split()[1:9]) for line in lines if line.startswith(f"cpu{core} ")
    )
    return (user + nice + system + irq + softirq + steal) * _TICK


def main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    report = uvloop.run(run(plan))
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main()

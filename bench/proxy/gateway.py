"""A running peer: started on its core, ready once it answers, frozen while others are measured."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

from bench.proxy.check import Refused, ask
from bench.proxy.install import Absent, Installation
from bench.proxy.peers import PEERS_DIRECTORY, Peer

_READY_WITHIN = 120.0
_POLL = 0.002
_STOP_WITHIN = 10.0
_LOG_BYTES = 1_000_000


@dataclass(frozen=True)
class Cores:
    """Which core runs what. With two, load and mock share one: the gateway's must carry nothing else, and the
    two others together need less than half of what the quickest gateway needs for the same small request."""

    load: int
    upstream: int
    gateway: int


def choose_cores() -> Cores:
    """From those this process may use.

    Raises:
        SystemExit: fewer than two.
    """
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise SystemExit("bench: two cores are needed, one for the gateway and one for the load and the mock")
    return Cores(usable[0], usable[0] if len(usable) == 2 else usable[2], usable[1])


@dataclass
class Gateway:
    """One start of a peer. `port` is where it serves, `ready_seconds` the time from exec to its first right answer."""

    peer: Peer
    port: int
    headers: tuple[tuple[str, str], ...]
    process: subprocess.Popen[bytes] | None = None  # none for the mock itself
    log: Path | None = None
    ready_seconds: float | None = None

    def process_ids(self) -> tuple[int, ...]:
        """The peer's process and all that it forked; they share its process group."""
        return tuple(_group(self.process.pid)) if self.process else ()

    def rss_bytes(self) -> int:
        return sum(_resident(pid) for pid in self.process_ids())

    def freeze(self) -> None:
        """Stop it without ending it, so that its timers take nothing from the peer that is measured."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.thaw()
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def trim_log(self) -> None:
        """Writing logs is part of what a peer does; keeping them is not."""
        if self.log and self.log.stat().st_size > _LOG_BYTES:
            os.truncate(self.log, 0)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)


def start(peer: Peer, installation: Installation, upstream_port: int, core: int, directory: Path) -> Gateway:
    """Start a peer and wait until it answers a small request rightly.

    Raises:
        Absent: it ended, or gave no right answer in time.
    """
    directory.mkdir(parents=True, exist_ok=True)
    places = _places(peer, installation, upstream_port, directory)
    if peer.config:
        template = (PEERS_DIRECTORY / peer.config).read_text()
        for name in ("port", "admin", "upstream"):
            template = template.replace(f"@{name}@", places[name])
        Path(places["config"]).write_text(template)
    headers = tuple((name, value.format_map(places)) for name, value in peer.headers)
    log = directory / "log"
    started = perf_counter()
    process = _launch(peer, places, core, log)
    gateway = Gateway(peer, int(places["port"]), headers, process, log)
    try:
        _await_ready(gateway, Path(places["port_file"]), started)
    except BaseException:
        gateway.stop()
        raise
    return gateway


def _places(peer: Peer, installation: Installation, upstream_port: int, directory: Path) -> dict[str, str]:
    return {
        "prefix": str(installation.prefix),
        "site": str(installation.site),
        "peers": str(PEERS_DIRECTORY),
        "config": str(directory / (peer.config or "none")),
        "port": str(free_port()),
        "admin": str(free_port()),
        "upstream": str(upstream_port),
        "port_file": str(directory / "port"),
    }


def _launch(peer: Peer, places: dict[str, str], core: int, log: Path) -> subprocess.Popen[bytes]:
    """With an environment of its own, so that nothing set for us (proxies, bytecode, keys) reaches the peer."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(log.parent), "LANG": "C.UTF-8"}
    environment |= {name: value.format_map(places) for name, value in peer.environment}
    command = [part.format_map(places) for part in peer.command]
    with log.open("ab") as output:
        try:
            return spawn(command, core, environment=environment, output=output.fileno(), directory=log.parent)
        except OSError as error:
            raise Absent(f"cannot be started: {error.strerror}: {Path(command[0]).name}") from error


def spawn(
    command: list[str], core: int, *, environment: dict[str, str], output: int, directory: Path
) -> subprocess.Popen[bytes]:
    """A process in a group of its own, on one core: affinity is inherited, so ours is set during the fork."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        return subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    finally:
        os.sched_setaffinity(0, ours)


def _await_ready(gateway: Gateway, port_file: Path, started: float) -> None:
    assert gateway.process is not None
    peer = gateway.peer
    reason = "no answer"
    while perf_counter() - started < _READY_WITHIN:
        if gateway.process.poll() is not None:
            _show_log(gateway)
            raise Absent(f"ended with {gateway.process.returncode} before it was ready")
        if peer.writes_port:
            gateway.port = int(port_file.read_text() or 0) if port_file.exists() else 0
        try:
            ask(gateway.port, peer, gateway.headers, stream=False)
        except (OSError, Refused) as error:
            reason = str(error) if isinstance(error, Refused) else type(error).__name__
            sleep(_POLL)
        else:
            gateway.ready_seconds = perf_counter() - started
            return
    _show_log(gateway)
    raise Absent(f"not ready within {_READY_WITHIN:.0f} s: {reason}")


def _show_log(gateway: Gateway) -> None:
    assert gateway.log is not None
    last = gateway.log.read_text(errors="replace").splitlines()[-20:]
    print(f"--- the end of what {gateway.peer.name} wrote", *last, "---", sep="\n", file=sys.stderr)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _group(leader: int) -> Iterable[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == leader:
                    yield int(entry.name)


def _resident(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0

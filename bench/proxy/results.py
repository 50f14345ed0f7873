"""What a run leaves behind: the JSON document, medians over its rounds, and the table on the terminal."""

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import msgspec

from bench.proxy.measure import Measurement, Settings

_QUIET = 0.05  # share of the gateway's core that may go to others without a warning


class PeerRun(msgspec.Struct, frozen=True):
    """One peer of the run; `absent` says why it was not measured, and then the rest is empty."""

    name: str
    package: str
    tuning: str
    absent: str | None = None
    ready_seconds: tuple[float, ...] = ()  # from exec to the first right answer, one for each start
    rss_bytes: int | None = None  # after its last run, all its processes together
    stream_events: int | None = None  # events with content that its stream had, of the mock's 64


class Machine(msgspec.Struct, frozen=True):
    """Where the run was made."""

    processor: str
    kernel: str
    python: str
    layout: str  # which core ran what


class Run(msgspec.Struct, frozen=True):
    """The whole document; latencies in microseconds."""

    machine: Machine
    settings: Settings
    peers: tuple[PeerRun, ...]
    measurements: tuple[Measurement, ...]

    def of(self, peer: str, case: str) -> list[Measurement]:
        return [each for each in self.measurements if each.peer == peer and each.case == case]

    def median_of(self, peer: str, case: str, read: Callable[[Measurement], float | None]) -> float | None:
        """Over the rounds; none where nothing was measured."""
        values = [value for each in self.of(peer, case) if (value := read(each)) is not None]
        return median(values) if values else None

    def added(self, peer: str, case: str, read: Callable[[Measurement], float | None]) -> float | None:
        """What a peer added to direct in the same round; the median over rounds."""
        return self._paired(peer, "direct", case, read, lambda mine, direct: mine - direct)

    def ratio(self, peer: str, other: str, case: str, read: Callable[[Measurement], float | None]) -> float | None:
        """One peer's figure divided by another's of the same round; the median over rounds."""
        return self._paired(peer, other, case, read, lambda mine, theirs: mine / theirs if theirs else None)

    def _paired(
        self,
        peer: str,
        other: str,
        case: str,
        read: Callable[[Measurement], float | None],
        combine: Callable[[float, float], float | None],
    ) -> float | None:
        theirs = {each.round: read(each) for each in self.of(other, case)}
        values = [
            value
            for each in self.of(peer, case)
            if (mine := read(each)) is not None
            and (their := theirs.get(each.round)) is not None
            and (value := combine(mine, their)) is not None
        ]
        return median(values) if values else None


def machine(layout: str) -> Machine:
    """This machine, without its name."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = models[0].partition(":")[2].strip() if models else platform.machine()
    return Machine(processor, platform.release(), platform.python_version(), layout)


def table(run: Run, cases: Sequence[str]) -> str:
    """A block of lines for each case, peers in the order of their throughput."""
    blocks = [_case_block(run, case) for case in cases]
    blocks.append(_peer_block(run))
    return "\n\n".join(blocks)


def _case_block(run: Run, case: str) -> str:
    stream = "-stream-" in case
    head = f"{case:<16}{'req/s':>9}{'p50':>11}{'+p50':>11}{'+p99':>11}{'cpu/req':>9}{'gw busy':>8}{'load busy':>10}"
    head += f"{'tokens/s':>11}{'+first':>11}" if stream else ""
    names = [peer.name for peer in run.peers if run.of(peer.name, case)]
    names.sort(key=lambda name: -(run.median_of(name, case, lambda m: m.requests_per_second) or 0))
    return "\n".join([head, *(_case_line(run, case, name, stream) for name in names)])


def _case_line(run: Run, case: str, name: str, stream: bool) -> str:
    def middle(read: Callable[[Measurement], float | None]) -> float | None:
        return run.median_of(name, case, read)

    line = f"{name:<16}{_number(middle(lambda m: m.requests_per_second)):>9}"
    line += f"{_number(middle(lambda m: m.latency_p50)):>11}"
    line += f"{_number(run.added(name, case, lambda m: m.latency_p50)):>11}"
    line += f"{_number(run.added(name, case, lambda m: m.latency_p99)):>11}"
    line += f"{_number(middle(lambda m: m.gateway_cpu_micros)):>9}{_percent(middle(lambda m: m.gateway_busy)):>8}"
    line += f"{_percent(middle(lambda m: m.load_busy + m.upstream_busy)):>10}"
    if stream:
        line += f"{_number(middle(lambda m: m.tokens_per_second)):>11}"
        line += f"{_number(run.added(name, case, lambda m: m.first_body_p50)):>11}"
    return line + _warnings(run.of(name, case))


def _warnings(measured: Sequence[Measurement]) -> str:
    errors: dict[str, int] = {}
    for each in measured:
        for reason, count in each.errors.items():
            errors[reason] = errors.get(reason, 0) + count
    texts = [f"  {count} x {reason}!" for reason, count in errors.items()]
    others = median(each.others_busy for each in measured)
    if others > _QUIET:
        texts.append(f"  others took {others:.0%} of the gateway's core!")
    return "".join(texts)


def _peer_block(run: Run) -> str:
    lines = [f"{'peer':<16}{'ready s':>9}{'RSS MB':>9}{'events':>8}  package"]
    for peer in run.peers:
        if peer.absent is not None:
            lines.append(f"{peer.name:<16}absent: {peer.absent}")
            continue
        ready = f"{median(peer.ready_seconds):.3f}" if peer.ready_seconds else "-"
        rss = f"{peer.rss_bytes / 1e6:.1f}" if peer.rss_bytes else "-"
        lines.append(f"{peer.name:<16}{ready:>9}{rss:>9}{peer.stream_events or '-':>8}  {peer.package}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"

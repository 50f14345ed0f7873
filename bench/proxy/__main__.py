"""`python -m bench.proxy`: install, start, measure, write, print."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path

import msgspec

from bench.proxy.bars import bars
from bench.proxy.cases import CASES, Case
from bench.proxy.check import Refused, ask
from bench.proxy.gateway import Cores, Gateway, choose_cores, start
from bench.proxy.install import Absent, install, plotting_python
from bench.proxy.measure import Measurement, Settings, mock_upstream, rounds
from bench.proxy.peers import BENCH, PEERS, Peer
from bench.proxy.results import PeerRun, Run, machine, table

_RESULTS = BENCH / "results" / "proxy.json"
_ALL_CASES = [case.name for case in CASES]


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that stopped peers do not outlive us
    arguments = _arguments()
    cases = [case for case in CASES if case.name in arguments.cases]
    settings = Settings(
        rounds=arguments.rounds,
        window=arguments.seconds,
        warmup=arguments.warmup,
        starts=arguments.starts,
        events_per_write=arguments.events_per_write,
    )
    cores = choose_cores()
    os.sched_setaffinity(0, {cores.load})  # we only wait, and must not do it on the gateway's core
    run = _run([PEERS[name] for name in arguments.peers], cases, settings, cores)
    print(table(run, [case.name for case in cases]))
    if "llmroute" in arguments.peers:
        print("", *(bar.line() for bar in bars(run)), sep="\n")
    complete = set(arguments.peers) == set(PEERS) and len(cases) == len(CASES)
    out = arguments.out or (_RESULTS if complete else None)
    if out is not None:
        _write(run, out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.proxy", description="Gateways side by side, one core each.")
    parser.add_argument("--peers", type=_names(PEERS), default=list(PEERS), help=f"of {','.join(PEERS)}")
    parser.add_argument("--cases", type=_names(_ALL_CASES), default=_ALL_CASES, help=f"of {','.join(_ALL_CASES)}")
    parser.add_argument("--seconds", type=float, default=2.0, help="measured in each run (default 2)")
    parser.add_argument("--warmup", type=float, default=0.5, help="seconds of load before that (default 0.5)")
    parser.add_argument("--rounds", type=int, default=5, help="medians are over these (default 5)")
    parser.add_argument("--starts", type=int, default=3, help="of each peer, for the time to ready (default 3)")
    parser.add_argument("--events-per-write", type=int, default=4, help="of the mock's streams (default 4)")
    parser.add_argument("--out", type=Path, help="JSON, with a plot beside it (default: bench/results/ if all is run)")
    return parser.parse_args()


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    allowed = list(known)

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(allowed)}")
        return chosen

    return parse


def _run(peers: Sequence[Peer], cases: Sequence[Case], settings: Settings, cores: Cores) -> Run:
    measurements: list[Measurement] = []
    with ExitStack() as ending, tempfile.TemporaryDirectory() as scratch:
        mock = ending.enter_context(mock_upstream(cores, settings.events_per_write))
        entries: dict[str, PeerRun] = {}
        gateways: list[Gateway] = []
        for peer in peers:
            try:
                gateway, entries[peer.name] = _bring_up(peer, mock, settings, cores, Path(scratch) / peer.name)
            except Absent as absent:
                _say(f"{peer.name}: absent: {absent}")
                entries[peer.name] = PeerRun(peer.name, peer.package, peer.tuning, absent=str(absent))
                continue
            ending.callback(gateway.stop)
            gateways.append(gateway)
        for measurement in rounds(gateways, cases, settings, cores, mock):
            measurements.append(measurement)
            entry = entries[measurement.peer]
            entries[measurement.peer] = msgspec.structs.replace(entry, rss_bytes=measurement.rss_bytes)
            rate = f"{measurement.requests_per_second:,.0f}/s"
            _say(f"round {measurement.round + 1} {measurement.case:<16} {measurement.peer:<12} {rate}")
        ending.close()
    return Run(machine(_layout(cores)), settings, tuple(entries.values()), tuple(measurements))


def _bring_up(peer: Peer, mock: Gateway, settings: Settings, cores: Cores, directory: Path) -> tuple[Gateway, PeerRun]:
    """Start a peer as often as asked, check its answers, and leave the last start frozen."""
    if not peer.command:
        return mock, PeerRun(peer.name, _version(peer), peer.tuning, stream_events=_checked(mock))
    _say(f"starting {peer.name}")
    installation = install(peer)
    ready: list[float] = []
    for number in range(settings.starts):
        gateway = start(peer, installation, mock.port, cores.gateway, directory / str(number))
        ready.append(gateway.ready_seconds or 0.0)
        if number + 1 < settings.starts:
            gateway.stop()
    try:
        events = _checked(gateway)
    except BaseException:
        gateway.stop()
        raise
    gateway.freeze()
    return gateway, PeerRun(peer.name, _version(peer), peer.tuning, ready_seconds=tuple(ready), stream_events=events)


def _checked(gateway: Gateway) -> int:
    try:
        return ask(gateway.port, gateway.peer, gateway.headers, stream=True)
    except (Refused, OSError) as error:
        raise Absent(f"streams wrongly: {error}") from error


def _version(peer: Peer) -> str:
    return f"llmroute {metadata.version('llmroute')}" if peer.package == "llmroute" else peer.package


def _layout(cores: Cores) -> str:
    shared = "the load generator and the mock upstream share another" if cores.load == cores.upstream else ""
    return f"the gateway has one core to itself, {shared or 'the load generator and the mock upstream one each'}"


def _write(run: Run, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
    _say(f"wrote {out}")
    try:
        python = plotting_python()
    except Absent as absent:
        _say(f"no plot: {absent}")
        return
    picture = out.with_suffix(".png")
    subprocess.run([str(python), str(BENCH / "proxy" / "plot.py"), str(out), str(picture)], check=True)
    _say(f"wrote {picture}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

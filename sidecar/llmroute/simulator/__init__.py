"""Simulated LLM providers on real sockets, for the demo, the tests and the benchmarks.

Here belongs all that makes a provider look real to a client: both dialects, latencies by distribution, limited
capacity, timetables of regime shifts, and faults. Deterministic: what a request meets depends on the seed, the provider
and the request's index (header `x-simulator-index`, else counted), not on the order of arrival.

Here does not belong: anything that routes, and any import from the rest of LLMRoute but ConfigError. A simulator that
shared code with the sidecar would share its misunderstandings, and the tests would not see them.

    spec, draws, timetable, capacity, answers, examples, faults, temper    pure: time and luck are arguments
    wire, openai/, anthropic/                                              dialects: bytes to asks, answers to bytes
    connection, listener, pace, play                                       sockets and timers
    provider, control, fleet                                               put together
"""

import argparse
import asyncio
import signal
from pathlib import Path

import uvloop

from llmroute.errors import ConfigError
from llmroute.simulator.fleet import Fleet, Member
from llmroute.simulator.spec import FleetSpec, load
from llmroute.simulator.temper import Command

__all__ = ["Command", "Fleet", "FleetSpec", "Member", "add_arguments", "load", "run", "simulate"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `llmroute simulate`."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="YAML with the providers, such as examples/simulated-providers.yaml"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM. Raises ConfigError for a wrong file or a port in use."""
    uvloop.run(simulate(_read(arguments.file)))
    return 0


async def simulate(spec: FleetSpec) -> None:
    """Runs a fleet until the process is told to stop. Raises ConfigError for a port in use."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Fleet.start(spec) as fleet:
        for member in fleet.values():
            print(f"{member.name:20} {member.spec.dialect:10} {member.url}", flush=True)
        await stop.wait()


def _read(path: Path) -> FleetSpec:
    try:
        return load(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read it: {error}", where=str(path)) from error

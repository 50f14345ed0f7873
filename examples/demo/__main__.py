"""`python -m examples.demo`, which is what `make demo` runs."""

import argparse
import asyncio
import signal
import sys
from random import Random

from examples.demo.acts import FAST, SECONDS, SHORTEST, Play
from examples.demo.ledger import Ledger
from examples.demo.screen import show
from examples.demo.stage import Failed, Stage, stage
from examples.demo.summary import summary
from examples.demo.table import WIDTH
from rich.console import Console

SEED = 7
"""Of when the app calls, and with what."""
FAILED, INTERRUPTED = 2, 130
"""Exit codes when the play was not performed to its end."""


def main() -> int:
    """Exit code 0: the app saw no error, 1: it did."""
    parser = argparse.ArgumentParser(
        prog="make demo",
        description="Simulated providers, a sidecar and live traffic: watch it route around trouble.",
        epilog='Through make: make demo ARGS="--seconds 120"',
    )
    parser.add_argument("--seconds", type=_seconds, default=SECONDS, help=f"length of the play (default {SECONDS:g})")
    parser.add_argument("--fast", dest="seconds", action="store_const", const=FAST, help=f"the same in {FAST:g} s")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    code = INTERRUPTED
    try:
        code = asyncio.run(_run(console, arguments.seconds))
    except* Failed as group:
        code = FAILED
        print("The demo cannot go on:", *group.exceptions, sep="\n", file=sys.stderr)
    except* (KeyboardInterrupt, asyncio.CancelledError):
        console.print("\nStopped.")
    return code


async def _run(console: Console, seconds: float) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with stage() as running:
        _introduce(console, running)
        from examples.demo.traffic import Traffic  # seconds, for two SDKs: not before the first words

        ledger = Ledger()
        play = Play(running, ledger, seconds)
        traffic = Traffic(running, ledger, play, Random(SEED))
        await traffic.warm_up()
        async with asyncio.TaskGroup() as group:
            group.create_task(play.perform())
            group.create_task(traffic.run())
            group.create_task(show(console, running, play, ledger))
        console.print(summary(play, ledger))
        if ledger.errors:
            print(f"\nThe sidecar's last words:\n{running.last_words()}")
    return 1 if ledger.errors else 0


def _introduce(console: Console, running: Stage) -> None:
    for port, taken in running.moved.items():
        console.print(f"Port {port} is in use: {taken} instead.", highlight=False)
    console.print(
        "Four simulated providers and a sidecar are running.\n"
        f"The app calls {running.app_url}/v1; see also {running.admin_url}/status\n"
        "Loading the SDKs ...\n",
        highlight=False,
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not SHORTEST <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"between {SHORTEST:g} and 3600")
    return seconds


if __name__ == "__main__":
    sys.exit(main())

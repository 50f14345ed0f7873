"""The play while it goes on: a live picture on a terminal, a line now and then anywhere else."""

import asyncio
from time import monotonic

from examples.demo.acts import ACTS, Play
from examples.demo.ledger import Ledger
from examples.demo.stage import Stage
from examples.demo.table import Moment, line, picture
from rich.console import Console
from rich.live import Live

REDRAWN_EVERY = 0.25
LINES = 20
"""Lines that are written over the whole play where nothing can be redrawn."""


async def show(console: Console, stage: Stage, play: Play, ledger: Ledger) -> None:
    """Shows the play until it is over."""
    if console.is_terminal and not console.is_dumb_terminal:
        await _live(console, stage, play, ledger)
    else:
        await _lines(console, stage, play, ledger)


async def _live(console: Console, stage: Stage, play: Play, ledger: Ledger) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not play.over.is_set():
            moment = Moment(play, ledger, await stage.status(), monotonic())
            live.update(picture(moment, console.width), refresh=True)
            await asyncio.sleep(REDRAWN_EVERY)


async def _lines(console: Console, stage: Stage, play: Play, ledger: Ledger) -> None:
    act = -1
    while not play.over.is_set():
        moment = Moment(play, ledger, await stage.status(), monotonic())
        if act != play.act:
            act = play.act
            console.print(f"\n{act + 1}/{len(ACTS)} {ACTS[act].name}: {play.story}", highlight=False)
        elif ledger.calls:
            console.print(line(moment), highlight=False, soft_wrap=True)
        await asyncio.sleep(play.seconds / LINES)

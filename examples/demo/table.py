"""One picture of a moment: targets, latest decisions, the act. Only the terminal's own colours, and those that can be
read on dark and on light alike."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from examples.demo.acts import ACTS, Play
from examples.demo.ledger import APP, Call, Ledger, percentile, share, waits
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

WIDTH = 100
"""Columns; narrower terminals fold it."""
BAR = 10
STATES = {"healthy": "green", "probation": "magenta", "limited": "magenta", "ejected": "bold red"}
KINDS = {"stream": "OpenAI SDK, stream", "whole": "OpenAI SDK, whole", "anthropic": "Anthropic SDK, stream"}
LATEST = 3
"""Decisions shown of each sort."""


class Moment(NamedTuple):
    """What there is to show. `targets`: those of /status; `now` on the monotonic clock."""

    play: Play
    ledger: Ledger
    targets: dict[str, dict[str, Any]]
    now: float


def picture(moment: Moment) -> RenderableType:
    """Everything, for a terminal that is redrawn."""
    return Group(_heading(moment.play), Text(), _targets(moment), Text(), _decisions(moment), Text(), _app(moment))


def line(moment: Moment) -> str:
    """The same in one line, for output that is kept."""
    recent = moment.ledger.recent(APP, moment.now)
    shares = share(recent)
    parts = [
        f"{name} {target['state']} {shares.get(name, 0.0):.0%} {_pair(_of(recent, name)) or '-'}"
        for name, target in moment.targets.items()
    ]
    act, errors = ACTS[moment.play.act].name, len(moment.ledger.errors)
    return f"{moment.play.elapsed:3.0f} s  {act:9}  {' | '.join(parts)} | app errors {errors}"


def _heading(play: Play) -> RenderableType:
    act = ACTS[play.act]
    done = min(play.elapsed / play.seconds, 1.0)
    line = Table.grid(expand=True)
    line.add_column(ratio=1)
    line.add_column(justify="right")
    line.add_row(
        Text.assemble((f" {play.act + 1}/{len(ACTS)} {act.name} ", "bold reverse"), " ", play.story),
        f"{done * play.seconds:.0f} of {play.seconds:.0f} s",
    )
    return Group(line, Text("━" * round(WIDTH * done), style="green", no_wrap=True, overflow="crop"))


def _targets(moment: Moment) -> RenderableType:
    table = _table(
        ("target\n", 6, "left"),
        ("provider\n", 12, "left"),
        ("state\n", 9, "left"),
        ("share of the\nlast 10 s", BAR + 5, "left"),
        ("app waits\np50  p95", 9, "right"),
        ("directly\np50  p95", 9, "right"),
        ("/status\np50  p95", 9, "right"),
        ("in\nflight", 6, "right"),
        ("failed", 6, "right"),
    )
    recent = moment.ledger.recent(APP, moment.now)
    shares = share(recent)
    for name, target in moment.targets.items():
        ttft = target["latency"].get("ttft", {})
        table.add_row(
            Text(name, style="bold"),
            target["provider"],
            Text(target["state"], style=STATES.get(target["state"], "")),
            _bar(shares.get(name, 0.0)),
            _pair(_of(recent, name)),
            _direct(moment.ledger.recent(name, moment.now)),
            _milliseconds(ttft.get("p50"), ttft.get("p95")),
            str(target["inFlight"]),
            Text(str(target["errors"]), style="red" if target["errors"] else ""),
        )
    table.add_row("all", "", "", "", _pair(recent), style="bold")
    return table


def _of(calls: Sequence[Call], target: str) -> list[Call]:
    return [call for call in calls if call.target == target]


def _bar(part: float) -> Text:
    return Text.assemble(("█" * round(BAR * part)).ljust(BAR), f"{part:5.0%}")


def _pair(calls: Sequence[Call]) -> str:
    seconds = waits(calls)
    return _milliseconds(percentile(seconds, 50), percentile(seconds, 95))


def _direct(probes: Sequence[Call]) -> str | Text:
    if probes and probes[-1].error:
        return Text("fails", style="bold red")
    return _pair(probes)


def _milliseconds(middle: float | None, high: float | None) -> str:
    return "" if middle is None or high is None else f"{middle * 1000:4.0f} {high * 1000:4.0f}"


def _decisions(moment: Moment) -> RenderableType:
    calls = moment.ledger.app()
    failovers = [call for call in calls if ", " in call.attempts]
    table = _table(
        ("latest decisions", 22, "left"),
        ("x-llmroute-target", 17, "left"),
        ("-reason", 8, "left"),
        ("-attempts", 30, "left"),
        ("waited", 7, "right"),
    )
    for call in calls[-LATEST:]:
        _add(table, call)
    table.add_row(Text(f"latest of {len(failovers)} failovers", style="bold"))
    for call in failovers[-LATEST:]:
        _add(table, call)
    for _ in range(LATEST - len(failovers)):
        table.add_row("")
    return table


def _add(table: Table, call: Call) -> None:
    waited = "" if call.wait is None else f"{call.wait * 1000:.0f} ms"
    style = "bold red" if call.error else ""
    table.add_row(
        KINDS[call.ask.kind], call.target, call.reason, Text(call.error or call.attempts, style=style), waited
    )


def _app(moment: Moment) -> RenderableType:
    calls, errors = len(moment.ledger.app()), len(moment.ledger.errors)
    return Group(
        Text.assemble(
            ("the app made ", "bold"), f"{calls} calls and saw ",
            (f"{errors} errors", "bold red" if errors else "bold green"),
        ),
        Text("p50, p95: ms to the first token of streams. directly: the same requests, without LLMRoute", style="dim"),
    )  # fmt: skip


def _table(*columns: tuple[str, int, JustifyMethod]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header, width, justify in columns:
        table.add_column(header, width=width, justify=justify, no_wrap=True)
    return table

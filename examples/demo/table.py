"""One picture of a moment: targets, latest decisions, the act. Only the terminal's own colours, and those that can be
read on dark and on light alike."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from examples.demo.acts import ACTS, Play
from examples.demo.ledger import APP, Call, Ledger, percentile, share, waits
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

WIDTH = 100
"""Columns of a terminal that shows everything; narrower ones, down to 80, lack some of the table's."""
BAR = 10
STATES = {"healthy": "green", "probation": "magenta", "limited": "magenta", "ejected": "bold red"}
KINDS = {"stream": "OpenAI, stream", "whole": "OpenAI, whole", "anthropic": "Anthropic, stream"}
LATEST = 3
"""Decisions shown of each sort."""


class Moment(NamedTuple):
    """What there is to show. `targets`: those of /status; `now` on the monotonic clock."""

    play: Play
    ledger: Ledger
    targets: dict[str, dict[str, Any]]
    now: float


class Column(NamedTuple):
    """A column of a table; `optional`: only where there is room."""

    header: str
    width: int
    justify: JustifyMethod = "left"
    optional: bool = False


TARGETS = (
    Column("target\n", 6),
    Column("provider\n", 12),
    Column("state\n", 9),
    Column("share of the\nlast 10 s", BAR + 5),
    Column("app waits\np50  p95", 9, "right"),
    Column("directly\np50  p95", 9, "right"),
    Column("/status\np50  p95", 9, "right", optional=True),
    Column("in\nflight", 6, "right", optional=True),
    Column("failed", 6, "right"),
)
DECISIONS = (
    Column("latest decisions", 17),
    Column("x-llmroute-target", 17),
    Column("-reason", 8, optional=True),
    Column("-attempts", 30),
    Column("waited", 7, "right"),
)
Row = Sequence[RenderableType]


def picture(moment: Moment, width: int) -> RenderableType:
    """Everything, for a terminal that is redrawn, of so many columns."""
    return Group(
        _heading(moment.play, width),
        Text(),
        _table(TARGETS, _targets(moment), width),
        Text(),
        _table(DECISIONS, _decisions(moment), width),
        Text(),
        _app(moment),
    )


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


def _heading(play: Play, width: int) -> RenderableType:
    act = ACTS[play.act]
    done = min(play.elapsed / play.seconds, 1.0)
    line = Table.grid(expand=True)
    line.add_column(ratio=1)
    line.add_column(justify="right")
    line.add_row(
        Text.assemble((f" {play.act + 1}/{len(ACTS)} {act.name} ", "bold reverse"), " ", play.story),
        f"{done * play.seconds:.0f} of {play.seconds:.0f} s",
    )
    return Group(line, Text("━" * round(min(width, WIDTH) * done), style="green"))


def _targets(moment: Moment) -> Iterator[Row]:
    recent = moment.ledger.recent(APP, moment.now)
    shares = share(recent)
    for name, target in moment.targets.items():
        ttft = target["latency"].get("ttft", {})
        yield (
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
    yield Text("all", style="bold"), "", "", "", Text(_pair(recent), style="bold"), "", "", "", ""


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


def _decisions(moment: Moment) -> Iterator[Row]:
    calls = moment.ledger.app()
    failovers = [call for call in calls if ", " in call.attempts]
    nothing = [""] * len(DECISIONS)
    yield from map(_decision, calls[-LATEST:])
    yield [Text(f"{len(failovers)} failovers", style="bold"), *nothing[1:]]
    yield from map(_decision, failovers[-LATEST:])
    yield from [nothing] * (LATEST - len(failovers))


def _decision(call: Call) -> Row:
    waited = "" if call.wait is None else f"{call.wait * 1000:.0f} ms"
    attempts = Text(call.error or call.attempts, style="bold red" if call.error else "")
    return KINDS[call.ask.kind], call.target, call.reason, attempts, waited


def _app(moment: Moment) -> RenderableType:
    calls, errors = len(moment.ledger.app()), len(moment.ledger.errors)
    return Group(
        Text.assemble(
            ("the app made ", "bold"), f"{calls} calls and saw ",
            (f"{errors} errors", "bold red" if errors else "bold green"),
        ),
        Text("p50, p95: ms to the first token; directly: same requests without LLMRoute", style="dim"),
    )  # fmt: skip


def _table(columns: Sequence[Column], rows: Iterable[Row], width: int) -> Table:
    shown = [number for number, column in enumerate(columns) if width >= WIDTH or not column.optional]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number in shown:
        column = columns[number]
        table.add_column(column.header, width=column.width, justify=column.justify, no_wrap=True)
    for row in rows:
        table.add_row(*(row[number] for number in shown))
    return table

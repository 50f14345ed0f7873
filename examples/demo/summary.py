"""What routing was worth, measured: LLMRoute beside each provider asked directly, with the same requests."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from examples.demo.acts import ACTS, OUTAGE, RECOVERY, Play
from examples.demo.ledger import APP, Call, Ledger, percentile, share, waits
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Pair = tuple[Call, Call]
"""The same request through LLMRoute and straight to a provider, sent at the same moment."""


MOST_ERRORS = 5
"""Different errors that are shown."""


class Saved(NamedTuple):
    """LLMRoute against one provider, over the pairs."""

    waited: float
    """Seconds that the provider took, where both answered."""
    saved: float
    """Seconds of those that LLMRoute spared; negative if it took longer."""
    failures: int
    """Requests that the provider failed and LLMRoute answered."""


def summary(play: Play, ledger: Ledger) -> RenderableType:
    """The end of the demo."""
    through = {call.ask.number: call for call in ledger.app() if call.ask.probed}
    pairs: dict[str, list[Pair]] = {name: [] for name in play.providers}
    for call in ledger.calls:
        if call.asked != APP and call.ask.number in through:
            pairs[call.asked].append((through[call.ask.number], call))
    return Group(
        Text.assemble(
            ("\nWhat it was worth. ", "bold"),
            f"{len(through)} streams were sent twice: through LLMRoute, and at the same moment straight to each "
            "provider. First token in milliseconds, p50/p95:",
        ),
        Text(),
        _waits(list(through.values()), pairs),
        Text(),
        _savings(pairs),
        Text(),
        _shares(play, ledger),
        Text(),
        _app(play, ledger),
    )


def compare(pairs: Sequence[Pair]) -> Saved:
    """What LLMRoute spared its app."""
    answered = [
        (app.wait, direct.wait)
        for app, direct in pairs
        if app.wait is not None and direct.wait is not None and not app.error and not direct.error
    ]
    waited = sum(direct for _, direct in answered)
    failures = sum(bool(direct.error) and not app.error for app, direct in pairs)
    return Saved(waited, waited - sum(app for app, _ in answered), failures)


def _waits(through: list[Call], pairs: dict[str, list[Pair]]) -> RenderableType:
    table = _table("first token", *(act.name for act in ACTS), "all")
    table.add_row("LLMRoute", *_by_act(through), style="bold")
    for name, both in pairs.items():
        table.add_row(f"always {name}", *_by_act([direct for _, direct in both]))
    return table


def _by_act(calls: list[Call]) -> list[str]:
    acts = [[call for call in calls if call.ask.act == number] for number in range(len(ACTS))]
    return [_milliseconds(waits(each)) for each in (*acts, calls)]


def _milliseconds(seconds: list[float]) -> str:
    middle, high = percentile(seconds, 50), percentile(seconds, 95)
    return "-" if middle is None or high is None else f"{middle * 1000:.0f}/{high * 1000:4.0f}"


def _savings(pairs: dict[str, list[Pair]]) -> RenderableType:
    table = _table("instead of", "waiting saved where both answered", "failures avoided")
    for name, both in pairs.items():
        waited, saved, failures = compare(both)
        part = saved / waited if waited else 0.0
        table.add_row(f"always {name}", f"{saved:.1f} s of {waited:.1f} s = {part:.0%}", f"{failures} of {len(both)}")
    return table


def _shares(play: Play, ledger: Ledger) -> RenderableType:
    remarks = {play.slowed: "slow: acts 2-3", play.killed: "dead: acts 3-4"}
    table = _table("who answered", *(act.name for act in ACTS), "")
    acts = [share(ledger.app(act=number)) for number in range(len(ACTS))]
    for name in play.providers:
        table.add_row(name, *(f"{act.get(name, 0.0):.0%}" for act in acts), remarks.get(name, ""))
    return table


def _app(play: Play, ledger: Ledger) -> RenderableType:
    app = ledger.app()
    kinds = Counter(call.ask.kind for call in app)
    failed = sum(not attempt.endswith(":ok") for attempt in _attempts(app))
    dead = [*ledger.app(act=OUTAGE), *ledger.app(act=RECOVERY)]
    trials = sum(attempt.startswith(f"{play.killed}:") for attempt in _attempts(dead))
    errors = ledger.errors
    told = Text.assemble(
        f"The app made {len(app)} calls: {kinds['stream']} streams and {kinds['whole']} others with the OpenAI SDK, "
        f"{kinds['anthropic']} streams with Anthropic's. "
        f"{failed} attempts failed at providers, {trials} of them at {play.killed} while it was dead.\n",
        (f"The app saw {len(errors)} errors.", "bold red" if errors else "bold green"),
    )
    for error, count in Counter(call.error for call in errors).most_common(MOST_ERRORS):
        told.append(f"\n{count} x {error}", style="red")
    return told


def _attempts(calls: list[Call]) -> list[str]:
    return [attempt for call in calls for attempt in call.attempts.split(", ") if attempt]


def _table(first: str, *headers: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(first, min_width=12)
    for header in headers:
        table.add_column(header, justify="right" if header else "left", min_width=8 if header else 0)
    return table

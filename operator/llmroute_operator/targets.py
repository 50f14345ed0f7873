"""A route's targets as its sidecars see them together. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from llmroute.spec import LLMRoute
from llmroute.status import TargetState
from llmroute_operator.measures import merged_p95, printable, written_seconds, written_share
from llmroute_operator.reports import Contact, Quantiles, TargetReport

FRESH = 300.0
"""Seconds that a report counts for numbers: as long as the sidecars' own windows look back."""
SAMPLE = 50
"""How many of the newest reports are looked at: what these do not show, more would not."""
VOTERS = 5
"""How many of the newest reports decide about a target's state. Large routes are only sampled, ten a minute: among
these, a change shows within half a minute, while older reports still tell of what was before."""

AVAILABLE = "available"
STATES: dict[str, TargetState] = {
    "healthy": "Healthy",
    "limited": "Limited",
    "probation": "Probation",
    "ejected": "Ejected",
}
_BEST_FIRST = ("healthy", "probation", "limited", "ejected")


class View(Struct, frozen=True):
    """One sidecar's view of one declared target, the addresses of `endpoints: each` taken together."""

    age: float
    state: str
    reason: str
    key: str
    attempts: int
    """Since the sidecar's report before, or since it started."""
    used: bool
    ttft: tuple[Quantiles, ...]


class Seen(Struct, frozen=True):
    """A declared target as all sidecars see it."""

    name: str
    state: TargetState
    reason: str
    """Empty for a healthy one."""
    voters: int
    """How many sidecars the state is from."""
    votes: int
    """How many of them say so."""
    ttft_p95: str | None
    share: str | None


def seen_targets(declared: LLMRoute, contacts: Sequence[Contact], *, numbers: bool) -> tuple[list[Seen], str | None]:
    """Each declared target, and the p95 of the time to first token over all of them; the newest SAMPLE reports count.
    `numbers`: whether they are wanted; states always are, and cost little."""
    newest = sorted(contacts, key=lambda contact: contact.age)[:SAMPLE]
    views = _views(declared, newest)
    if not numbers:
        return [Seen(name, *_state(each), None, None) for name, each in views.items()], None
    fresh = {name: [view for view in each if view.age <= FRESH] for name, each in views.items()}
    attempts = {name: sum(view.attempts for view in each) for name, each in fresh.items()}
    total = sum(attempts.values())
    parts = {name: [part for view in each for part in view.ttft] for name, each in fresh.items()}
    seen = []
    for name, each in views.items():
        share = written_share(attempts[name] / total) if total else None
        seen.append(Seen(name, *_state(each), written_seconds(merged_p95(parts[name])), share))
    return seen, written_seconds(merged_p95([part for each in parts.values() for part in each]))


def missing_keys(declared: LLMRoute, contacts: Sequence[Contact]) -> list[tuple[str, str, int]]:
    """Targets whose key some sidecars miss: name, what one of these says, how many say it. All reports count: a key may
    be missing in a single pod."""
    uid = declared.metadata.uid
    said: dict[str, list[str]] = {target.name: [] for target in declared.spec.targets}
    for contact in contacts:
        reports = contact.report.targets_of(uid) if contact.report is not None else ()
        lacking = {_declared_as(report): report.credential for report in reports if report.credential != AVAILABLE}
        for name, words in lacking.items():
            if name in said:
                said[name].append(words)
    return [(name, printable(words[0], 256), len(words)) for name, words in said.items() if words]


def _views(declared: LLMRoute, contacts: Sequence[Contact]) -> dict[str, list[View]]:
    uid = declared.metadata.uid
    views: dict[str, list[View]] = {target.name: [] for target in declared.spec.targets}
    for contact in contacts:
        if contact.report is None:
            continue
        before = {one.name: one.attempts for one in contact.before.targets_of(uid)} if contact.before else {}
        for name, mine in _by_target(contact.report.targets_of(uid)).items():
            if name in views:
                views[name].append(_view(mine, before, contact.age))
    return views


def _by_target(reports: Sequence[TargetReport]) -> dict[str, list[TargetReport]]:
    """The reports about each declared target: with `endpoints: each`, those about its addresses."""
    grouped: dict[str, list[TargetReport]] = {}
    for report in reports:
        grouped.setdefault(_declared_as(report), []).append(report)
    return grouped


def _declared_as(report: TargetReport) -> str:
    return report.declared_as or report.name


def _view(mine: Sequence[TargetReport], before: Mapping[str, int], age: float) -> View:
    best = min(mine, key=lambda each: _BEST_FIRST.index(each.state) if each.state in _BEST_FIRST else -1)
    attempts = 0
    for each in mine:
        earlier = before.get(each.name, 0)
        attempts += each.attempts - earlier if each.attempts >= earlier else each.attempts  # it was started anew
    return View(
        age,
        best.state,
        best.reason,
        next((each.credential for each in mine if each.credential != AVAILABLE), AVAILABLE),
        attempts,
        any(each.attempts for each in mine) or best.state != "healthy",
        tuple(each.latency.ttft for each in mine if each.latency.ttft is not None),
    )


def _state(views: Sequence[View]) -> tuple[TargetState, str, int, int]:
    """State, reason, voters, votes. A sidecar that never used the target has no opinion, unless none has used it."""
    if not views:
        return "Unknown", "", 0, 0
    voters = sorted((view for view in views if view.used), key=lambda view: view.age)[:VOTERS] or views[:VOTERS]
    lacking = [view for view in voters if view.key != AVAILABLE]
    if 2 * len(lacking) > len(voters):
        return "NoKey", printable(lacking[0].key, 256), len(voters), len(lacking)
    unwell = [view for view in voters if view.state in STATES and view.state != "healthy"]
    if 2 * len(unwell) <= len(voters):
        return "Healthy", "", len(voters), len(voters) - len(unwell)
    ejected = [view for view in unwell if view.state == "ejected"]
    if 2 * len(ejected) > len(voters):
        return "Ejected", printable(ejected[0].reason, 256), len(voters), len(ejected)
    state = Counter(view.state for view in unwell if view.state != "ejected").most_common(1)[0][0]
    votes = [view for view in unwell if view.state == state]
    return STATES[state], printable(votes[0].reason, 256), len(voters), len(votes)

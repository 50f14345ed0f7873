"""A route's targets as its sidecars see them together. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from llmroute.spec import LLMRoute, Target
from llmroute.status import TargetState
from llmroute_operator.measures import merged_p95, printable, written_seconds, written_share
from llmroute_operator.reports import Contact, Quantiles, TargetReport

FRESH = 300.0
"""Seconds that a report counts for numbers: as long as the sidecars' own windows look back."""
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


def seen_targets(declared: LLMRoute, contacts: Sequence[Contact]) -> tuple[list[Seen], str | None]:
    """Each declared target, and the p95 of the time to first token over all of them."""
    views = {target.name: list(_views(declared, target, contacts)) for target in declared.spec.targets}
    fresh = {name: [view for view in each if view.age <= FRESH] for name, each in views.items()}
    attempts = {name: sum(view.attempts for view in each) for name, each in fresh.items()}
    total = sum(attempts.values())
    parts = {name: [part for view in each for part in view.ttft] for name, each in fresh.items()}
    seen = []
    for name, each in views.items():
        state, reason, voters, votes = _state(each)
        share = written_share(attempts[name] / total) if total else None
        p95 = written_seconds(merged_p95(parts[name]))
        seen.append(Seen(name, state, reason, voters, votes, p95, share))
    return seen, written_seconds(merged_p95([part for each in parts.values() for part in each]))


def missing_keys(declared: LLMRoute, contacts: Sequence[Contact]) -> Iterator[tuple[str, str, int]]:
    """Targets whose key some sidecars miss: name, what one of these says, how many say it."""
    for target in declared.spec.targets:
        said = [view.key for view in _views(declared, target, contacts) if view.key != AVAILABLE]
        if said:
            yield target.name, printable(said[0], 256), len(said)


def _views(declared: LLMRoute, target: Target, contacts: Sequence[Contact]) -> Iterator[View]:
    uid = declared.metadata.uid
    for contact in contacts:
        if contact.report is None:
            continue
        mine = _of(target, contact.report.targets_of(uid))
        if mine:
            before = _of(target, contact.before.targets_of(uid)) if contact.before is not None else []
            yield _view(mine, before, contact.age)


def _of(target: Target, reports: Sequence[TargetReport]) -> list[TargetReport]:
    """The reports about one declared target: with `endpoints: each`, those about its addresses."""
    return [report for report in reports if (report.declared_as or report.name) == target.name]


def _view(mine: Sequence[TargetReport], before: Sequence[TargetReport], age: float) -> View:
    best = min(mine, key=lambda each: _BEST_FIRST.index(each.state) if each.state in _BEST_FIRST else -1)
    counted = {each.name: each.attempts for each in before}
    attempts = 0
    for each in mine:
        earlier = counted.get(each.name, 0)
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

"""What the operator reports of each route: its status, and events for what changed. Pure: the status that was written
last is the only memory, so a new leader goes on where the old one stopped.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from llmroute.spec import LLMRoute
from llmroute.status import LONGEST_MESSAGE, Condition, LLMRouteStatus, SidecarCount, Summary, TargetStatus
from llmroute_operator.delivery import Delivery, delivery, programmed, resolved_refs
from llmroute_operator.measures import NONE, notable, printable
from llmroute_operator.pods import Pod
from llmroute_operator.reports import Contact
from llmroute_operator.targets import Seen, seen_targets
from llmroute_operator.verdicts import Aspect, Verdict

Object = Mapping[str, Any]
AT_MOST_EVERY = 60.0
"""Seconds between two changes of the numbers."""
OURS = ("Accepted", "ResolvedRefs", "Programmed", "Autoscaling")
USABLE = ("Healthy", "Probation")
EJECTED = ("Ejected", "Probation")
_STATES: Mapping[bool | None, Literal["True", "False", "Unknown"]] = {True: "True", False: "False", None: "Unknown"}
_KNOWN = {state: known for known, state in _STATES.items()}


class Event(Struct, frozen=True):
    """An event to record about a route."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


class StatusChange(Struct, frozen=True):
    """What to write. `status`: whole; every member of it is there or was never there, so that a merge patch does."""

    name: str
    status: dict[str, Any]
    events: tuple[Event, ...]


class Scene(Struct, frozen=True):
    """What a namespace's routes are judged by. `contacts`: by pod name. `autoscaling`: by the route's uid."""

    pods: Sequence[Pod]
    contacts: Mapping[str, Contact]
    namespace_labels: Mapping[str, str]
    autoscaling: Mapping[str, Aspect] = {}


def statuses(
    now: datetime, routes: Sequence[Object], verdicts: Mapping[str, Verdict], scene: Scene
) -> list[StatusChange]:
    """The routes whose status is not as it should be, by what was written last (`status` of each)."""
    changes = []
    for route in routes:
        verdict = verdicts.get(route["metadata"]["uid"])
        if verdict is not None:
            before = _before(route)
            status, events = _status(now, route, verdict, scene, before)
            if status != before or events:
                changes.append(StatusChange(route["metadata"]["name"], msgspec.to_builtins(status), tuple(events)))
    return changes


def _before(route: Object) -> LLMRouteStatus:
    """What was written last; as if nothing, where it is not of our shape."""
    try:
        return msgspec.convert(route.get("status") or {}, LLMRouteStatus)
    except msgspec.ValidationError:
        return LLMRouteStatus()


def _status(
    now: datetime, route: Object, verdict: Verdict, scene: Scene, before: LLMRouteStatus
) -> tuple[LLMRouteStatus, list[Event]]:
    metadata = route["metadata"]
    uid, generation = metadata["uid"], metadata.get("generation") or 0
    found = delivery(metadata, verdict.workloads, scene.pods, scene.contacts, scene.namespace_labels)
    aspects = {"Accepted": verdict.accepted, "ResolvedRefs": resolved_refs(verdict, found)}
    aspects["Programmed"] = programmed(verdict, generation, found, _was_programmed(before, generation))
    if uid in scene.autoscaling:
        aspects["Autoscaling"] = scene.autoscaling[uid]
    elif (route.get("spec") or {}).get("autoscaling") and (old := _condition(before, "Autoscaling")) is not None:
        aspects["Autoscaling"] = Aspect(_KNOWN[old.status], old.reason, old.message)  # it could not be looked at
    conditions = _conditions(now, generation, aspects, before)
    measured = _measured(now, verdict.declared, found, before)
    ready = _ready(conditions)
    status = LLMRouteStatus(
        observed_generation=generation,
        conditions=conditions,
        sidecars=SidecarCount(desired=found.desired, current=len(found.current), missing=len(found.missing)),
        targets=measured.targets,
        measured_at=measured.at,
        summary=Summary(
            ready=ready,
            targets=_usable(measured.targets, verdict.declared),
            sidecars=f"{len(found.current)}/{found.desired}",
            ttft_p95=measured.ttft_p95,
            models=_models(route),
        ),
    )
    return status, list(_events(generation, before, status, measured.seen, found))


def _was_programmed(before: LLMRouteStatus, generation: int) -> bool:
    condition = _condition(before, "Programmed")
    return condition is not None and condition.status == "True" and condition.observed_generation == generation


def _condition(status: LLMRouteStatus, kind: str) -> Condition | None:
    return next((each for each in status.conditions if each.type == kind), None)


def _conditions(
    now: datetime, generation: int, aspects: Mapping[str, Aspect], before: LLMRouteStatus
) -> tuple[Condition, ...]:
    """Ours, and after them those that somebody else put there."""
    made = []
    for kind, aspect in aspects.items():
        old = _condition(before, kind)
        status = _STATES[aspect.ok]
        since = old.last_transition_time if old is not None and old.status == status else _written(now)
        message = printable(aspect.message, LONGEST_MESSAGE)
        made.append(
            Condition(
                type=kind,
                status=status,
                reason=aspect.reason,
                message=message,
                last_transition_time=since,
                observed_generation=generation,
            )
        )
    return (*made, *(each for each in before.conditions if each.type not in OURS))


def _written(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ready(conditions: Sequence[Condition]) -> str:
    states = [each.status for each in conditions if each.type in OURS[:3]]
    return "False" if "False" in states else "Unknown" if "Unknown" in states else "True"


class _Measured(Struct, frozen=True):
    targets: tuple[TargetStatus, ...]
    ttft_p95: str
    at: str | None
    seen: Sequence[Seen]


def _measured(now: datetime, declared: LLMRoute | None, found: Delivery, before: LLMRouteStatus) -> _Measured:
    """States as they are; numbers as they were, unless it is time to write them anew."""
    old_ttft = before.summary.ttft_p95 if before.summary is not None else NONE
    if declared is None:  # nothing says which targets there are: what was seen last may stand
        return _Measured(before.targets, old_ttft, before.measured_at, ())
    due = before.measured_at is None or _elapsed(now, before.measured_at) >= AT_MOST_EVERY
    seen, ttft = seen_targets(declared, found.contacts, numbers=due)
    old = {target.name: target for target in before.targets}
    anew = due and (any(_notable(old.get(each.name), each) for each in seen) or notable(_or_none(old_ttft), ttft))
    targets = tuple(
        TargetStatus(
            name=each.name,
            state=each.state,
            reason=each.reason or None,
            ttft_p95=each.ttft_p95 if anew else old[each.name].ttft_p95 if each.name in old else None,
            share=each.share if anew else old[each.name].share if each.name in old else None,
        )
        for each in seen
    )
    if anew:
        return _Measured(targets, ttft or NONE, _written(now), seen)
    return _Measured(targets, old_ttft, before.measured_at, seen)


def _notable(old: TargetStatus | None, seen: Seen) -> bool:
    if old is None:
        return seen.ttft_p95 is not None or seen.share is not None
    return notable(old.ttft_p95, seen.ttft_p95) or notable(old.share, seen.share)


def _or_none(text: str) -> str | None:
    return None if text == NONE else text


def _elapsed(now: datetime, written: str) -> float:
    try:
        elapsed = (now - datetime.fromisoformat(written)).total_seconds()
    except (ValueError, TypeError):
        return AT_MOST_EVERY
    return elapsed if elapsed >= 0 else AT_MOST_EVERY  # somebody's clock was wrong


def _usable(targets: Sequence[TargetStatus], declared: LLMRoute | None) -> str:
    if declared is None and not targets:
        return NONE
    if all(target.state == "Unknown" for target in targets):
        return f"{NONE}/{len(targets)}"
    return f"{sum(target.state in USABLE for target in targets)}/{len(targets)}"


def _models(route: Object) -> str:
    models = (route.get("spec") or {}).get("models") or [route["metadata"]["name"]]
    return printable(", ".join(map(str, models)), 256)


def _events(
    generation: int, before: LLMRouteStatus, status: LLMRouteStatus, seen: Sequence[Seen], found: Delivery
) -> Iterator[Event]:
    accepted, earlier = _condition(status, "Accepted"), _condition(before, "Accepted")
    if accepted is not None and not _same(accepted, earlier):
        if accepted.status == "True":
            yield Event("Normal", "Accepted", f"Generation {generation} is accepted.")
        else:
            yield Event("Warning", accepted.reason, accepted.message)
    for kind in ("ResolvedRefs", "Autoscaling"):
        condition, earlier = _condition(status, kind), _condition(before, kind)
        if condition is not None and condition.status == "False" and not _same(condition, earlier):
            yield Event("Warning", condition.reason, condition.message)
    yield from _target_events(before, seen)
    missed = before.sidecars.missing if before.sidecars is not None else 0
    if len(found.missing) > missed:
        names = ", ".join(sorted(pod.name for pod in found.missing)[:10])
        yield Event(
            "Warning",
            "SidecarMissing",
            f"{len(found.missing)} pods ask for a sidecar and have none ({names}): they were created while no injector "
            "answered, or before they were labelled. Create them anew (kubectl rollout restart).",
        )


def _same(one: Condition, other: Condition | None) -> bool:
    """Whether people have been told this already."""
    if other is None or one.status != other.status or one.observed_generation != other.observed_generation:
        return False
    return one.status == "True" or one.reason == other.reason


def _target_events(before: LLMRouteStatus, seen: Sequence[Seen]) -> Iterator[Event]:
    """What most sidecars see. A target on trial was ejected before, be it between two looks; whether it is well is
    told when the trial is over."""
    old = {target.name: target.state for target in before.targets}
    for each in seen:
        was = old.get(each.name)
        by = f"as {each.votes} of the {each.voters} sidecars asked last see it"
        if each.state in EJECTED and was not in EJECTED:
            how = "is not used for now" if each.state == "Ejected" else "was ejected and is on trial"
            yield Event("Warning", "TargetEjected", f"Target {each.name!r} {how} ({each.reason}), {by}.")
        elif each.state == "Healthy" and was in EJECTED:
            yield Event("Normal", "TargetRecovered", f"Target {each.name!r} is well again, {by}.")

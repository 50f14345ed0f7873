"""How far a route has come: its sidecars, and the conditions that depend on what they say. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from llmroute.workloads import LabelSelector
from llmroute_operator import names
from llmroute_operator.measures import printable
from llmroute_operator.pods import Pod
from llmroute_operator.polling import SILENT
from llmroute_operator.reports import Contact, Report
from llmroute_operator.targets import missing_keys
from llmroute_operator.verdicts import Aspect, Serves, Verdict

Object = Mapping[str, Any]

TOLD = 3
"""Pods that a message names."""
OPT_IN = (
    "Label the namespace llmroute.dev/injection=enabled, or the pods llmroute.dev/inject=true, and create the pods "
    "anew (kubectl rollout restart)."
)


class Delivery(Struct, frozen=True):
    """The pods that a route is for, sorted by what their sidecars say."""

    current: Sequence[Pod]
    """Run this generation."""
    stale: Sequence[Pod]
    """Say that they run another one, or none."""
    silent: Sequence[Pod]
    """Have not answered for half a minute."""
    pending: Sequence[Pod]
    """Have not been heard yet: they have just become ready, or have just missed an answer."""
    missing: Sequence[Pod]
    """Should have a sidecar and have none."""
    contacts: Sequence[Contact]
    """Of those that have been heard."""
    rejections: Sequence[str]
    """Why stale ones could not use the configuration."""

    @property
    def desired(self) -> int:
        """Sidecars that count."""
        return len(self.current) + len(self.stale) + len(self.silent) + len(self.pending)


def delivery(
    metadata: Object,
    workloads: LabelSelector,
    pods: Sequence[Pod],
    contacts: Mapping[str, Contact],
    namespace_labels: Mapping[str, str],
) -> Delivery:
    """Sorts the namespace's pods. `metadata`: the route's."""
    uid, generation = metadata["uid"], metadata.get("generation") or 0
    current: list[Pod] = []
    stale: list[Pod] = []
    silent: list[Pod] = []
    pending: list[Pod] = []
    heard: list[Contact] = []
    rejections: list[str] = []
    mine = [pod for pod in pods if workloads.selects(pod.labels)]
    for pod in mine:
        if not pod.serves:
            continue
        contact = contacts.get(pod.name, Contact())
        report = contact.report
        if report is not None:
            heard.append(contact)
        if contact.silent >= SILENT:
            silent.append(pod)
        elif report is not None and report.generation_of(uid) == generation:
            current.append(pod)
        elif report is None or contact.silent:
            pending.append(pod)
        else:
            stale.append(pod)
            rejections += _rejections(report, f"{metadata['namespace']}/{metadata['name']}")
    missing = [pod for pod in mine if pod.misses_sidecar(namespace_labels)]
    return Delivery(current, stale, silent, pending, missing, heard, rejections)


def _rejections(report: Report, key: str) -> list[str]:
    """Why a sidecar could not use a route: its own line, or what is wrong with the whole configuration. Sidecars write
    a line for each route that they cannot read."""
    lines = report.rejected.error.split("\n") if report.rejected is not None else []
    mine = [line for line in lines if line.startswith(f"{names.KIND} {key}: ")]
    of_others = any(line.startswith(f"{names.KIND} ") for line in lines)
    return mine[:1] or ([] if of_others else lines[:1])


def resolved_refs(verdict: Verdict, found: Delivery) -> Aspect:
    """Services by what the operator sees, keys by what the sidecars say: the operator never reads a Secret."""
    if not verdict.refs.ok or verdict.declared is None:
        return verdict.refs
    lacking = missing_keys(verdict.declared, found.contacts)
    if not lacking:
        return verdict.refs
    name, said, sidecars = lacking[0]
    others = f"; also: {', '.join(other for other, _, _ in lacking[1:])}" if lacking[1:] else ""
    return Aspect(
        False,
        "SecretNotListed" if "not listed" in said else "KeyMissing",
        f"The key of target {name!r} is {said} (say {sidecars} of {len(found.contacts)} sidecars){others}. The target "
        "is not used until the key is there.",
    )


def programmed(verdict: Verdict, generation: int, found: Delivery, was: bool) -> Aspect:
    """Whether the sidecars run what is declared. `was`: they did at the last look, this same generation.

    Without any sidecar it is False (NoSidecars) until one has run this generation: nothing serves the route, and the
    usual cause is a label that was forgotten. Once one has, it stays True: a workload that is scaled to nothing, or a
    Job that comes and goes, changes nothing about the route, and must not make it look broken. It is broken where pods
    run and none has the sidecar that it asked for.
    A pod that has just become ready, or has missed an answer for less than half a minute, changes nothing either.
    """
    if not verdict.accepted.ok:
        serving = verdict.serves is Serves.BEFORE
        told = "The sidecars go on with the version before." if serving else "It is not served."
        return Aspect(False, "NotAccepted", f"{told} See the condition Accepted.")
    if verdict.blocked is not None:
        return verdict.blocked
    if found.desired == 0:
        return _without_sidecars(found, was)
    if found.stale:
        return _stale(generation, found)
    if found.silent:
        return Aspect(
            None,
            "SidecarsUnreachable",
            f"For half a minute or longer, {_some(found.silent)} could not be asked what runs there. Is port 4001 open "
            "to the operator (NetworkPolicy)? Sidecars go on with what they have.",
        )
    if found.pending and not was:
        return Aspect(False, "Pending", f"{_run(generation, found)}; no answer yet from {_some(found.pending)}.")
    return Aspect(True, "Programmed", f"{_run(generation, found)}.")


def _without_sidecars(found: Delivery, was: bool) -> Aspect:
    if found.missing:
        return Aspect(
            False,
            "NoSidecars",
            f"{_some(found.missing)} asked for a sidecar and got none when created. Create them anew "
            "(kubectl rollout restart).",
        )
    if was:
        return Aspect(True, "NoSidecars", "There are no sidecars at the moment; the last ones ran this generation.")
    return Aspect(False, "NoSidecars", f"No running pod that spec.workloads means has a sidecar yet. {OPT_IN}")


def _stale(generation: int, found: Delivery) -> Aspect:
    if found.rejections:
        error = printable(found.rejections[0], 400)
        return Aspect(
            False,
            "RejectedBySidecars",
            f"{_run(generation, found)}; {len(found.rejections)} cannot use the configuration and go on with the one "
            f"before: {error}. Pods with an older sidecar take the newer one when they are created anew.",
        )
    return Aspect(False, "Pending", f"{_run(generation, found)}; not yet in {_some(found.stale)}.")


def _run(generation: int, found: Delivery) -> str:
    return f"{len(found.current)} of {found.desired} sidecars run generation {generation}"


def _some(pods: Sequence[Pod]) -> str:
    """`3 pods (a, b, c)`, `12 pods (a, b, c, ...)`."""
    told = sorted(pod.name for pod in pods)
    more = ", ..." if len(told) > TOLD else ""
    return f"{len(told)} {'pod' if len(told) == 1 else 'pods'} ({', '.join(told[:TOLD])}{more})"

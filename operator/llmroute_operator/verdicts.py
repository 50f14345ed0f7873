"""What can be said of a namespace's routes before anything runs: whether each makes sense, whether the Services that it
names are there, and which version of it should be served. Pure; Secrets are never read.

A route that was changed for the worse goes on as it was: the version before, as it stands in the configuration that the
sidecars have, is served until the change is mended.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

from llmroute.errors import ConfigErrors
from llmroute.load import read_object
from llmroute.spec import LLMRoute, Service, decode_written
from llmroute.workloads import LabelSelector
from llmroute_operator.conflicts import Claim, Rival, rival_of

Object = Mapping[str, Any]


class Aspect(Struct, frozen=True):
    """Whether one thing about a route is well, and why."""

    ok: bool | None
    """None: nobody can tell at the moment."""
    reason: str
    message: str


ACCEPTED = Aspect(True, "Accepted", "The spec makes sense.")
RESOLVED = Aspect(True, "ResolvedRefs", "All Services that the route names are there.")


class Serves(Enum):
    """Which version of a route belongs into the configuration."""

    DECLARED = "declared"
    BEFORE = "before"
    """What the configuration holds already; the declared one is not accepted."""
    NOTHING = "nothing"


class Verdict(Struct, frozen=True):
    """What the operator says of one route. `blocked`: why an accepted route cannot be delivered; for whom renders to
    set, if the configuration has no room for it."""

    accepted: Aspect
    refs: Aspect
    serves: Serves
    declared: LLMRoute | None
    """None if it cannot be understood."""
    workloads: LabelSelector
    """Of the version that is served."""
    blocked: Aspect | None = None


def verdicts(
    routes: Sequence[Object], before: Mapping[str, Object], services: Mapping[str, Object]
) -> dict[str, Verdict]:
    """By uid, for all routes of a namespace as the API server gives them. `before`: those of the configuration in
    force, by uid. `services`: of the namespace, by name.

    Routes are looked at from the oldest to the youngest, and each takes its model names; so an older route that
    claims a younger one's model takes it away, which is why such a change should be made with care.
    """
    settled: list[Claim] = []
    found: dict[str, Verdict] = {}
    for body in sorted(routes, key=_age):
        metadata = body["metadata"]
        declared, accepted = _read(body)
        claims = _claims(declared, before.get(metadata["uid"]), metadata.get("creationTimestamp") or "")
        serves, workloads = Serves.NOTHING, LabelSelector()
        for version, claim in claims:
            rival = rival_of(claim, settled)
            if rival is None:
                serves, workloads = version, claim.workloads
                settled.append(claim)
                break
            if version is Serves.DECLARED:
                accepted = _conflict(rival, declared)
        refs = _references(declared, services) if declared is not None else RESOLVED
        found[metadata["uid"]] = Verdict(accepted, refs, serves, declared, workloads)
    return found


def _age(body: Object) -> tuple[str, str]:
    return (body["metadata"].get("creationTimestamp") or "", body["metadata"]["name"])


def _read(body: Object) -> tuple[LLMRoute | None, Aspect]:
    try:
        return read_object(body), ACCEPTED
    except ConfigErrors as error:
        first, more = error.errors[0], len(error.errors) - 1
        also = f" (and {more} more)" if more else ""
        return None, Aspect(False, "Invalid", f"{first}{also}")


def _claims(declared: LLMRoute | None, before: Object | None, created: str) -> Iterator[tuple[Serves, Claim]]:
    """The versions that could be served, best first."""
    if declared is not None:
        yield Serves.DECLARED, _claim(declared, created)
    if before is not None:
        try:
            route = msgspec.convert(before, LLMRoute, dec_hook=decode_written)
        except msgspec.ValidationError:
            return  # written by another version of the operator; it is rendered anew once the route is mended
        if declared is None or route.metadata.generation != declared.metadata.generation:
            yield Serves.BEFORE, _claim(route, created)


def _claim(route: LLMRoute, created: str) -> Claim:
    return Claim(route.metadata.name, created, frozenset(route.models), route.spec.workloads)


def _conflict(rival: Rival, declared: LLMRoute | None) -> Aspect:
    path = "spec.models" if declared is not None and declared.spec.models else "metadata.name"
    return Aspect(
        False,
        "ModelConflict",
        f"{path}: the model {rival.model!r} is already served by the LLMRoute {rival.name!r}, which was there first, "
        "and spec.workloads of the two can mean the same pod; use another model name or workloads that cannot overlap",
    )


def _references(route: LLMRoute, services: Mapping[str, Object]) -> Aspect:
    """The first Service that is not as the route wants it."""
    for index, target in enumerate(route.spec.targets):
        if target.service is not None:
            wrong = _wrong_with(target.service, services.get(target.service.name))
            if wrong is not None:
                reason, message = wrong
                return Aspect(False, reason, f"spec.targets[{index}].service: {message}")
    return RESOLVED


def _wrong_with(wanted: Service, service: Object | None) -> tuple[str, str] | None:
    if service is None:
        return "ServiceNotFound", f"there is no Service {wanted.name!r} in this namespace"
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return "UnsupportedService", f"the Service {wanted.name!r} is an ExternalName; write its host as url"
    ports = spec.get("ports") or ()
    if not any(wanted.port in (str(port.get("port")), port.get("name")) for port in ports):
        known = ", ".join(f"{port.get('port')} {port.get('name', '')}".strip() for port in ports)
        return "PortNotFound", f"the Service {wanted.name!r} has no port {wanted.port}; it has: {known or 'none'}"
    if wanted.endpoints == "each" and spec.get("clusterIP") != "None":
        return (
            "NotHeadless",
            f"endpoints: each needs a headless Service (clusterIP: None), and {wanted.name!r} is none: its name has "
            "one address only",
        )
    return None

"""What a namespace's sidecars should run, decided from what is there. Pure."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from llmroute_operator.render import Object, Rendered, entries_of, render, route_entry
from llmroute_operator.verdicts import Aspect, Serves, Verdict, verdicts


class Plan(msgspec.Struct, frozen=True):
    """What a namespace's sidecars should run, and why."""

    verdicts: Mapping[str, Verdict]
    """By uid."""
    rendered: Rendered
    entries: Mapping[str, Object]
    """What was rendered, by uid."""

    @property
    def unresolved(self) -> bool:
        """Whether some route waits for a Service."""
        return any(not verdict.refs.ok for verdict in self.verdicts.values())


def plan(
    routes: Sequence[Object],
    services: Mapping[str, Object],
    config: Object | None,
    remembered: Mapping[str, Object],
    domain: str,
) -> Plan:
    """Decide. `config`: the ConfigMap in force; `remembered`: its entries, by uid, for when it is lost or spoilt."""
    before = entries_of(config) or remembered
    found = verdicts(routes, before, services)
    entries: list[Object] = []
    for body in sorted(routes, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"])):
        uid = body["metadata"]["uid"]
        if found[uid].serves is Serves.DECLARED:
            entries.append(route_entry(body, services, domain))
        elif found[uid].serves is Serves.BEFORE:
            entries.append(before[uid])
    rendered = render(_ranked(entries, before))
    outgrown: set[str] = set()
    while more := {_uid(one) for one in entries if _can_go_back(one, before, rendered)} - outgrown:
        outgrown |= more
        entries = [before[_uid(one)] if _uid(one) in more else one for one in entries]
        rendered = render(_ranked(entries, before))
    weighed = {uid: _weighed(uid, verdict, rendered, outgrown) for uid, verdict in found.items()}
    return Plan(weighed, rendered, {_uid(one): one for one in entries if _uid(one) not in rendered.left_out})


def _uid(entry: Object) -> str:
    return str(entry["metadata"]["uid"])


def _ranked(entries: Sequence[Object], before: Mapping[str, Object]) -> list[Object]:
    """What serves already comes first: nothing that is new or grows pushes it out."""
    return sorted(entries, key=lambda one: before.get(_uid(one)) != one)


def _can_go_back(entry: Object, before: Mapping[str, Object], rendered: Rendered) -> bool:
    """Whether a route that there is no room for can go on as it was. Not if it gave up models or pods since: another
    route may have them now."""
    uid = _uid(entry)
    return (
        uid in rendered.left_out
        and uid in before
        and all(before[uid]["spec"].get(claim) == entry["spec"].get(claim) for claim in ("models", "workloads"))
    )


def _weighed(uid: str, verdict: Verdict, rendered: Rendered, outgrown: Collection[str]) -> Verdict:
    if uid not in rendered.left_out and uid not in outgrown:
        return verdict
    lost = (
        "this route." if uid in rendered.left_out else "this version of the route; sidecars go on with the one before."
    )
    why = (
        f"The ConfigMap llmroute-config of this namespace has no room left for {lost} Make routes smaller, or spread "
        "them over namespaces."
    )
    return msgspec.structs.replace(verdict, blocked=Aspect(False, "ConfigTooLarge", why))


def undelivered(verdicts: Mapping[str, Verdict], error: str) -> dict[str, Verdict]:
    """The verdicts while the configuration cannot be written."""
    why = Aspect(False, "ConfigNotWritten", f"The ConfigMap llmroute-config could not be written: {error}")
    return {uid: msgspec.structs.replace(one, blocked=one.blocked or why) for uid, one in verdicts.items()}

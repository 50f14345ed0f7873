"""What a namespace's sidecars should run, decided from what is there. Pure."""

from collections.abc import Mapping, Sequence

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
    rendered = render(entries)
    weighed = {uid: _weighed(uid, verdict, rendered) for uid, verdict in found.items()}
    return Plan(weighed, rendered, {one["metadata"]["uid"]: one for one in entries})


def _weighed(uid: str, verdict: Verdict, rendered: Rendered) -> Verdict:
    if uid not in rendered.left_out:
        return verdict
    why = (
        "The ConfigMap llmroute-config of this namespace has no room left for this route; older routes go first. Make "
        "routes smaller, or spread them over namespaces."
    )
    return msgspec.structs.replace(verdict, blocked=Aspect(False, "ConfigTooLarge", why))


def undelivered(verdicts: Mapping[str, Verdict], error: str) -> dict[str, Verdict]:
    """The verdicts while the configuration cannot be written."""
    why = Aspect(False, "ConfigNotWritten", f"The ConfigMap llmroute-config could not be written: {error}")
    return {uid: msgspec.structs.replace(one, blocked=one.blocked or why) for uid, one in verdicts.items()}

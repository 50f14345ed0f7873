"""A route's candidates with its policy, compiled once for a revision."""

from collections.abc import Iterable

import msgspec

from llmroute.latency import Track
from llmroute.routing.ask import Ask
from llmroute.routing.candidate import Candidate
from llmroute.routing.filters import STATIC
from llmroute.routing.policy import Policy

MOST_KINDS = 256
"""Kinds of request whose static filtering is remembered."""


class Eligible(msgspec.Struct, frozen=True):
    """Those that pass the static filters; not to be changed."""

    normal: list[Candidate]
    fallback: list[Candidate]
    """In the order in which they are to be tried."""
    tracks: list[Track] | None = None
    """Of `normal`, where they are remembered."""


class Candidates:
    """What `choose` chooses from. Remembers, by kind of request, who passes the static filters."""

    __slots__ = ("_known", "all", "fallback", "normal", "policy")

    def __init__(self, policy: Policy, candidates: Iterable[Candidate]) -> None:
        self.policy = policy
        self.all = tuple(candidates)
        by_name = {candidate.name: candidate for candidate in self.all}
        self.fallback = [by_name[name] for name in policy.fallbacks if name in by_name]
        self.normal = [candidate for candidate in self.all if candidate.name not in policy.fallbacks]
        self._known: dict[tuple[object, ...], Eligible] = {}

    def eligible(self, ask: Ask) -> Eligible:
        """Those that may ever answer such a request."""
        tenant = ask.wishes.tenant
        if tenant not in self.policy.tenants:
            tenant = None
        kind = (ask.needs, ask.stream, ask.operation.label, tenant)
        known = self._known.get(kind)
        if known is None:
            if len(self._known) >= MOST_KINDS:
                self._known.clear()
            normal = self._passing(self.normal, ask)
            known = Eligible(normal, self._passing(self.fallback, ask), tracks_of(normal, ask))
            self._known[kind] = known
        return known

    def _passing(self, candidates: list[Candidate], ask: Ask) -> list[Candidate]:
        policy = self.policy
        return [candidate for candidate in candidates if all(filter.keeps(candidate, ask, policy) for filter in STATIC)]


def tracks_of(candidates: Iterable[Candidate], ask: Ask) -> list[Track]:
    """What is known of each candidate for such requests."""
    return [candidate.latency.track(ask.operation, ask.stream) for candidate in candidates]

"""The choice of a target: who is ready, who is best, and what to do when nobody is ready.

In order, each only if the one before leaves nobody: normal candidates that are ready, not tried by this request and
within the limits; the same beyond the limits (`onConstraint: relax`); fallback targets in their declared order; panic,
the best of those that are ejected; once more one that this request has tried. Rate limited targets are never tried:
if nothing else is left, the caller is told when the first of them recovers.
"""

from collections.abc import Collection
from random import Random
from typing import NamedTuple

from llmroute.request import NO_WISHES, Decision
from llmroute.routing.ask import Ask
from llmroute.routing.candidate import Candidate
from llmroute.routing.candidates import Candidates, Eligible, tracks_of
from llmroute.routing.filters import OF_THE_REQUEST, fits, keeps_limits
from llmroute.routing.pick import pick
from llmroute.routing.policy import Policy, Terms
from llmroute.routing.refusal import refusal

REASONS = (
    "fastest",
    "explored",
    "cheapest",
    "best",
    "balanced",
    "only",
    "asked",
    "relaxed",
    "failover",
    "fallback",
    "panic",
    "again",
)
"""All words that a Decision's reason can be."""

NOTHING_TRIED: tuple[str, ...] = ()


def choose(
    candidates: Candidates, ask: Ask, now: float, rng: Random, tried: Collection[str] = NOTHING_TRIED
) -> Decision:
    """The target for this request, or for its next attempt when some have been `tried`.

    Raises RateLimited, Unsupported, BadRequest (the asked target does not exist) or NoCandidate.
    """
    policy = candidates.policy
    wishes = ask.wishes
    terms = policy.terms if wishes is NO_WISHES else policy.terms_for(wishes)
    eligible = candidates.eligible(ask)
    if ask.inexpressible or policy.restricts_window or ask.window_above is not None or wishes.target is not None:
        eligible = _possible(eligible, ask, policy)
    ready = _ready(eligible.normal, now, rng, tried)
    relaxed = False
    if ready and (policy.restricts_load or terms.limits is not None):
        ready, relaxed = _restricted(ready, ask, terms, now)
    if not ready:
        return _LastResort(candidates, eligible, ask, terms, tried).choose(now, rng)
    if len(ready) == 1:
        chosen, reason = ready[0], "only"
    else:
        tracks = eligible.tracks if ready is eligible.normal else None
        chosen, explored = pick(ready, tracks or tracks_of(ready, ask), ask, terms, now, rng)
        reason = "explored" if explored else terms.mix.word
    if not chosen.health.clear:
        chosen.health.tried(now)
    if tried or relaxed or wishes.target is not None:
        reason = "failover" if tried else "relaxed" if relaxed else "asked"
    return Decision(chosen.name, reason)


def in_question(candidates: Candidates, ask: Ask, tried: Collection[str]) -> set[str]:
    """Names of the normal targets that can answer the request, as far as it has not tried them: when all that are ready
    are full, it is worth choosing again as soon as any of these has a free slot."""
    eligible = _possible(candidates.eligible(ask), ask, candidates.policy)
    return {candidate.name for candidate in eligible.normal if candidate.name not in tried}


def _ready(normal: list[Candidate], now: float, rng: Random, tried: Collection[str]) -> list[Candidate]:
    """Those that may be used now and were not tried; the very list where that is everyone, which is the rule."""
    if not tried:
        for candidate in normal:
            if not candidate.health.clear or candidate.missing_key:
                break
        else:
            return normal
    return [
        candidate
        for candidate in normal
        if (candidate.health.clear or candidate.health.admits(now, rng))
        and not candidate.missing_key
        and candidate.name not in tried
    ]


def _restricted(ready: list[Candidate], ask: Ask, terms: Terms, now: float) -> tuple[list[Candidate], bool]:
    """Those with a free slot, if any, and within the limits; and whether the limits had to be relaxed."""
    ready = [candidate for candidate in ready if not candidate.load.full] or ready
    if terms.limits is None:
        return ready, False
    within = [candidate for candidate in ready if keeps_limits(candidate, ask, terms, now)]
    return (ready, True) if terms.relax and not within else (within, False)


def _possible(eligible: Eligible, ask: Ask, policy: Policy) -> Eligible:
    """Those that can answer this very request. If no window is large enough all stay: token counts are estimates."""
    normal, fallback = (
        [each for each in group if all(filter.keeps(each, ask, policy) for filter in OF_THE_REQUEST)]
        for group in (eligible.normal, eligible.fallback)
    )
    if ask.wishes.target is not None:
        normal, fallback = normal + fallback, []
    roomy = [each for each in normal if fits(each, ask)], [each for each in fallback if fits(each, ask)]
    return Eligible(*roomy) if any(roomy) else Eligible(normal, fallback)


class _LastResort(NamedTuple):
    """No normal candidate is ready: what is left to try."""

    candidates: Candidates
    eligible: Eligible
    ask: Ask
    terms: Terms
    tried: Collection[str]

    def choose(self, now: float, rng: Random) -> Decision:
        everyone = [each for each in self.eligible.normal + self.eligible.fallback if not each.missing_key]
        if self.terms.limits is not None and not self.terms.relax:
            everyone = [each for each in everyone if keeps_limits(each, self.ask, self.terms, now)]
        usable = [each for each in everyone if each.health.limited_until <= now]
        fallback = next((each for each in usable if self._spare(each, now, rng)), None)
        if fallback is not None:
            return self._decide(fallback, "fallback", now)
        untried = [each for each in usable if each.name not in self.tried]
        mendable = [each for each in untried if not each.health.refused]
        if untried:
            return self._decide(self._best(mendable or untried, now, rng), "panic", now)
        again = [each for each in usable if not each.health.refused]
        if again:
            return self._decide(self._best(again, now, rng), "again", now)
        raise refusal(self.candidates, self.ask, self.terms, now)

    def _best(self, candidates: list[Candidate], now: float, rng: Random) -> Candidate:
        return pick(candidates, tracks_of(candidates, self.ask), self.ask, self.terms, now, rng)[0]

    def _spare(self, candidate: Candidate, now: float, rng: Random) -> bool:
        return (
            candidate in self.eligible.fallback
            and candidate.name not in self.tried
            and candidate.health.admits(now, rng)
        )

    def _decide(self, candidate: Candidate, reason: str, now: float) -> Decision:
        candidate.health.tried(now)
        return Decision(candidate.name, reason)

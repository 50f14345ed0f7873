"""Why there is no target: the error that tells the app."""

from llmroute.errors import BadRequest, NoCandidate, RateLimited, RoutingError, Unsupported
from llmroute.routing.ask import Ask
from llmroute.routing.candidate import Candidate
from llmroute.routing.candidates import Candidates
from llmroute.routing.explain import dropped_by
from llmroute.routing.filters import missing_capability
from llmroute.routing.policy import Terms

_FOR_GOOD = frozenset({"capability", "dialect"})
_NOT_FOR_THIS = frozenset({"tenant", "region", "labels", "asked"}) | _FOR_GOOD
_BY_HEALTH = ("limited", "ejected")


def refusal(candidates: Candidates, ask: Ask, terms: Terms, now: float) -> BadRequest | Unsupported | RoutingError:
    """The most useful error: what the app can change, else how long to wait, else what dropped each target."""
    asked = ask.wishes.target
    if asked is not None and all(asked not in (each.name, each.declared_as) for each in candidates.all):
        known = ", ".join(each.name for each in candidates.all)
        return BadRequest(f"no target {asked[:64]!r} in this route; targets: {known}", param="x-llmroute-target")
    drops = [(each, dropped_by(each, candidates, ask, terms, now)) for each in candidates.all]
    incapable = [(each, drop) for each, drop in drops if drop in _FOR_GOOD]
    if incapable and all(drop in _NOT_FOR_THIS for _, drop in drops):
        return _unsupported(incapable[0][0], ask)
    waits = [each.health.limited_until - now for each, drop in drops if drop and drop.startswith(_BY_HEALTH)]
    limited = [wait for wait in waits if wait > 0.0]
    if limited:
        soonest = min(limited)
        return RateLimited(
            f"every usable target is rate limited; the first recovers in {soonest:.1f} s", retry_after=soonest
        )
    reasons = ", ".join(f"{each.name}: {_put(drop, each)}" for each, drop in drops[:10])
    more = f" and {len(drops) - 10} more" if len(drops) > 10 else ""
    return NoCandidate(f"no target can take the request ({reasons}{more})")


def _put(drop: str | None, candidate: Candidate) -> str:
    if drop == "credential":
        return f"its key is missing: {candidate.missing_key}"
    return drop or "tried"


def _unsupported(candidate: Candidate, ask: Ask) -> Unsupported:
    field = missing_capability(candidate, ask) or ask.inexpressible.get(candidate.name, "")
    return Unsupported(f"no target of this route can express or do: {field}", param=field)

"""The explanation of a choice, made only when somebody asks for it."""

from llmroute.health import State
from llmroute.request import Considered
from llmroute.routing.ask import Ask
from llmroute.routing.candidate import Candidate
from llmroute.routing.candidates import Candidates, tracks_of
from llmroute.routing.filters import OF_THE_REQUEST, STATIC, broken_limit
from llmroute.routing.pick import weigh
from llmroute.routing.policy import Terms

_STATES = {State.EJECTED: "ejected", State.LIMITED: "limited"}


def explain(candidates: Candidates, ask: Ask, now: float) -> tuple[Considered, ...]:
    """For each target why it is out, or what is expected of it and its score (without the draw of exploration)."""
    terms = candidates.policy.terms_for(ask.wishes)
    drops = {each.name: dropped_by(each, candidates, ask, terms, now) for each in candidates.all}
    left = [each for each in candidates.all if drops[each.name] is None]
    metric = terms.metric_of(ask.stream)
    scores: dict[str, float] = {}
    if left:
        tracks = tracks_of(left, ask)
        seconds = [track.sample(metric, ask.output_tokens, terms.z, now, 0.0)[0] for track in tracks]
        scores = {
            each.name: score for each, score in zip(left, weigh(left, tracks, seconds, ask, terms, now), strict=True)
        }
    return tuple(
        Considered(
            target=each.name,
            dropped_by=drops[each.name],
            estimate=each.latency.track(ask.operation, ask.stream).estimate(ask.output_tokens, terms.z, now),
            score=scores.get(each.name),
        )
        for each in candidates.all
    )


def dropped_by(candidate: Candidate, candidates: Candidates, ask: Ask, terms: Terms, now: float) -> str | None:
    """Name of the first filter that the candidate fails; None if it may be used."""
    for filter in STATIC + OF_THE_REQUEST:
        if not filter.keeps(candidate, ask, candidates.policy):
            return filter.name
    if candidate.missing_key:
        return "credential"
    state = candidate.health.state(now)
    if state in _STATES:
        reason = candidate.health.reason
        return f"ejected: {reason}" if state is State.EJECTED and reason else _STATES[state]
    return broken_limit(candidate, ask, terms, now)

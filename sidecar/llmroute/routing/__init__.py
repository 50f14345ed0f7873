"""Which target, and why: filters, scorers, a picker, and `choose()` that holds them together.

The only place with weights, and the only one that explains a choice. Pure: `now` and `rng` are arguments. Not here:
what is believed of a target (`latency`, `health`), and what happens after the choice (`attempts`).

A request is an Ask, a route's declared wishes are a Policy, compiled once; a target is a Candidate for as long as the
route's revision lives.
"""

from llmroute.routing.ask import Ask
from llmroute.routing.candidate import Candidate, Load
from llmroute.routing.candidates import Candidates
from llmroute.routing.choose import NOTHING_TRIED, REASONS, choose, in_question
from llmroute.routing.explain import explain
from llmroute.routing.policy import Policy

__all__ = [
    "NOTHING_TRIED",
    "REASONS",
    "Ask",
    "Candidate",
    "Candidates",
    "Load",
    "Policy",
    "choose",
    "explain",
    "in_question",
]

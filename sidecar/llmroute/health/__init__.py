"""Whether a target may be used now: ejection, probation, rate limits, and how many retries a process may make.

Here belong the state tables and the reading of Retry-After. Pure: `now` and `rng` are arguments; each change comes
back as a Transition, so that the caller can log and count it. Not here: how fast a target is (`latency`), which one is
taken (`routing`).
"""

from llmroute.health.budget import RetryBudget
from llmroute.health.limit import parse_retry_after
from llmroute.health.state import State, Transition
from llmroute.health.target import Health, alike

__all__ = ["Health", "RetryBudget", "State", "Transition", "alike", "parse_retry_after"]

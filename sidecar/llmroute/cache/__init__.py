"""Answers that were given before, and answers that are on their way: key, store, single-flight.

Belongs here: which requests are the same (`cache_key`), complete answers bounded in bytes and age (`Store`), and
identical requests that share one answer (`SingleFlight`).
Does not belong here: deciding whether a request may be cached, making a stream of a body or the reverse (`dialects`),
and talking to targets. No clock: `now` is an argument.
"""

from llmroute.cache.flight import Seat, SingleFlight
from llmroute.cache.key import cache_key
from llmroute.cache.store import Entry, Store

__all__ = ["Entry", "Seat", "SingleFlight", "Store", "cache_key"]

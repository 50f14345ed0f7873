"""Luck by (seed, provider, request index): the same request meets the same luck in every run. Pure.

Common random numbers: two routing policies that send request i to the same provider get the same noise, so that their
difference is the policy's, not the luck's.
"""

import math
from hashlib import blake2b
from statistics import NormalDist
from struct import unpack

_inverse = NormalDist().inv_cdf
_UNIT = 2.0**-52


class Draw:
    """The luck of one request at one provider."""

    __slots__ = ("_key", "length", "number", "speed", "ttft")

    def __init__(self, seed: int, provider: str, index: str) -> None:
        self._key = f"{seed}/{provider}/{index}"
        first, second, third, self.number = unpack("<4Q", blake2b(self._key.encode(), digest_size=32).digest())
        self.ttft = _normal(first)
        """Standard normal: noise of the time to first token."""
        self.speed = _normal(second)
        """Standard normal: noise of the token rate."""
        self.length = _normal(third)
        """Standard normal: noise of the answer's length. `number`: 64 random bits for identifiers and words."""

    def uniform(self, purpose: str) -> float:
        """A number in (0, 1) that belongs to this request and purpose alone."""
        (bits,) = unpack("<Q", blake2b(f"{self._key}/{purpose}".encode(), digest_size=8).digest())
        return _uniform(bits)


def lognormal(sigma: float, noise: float) -> float:
    """LogN(0, sigma) from standard normal noise: median 1."""
    return math.exp(sigma * noise) if sigma else 1.0


def _uniform(bits: int) -> float:
    return ((bits >> 12) + 0.5) * _UNIT


def _normal(bits: int) -> float:
    return _inverse(_uniform(bits))

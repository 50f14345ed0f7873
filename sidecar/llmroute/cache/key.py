"""Which requests are the same."""

from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

import orjson

from llmroute.request import NO_WISHES, InferenceRequest, Wishes

IsolateBy = Collection[Literal["tenant", "credential"]]

_FORM = ("stream", "stream_options")
_BACKSLASH = ord("\\")
KEY_SIZE = 32
"""Bytes of a key."""


def cache_key(namespace: str, route: str, request: InferenceRequest, isolate_by: IsolateBy) -> bytes:
    """The key of a request: requests with one key may have one answer.

    `route`: its name, and whatever is declared of it that answers depend on, so that none outlives a change of that.

    In the key: route, operation (and with it the app's dialect), the callers' tenant and credential as far as
    `isolate_by` separates them, every header of the app that steers routing or reaches the provider as part of its
    API, and the body. Not in the key: whether the app wants a stream, since a kept answer can be served as either.
    """
    wishes = request.wishes
    tenant = wishes.tenant if "tenant" in isolate_by else None
    credential = request.credential_hash if "credential" in isolate_by else None
    asked = None if wishes is NO_WISHES else _steering(wishes)
    callers = _told_apart(namespace, route, request.operation.label, tenant, credential, request.dialect_headers, asked)
    key = callers.copy()
    key.update(canonical(request.body))
    return key.digest()


@lru_cache(maxsize=256)
def _told_apart(*callers: object) -> blake2b:
    """The hash so far. Of repr, not JSON: headers may hold bytes that are no valid text, and it ends where the body
    begins."""
    return blake2b(repr(callers).encode(), digest_size=KEY_SIZE)


def _steering(wishes: Wishes) -> tuple[object, ...] | None:
    steering = (
        wishes.priority,
        wishes.objective,
        wishes.max_latency,
        wishes.max_ttft,
        wishes.min_quality,
        wishes.expected_tokens,
        wishes.target,
    )
    return steering if any(wish is not None for wish in steering) else None


def canonical(body: bytes) -> bytes:
    """The body with sorted members, without white space, `stream` and `stream_options`.

    A body that cannot be told apart by its values alone stands for itself, byte for byte: a member that is there
    twice (parsers disagree on which one counts, so that one caller could plant an answer for another), an unpaired
    surrogate, numbers or nesting beyond what the parser takes. `1` and `1.0` are different.
    """
    try:
        members = orjson.loads(body)
        written = orjson.dumps(members)
        # A member that the parser dropped took at least its name's two quotes with it. Escaped quotes stay escaped
        # quotes, except for the spelling \u0022, which could make up for the loss.
        if written != body and (_quotes(written) != _quotes(body) or (_BACKSLASH in body and b"\\u0022" in body)):
            return body
        for name in _FORM:
            if name in members:
                del members[name]
        return orjson.dumps(members, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return body


def _quotes(text: bytes) -> int:
    """As many as `count` would say, at a fifth of its price: it looks at each byte, `replace` leaps."""
    return len(text) - len(text.replace(b'"', b""))

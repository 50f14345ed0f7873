"""What a dialect is made of: operations on bodies, error bodies, header names. Types only; dialects fill them in."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from llmroute.simulator.answers import Answer, Ask, Reply
from llmroute.simulator.connection import Headers, Request
from llmroute.simulator.spec import ProviderSpec


class Problem(Struct, frozen=True):
    """An error answer, before it has the dialect's words. `code` is the dialect's own name of it, if it has one."""

    status: int
    message: str = ""
    code: str | None = None
    param: str | None = None


class Generation(Struct, frozen=True):
    """An operation that generates tokens. `read` takes the body and the model that the path names; raises BadAsk."""

    read: Callable[[bytes, str | None], Ask]
    write: Callable[[Answer], Reply]


class Direct(Struct, frozen=True):
    """An operation that generates none: request and provider to reply. Raises BadAsk."""

    answer: Callable[[Request, ProviderSpec], Reply]
    prompt_tokens: Callable[[bytes], int] | None = None


Operation = Generation | Direct


class Wire(Struct, frozen=True):
    """One dialect."""

    find: Callable[[Request], tuple[Operation, str | None] | None]
    """The operation of a request, and the model that its path names."""
    credential: Callable[[Request], str | None]
    """The key that the request carries where this dialect wants it."""
    malady: Callable[[Request], Problem | None]
    """What is wrong with the request's headers."""
    problems: Mapping[str, Callable[[str], Problem]]
    """unauthorized, unknown-model, credit-too-low, context-too-long: built from what the message should mention."""
    error_body: Callable[[Problem, str], bytes]
    """From the problem and the request id."""
    error_event: Callable[[Problem], bytes]
    request_id: str
    """Name of the header with the request's id."""
    rate_headers: Callable[[int, int], Headers]
    """Headers that tell limit and remaining requests."""

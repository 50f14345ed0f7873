"""What a dialect is made of: operations, error bodies, header names. Types only; the dialects fill them in."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from llmroute.simulator.answers import Answer, Ask, Problem, Reply
from llmroute.simulator.composition import compose
from llmroute.simulator.connection import Headers, Request
from llmroute.simulator.draws import Draw
from llmroute.simulator.spec import ProviderSpec


class Outcome(Struct, frozen=True):
    """What an operation makes of a request that it understands."""

    reply: Reply
    model: str | None = None
    """The model that was asked for, if one was."""
    prompt_tokens: int | None = None
    """None: no model works for it, so it takes no time."""


class Operation(Struct, frozen=True):
    """`perform` takes the request, the model that its path names, the provider and the luck; it raises BadAsk."""

    perform: Callable[[Request, str | None, ProviderSpec, Draw], Outcome]
    reads_body: bool = True
    """The body must have been kept whole."""


class Wire(Struct, frozen=True):
    """One dialect."""

    find: Callable[[Request], tuple[Operation, str | None] | None]
    """The operation of a request, and the model that its path names."""
    credential: Callable[[Request], str | None]
    """The key that the request carries where this dialect wants it."""
    malady: Callable[[Request], Problem | None]
    """What is wrong with the request's headers or query."""
    problems: Mapping[str, Callable[[str], Problem]]
    """unauthorized, unknown-model, credit-too-low, context-too-long: built from what the message should mention."""
    error_body: Callable[[Problem, str], bytes]
    """From the problem and the request id."""
    request_id: str
    """Name of the header with the request's id."""
    rate_headers: Callable[[int, int], Headers]
    """Headers that tell limit and remaining requests."""


def generation(read: Callable[[Request, str | None], Ask], write: Callable[[Answer], Reply]) -> Operation:
    """An operation that generates tokens: `read` turns the request into an ask, `write` the answer into bytes."""

    def perform(request: Request, model: str | None, spec: ProviderSpec, draw: Draw) -> Outcome:
        ask = read(request, model)
        return Outcome(write(compose(ask, spec, draw)), ask.model, ask.prompt_tokens)

    return Operation(perform)

"""What one request asks of a target."""

from collections.abc import Mapping

import msgspec

from llmroute.request import NO_WISHES, NOTHING_NEEDED, Operation, Wishes

EVERYTHING_EXPRESSIBLE: Mapping[str, str] = {}


class Ask(msgspec.Struct, frozen=True):
    """One request, as choosing sees it.

    `output_tokens`: expected ones (see latency.Lengths). `max_output_tokens`: what the app asked for at most.
    `inexpressible`: target name -> field of the request that the target's dialect cannot express.
    `window_above`: after a target said that the context is too long, its window (or the prompt's tokens where none is
    declared): only targets with a larger declared window may answer.
    """

    operation: Operation
    stream: bool
    prompt_tokens: int
    output_tokens: int
    needs: frozenset[str] = NOTHING_NEEDED
    wishes: Wishes = NO_WISHES
    max_output_tokens: int | None = None
    inexpressible: Mapping[str, str] = EVERYTHING_EXPRESSIBLE
    window_above: int | None = None

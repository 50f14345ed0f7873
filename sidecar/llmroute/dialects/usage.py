"""Token counts as both dialects report them. OpenAI's input includes cached tokens, Anthropic's does not.

Numbers are what the provider billed: an explicit 0 is a number, a missing one is not a count, and counts that come more
than once in a stream are cumulative: the last one stands, they are never summed.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmroute.request import Usage


class _Details(Struct):
    cached_tokens: Any = None
    cache_write_tokens: Any = None
    reasoning_tokens: Any = None


class OpenaiCounts(Struct):
    """Chat and completions (`prompt_tokens`), embeddings, and the Responses API (`input_tokens`)."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    prompt_tokens_details: _Details | None = None
    input_tokens: Any = None
    output_tokens: Any = None
    input_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: Any = None
    """DeepSeek's name for cached tokens."""


class AnthropicCounts(Struct):
    """Counts of `message_start` and `message_delta`: None where an event does not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None

    def updated(self, newer: "AnthropicCounts") -> "AnthropicCounts":
        """These counts with what `newer` says in their place."""
        return AnthropicCounts(
            *(
                getattr(newer, name) if getattr(newer, name) is not None else getattr(self, name)
                for name in self.__struct_fields__
            )
        )

    def usage(self) -> Usage | None:
        """As our value; None if nothing was counted."""
        if self.input_tokens is None and self.output_tokens is None:
            return None
        read = self.cache_read_input_tokens or 0
        written = self.cache_creation_input_tokens or 0
        return Usage(
            input=(self.input_tokens or 0) + read + written,
            output=self.output_tokens or 0,
            cached_input=read,
            cache_written=written,
        )


_openai = msgspec.json.Decoder(OpenaiCounts)
_anthropic = msgspec.json.Decoder(AnthropicCounts)


def openai_usage(usage: Raw | bytes) -> Usage | None:
    """From the raw `usage` member of an OpenAI answer; None for null or for what is not an object of counts."""
    try:
        return usage_of(_openai.decode(usage))
    except msgspec.DecodeError:
        return None


def usage_of(counts: OpenaiCounts) -> Usage | None:
    """The same, once decoded; None where nothing was counted."""
    given, made = counts.prompt_tokens, counts.completion_tokens
    if type(given) is not int:
        given = _count(given, counts.input_tokens)
    if type(made) is not int:
        made = _count(made, counts.output_tokens)
    if given is None and made is None:
        return None
    details = counts.prompt_tokens_details or counts.input_tokens_details
    hit = counts.prompt_cache_hit_tokens
    if details is None:
        return Usage(given or 0, made or 0, 0 if hit is None else _count(hit) or 0)
    cached = _count(details.cached_tokens, hit)
    return Usage(given or 0, made or 0, cached or 0, _count(details.cache_write_tokens) or 0)


def anthropic_counts(usage: Raw | bytes) -> AnthropicCounts:
    """From the raw `usage` member of an Anthropic message or event."""
    try:
        return _anthropic.decode(usage)
    except msgspec.DecodeError:
        return AnthropicCounts()


def as_openai(usage: Usage) -> dict[str, Any]:
    """The `usage` member of a chat answer."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input, "cache_write_tokens": usage.cache_written},
    }


def as_anthropic(usage: Usage) -> dict[str, Any]:
    """The `usage` member of a message."""
    return {
        "input_tokens": max(usage.input - usage.cached_input - usage.cache_written, 0),
        "output_tokens": usage.output,
        "cache_read_input_tokens": usage.cached_input,
        "cache_creation_input_tokens": usage.cache_written,
    }


def _count(*numbers: Any) -> int | None:
    """The first count that is a number, whole or not; None if none is."""
    for number in numbers:
        if type(number) is int:
            return number
        if type(number) is float:
            return int(number)
    return None

"""How an answer is made up: which words, which tool calls, how long, why it stops. Pure and deterministic."""

from collections.abc import Sequence

import msgspec

from llmroute.simulator import examples
from llmroute.simulator.answers import CHARACTERS_PER_TOKEN, Answer, Ask, Call, Tool
from llmroute.simulator.draws import Draw, lognormal
from llmroute.simulator.spec import ProviderSpec

_PROSE = (
    "the quick route finds a calm target while slow rivals wait and every token of this answer comes from "
    "a provider that is only simulated so nothing here means much but it reads like prose and has a length "
)
_REFUSED = "refuse to answer"
"""Whoever says so gets an answer that stops for reasons of policy."""
_WORDS = tuple(f"{word} " for word in _PROSE.split())


def compose(ask: Ask, spec: ProviderSpec, draw: Draw) -> Answer:
    """Makes up the answer that this provider gives to this request."""
    identity = f"{draw.number:016x}"
    cached = int(ask.prompt_tokens * spec.cached_share)
    allowance = ask.max_tokens or 10_000_000
    thoughts = _thoughts(ask, spec, draw, allowance)
    allowance -= len(thoughts)
    calls = tuple(
        Call(id=f"{identity}{number}", name=tool.name, arguments=_pieces(examples.text(tool.schema)))
        for number, tool in enumerate(called_tools(ask))
    )
    common = Answer(
        ask=ask,
        id=identity,
        provider=spec.name,
        thoughts=thoughts,
        thoughts_shown=spec.reasoning is None or spec.reasoning.shown,
        cached_tokens=cached,
    )
    if calls:
        cut, whole = _cut_calls(calls, allowance)
        return msgspec.structs.replace(common, calls=cut, stop="tool_calls" if whole else "length")
    if ask.schema is not None:
        words = _pieces(examples.text(ask.schema))
    else:
        wanted = max(1, round(spec.output_tokens.median * lognormal(spec.output_tokens.sigma, draw.length)))
        words = _prose(min(wanted, allowance + 1), draw.number)
    words, met = _until(words, ask.stops)
    stop = "length" if len(words) > allowance else "stop_sequence" if met else "stop"
    if _REFUSED in ask.text.lower():
        stop = "refusal"
    return msgspec.structs.replace(common, words=words[: max(allowance, 0)], stop=stop, stopped_by=met)


def called_tools(ask: Ask) -> Sequence[Tool]:
    """Which tools the model calls: what tool_choice demands, or those whose names the user's words contain.

    Any word of at least four letters of the name counts (`get_weather`: weather), and `tool` stands for all of them.
    `parallel` in the user's words makes at least two calls, if the request allows it.
    """
    if not ask.tools or ask.choice == "none" or (ask.answered and ask.choice == "auto"):
        return ()
    if isinstance(ask.choice, Tool):
        return (ask.choice,)
    said = ask.text.lower()
    named = [tool for tool in ask.tools if any(part in said for part in _name_parts(tool.name))]
    if not named and (ask.choice == "required" or "tool" in said):
        named = [ask.tools[0]]
    if not ask.parallel:
        return named[:1]
    if named and "parallel" in said and len(named) < 2:
        named = list(ask.tools[:2]) if len(ask.tools) > 1 else named * 2
    return named


def _name_parts(name: str) -> list[str]:
    return [part for part in name.lower().replace("-", "_").split("_") if len(part) >= 4] or [name.lower()]


def _thoughts(ask: Ask, spec: ProviderSpec, draw: Draw, allowance: int) -> tuple[str, ...]:
    if ask.thinking is False or (ask.thinking is None and spec.reasoning is None):
        return ()
    wanted = spec.reasoning.tokens if spec.reasoning is not None else 16
    return _prose(min(wanted, allowance), draw.number >> 8)


def _prose(count: int, number: int) -> tuple[str, ...]:
    start = number % len(_WORDS)
    rounds = (start + count) // len(_WORDS) + 1
    words = (_WORDS * rounds)[start : start + count]
    return (*words[:-1], words[-1].rstrip()) if words else ()


def _until(words: tuple[str, ...], stops: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """The words before the first of these texts, and that text."""
    text = "".join(words)
    found = [(position, stop) for stop in stops if (position := text.find(stop)) >= 0]
    if not found:
        return words, None
    end, met = min(found)
    kept: list[str] = []
    for word in words:
        kept.append(word[:end])
        end -= len(word)
        if end <= 0:
            break
    return tuple(filter(None, kept)), met


def _pieces(text: str) -> tuple[str, ...]:
    return tuple(
        text[position : position + CHARACTERS_PER_TOKEN] for position in range(0, len(text), CHARACTERS_PER_TOKEN)
    )


def _cut_calls(calls: Sequence[Call], allowance: int) -> tuple[tuple[Call, ...], bool]:
    kept: list[Call] = []
    for call in calls:
        if allowance <= 0:
            return tuple(kept), False
        kept.append(msgspec.structs.replace(call, arguments=call.arguments[:allowance]))
        allowance -= len(call.arguments)
    return tuple(kept), allowance >= 0

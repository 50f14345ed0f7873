"""What the simulated model says: lengths, stops, tools, JSON that follows a schema."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from llmroute.simulator import examples
from llmroute.simulator.answers import Ask, Tool
from llmroute.simulator.composition import called_tools, compose
from llmroute.simulator.draws import Draw
from llmroute.simulator.spec import Length, ProviderSpec, Reasoning

WEATHER = Tool("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
CLOCK = Tool("get_time", {})
LUCK = Draw(1, "east", "0")


def asked(text: str = "hello", **fields: Any) -> Ask:
    return Ask(model="m", prompt_tokens=10, text=text, **fields)


def provider(**fields: Any) -> ProviderSpec:
    return ProviderSpec(name="east", **fields)


@pytest.mark.parametrize(
    ("ask", "names"),
    [
        (asked("what is the weather?"), []),
        (asked("what is the weather?", tools=(WEATHER, CLOCK)), ["get_weather"]),
        (asked("tell me a joke", tools=(WEATHER, CLOCK)), []),
        (asked("use a tool", tools=(CLOCK, WEATHER)), ["get_time"]),
        (asked("weather and time", tools=(WEATHER, CLOCK)), ["get_weather", "get_time"]),
        (asked("weather and time", tools=(WEATHER, CLOCK), parallel=False), ["get_weather"]),
        (asked("weather of two cities in parallel", tools=(WEATHER,)), ["get_weather", "get_weather"]),
        (asked("hello", tools=(WEATHER,), choice="required"), ["get_weather"]),
        (asked("hello", tools=(WEATHER, CLOCK), choice=CLOCK), ["get_time"]),
        (asked("weather", tools=(WEATHER,), choice="none"), []),
        (asked("weather", tools=(WEATHER,), answered=True), []),
    ],
)
def test_the_model_calls_what_it_must_or_what_the_words_suggest(ask: Ask, names: list[str]) -> None:
    assert [tool.name for tool in called_tools(ask)] == names


def test_arguments_follow_the_tools_schema() -> None:
    answer = compose(asked("weather", tools=(WEATHER,)), provider(), LUCK)
    assert answer.stop == "tool_calls"
    assert json.loads("".join(answer.calls[0].arguments)) == {"city": "simulated"}


def test_the_same_luck_says_the_same() -> None:
    spec = provider(output_tokens=Length(median=50, sigma=1.0))
    assert compose(asked(), spec, Draw(1, "east", "5")) == compose(asked(), spec, Draw(1, "east", "5"))
    lengths = {compose(asked(), spec, Draw(1, "east", str(index))).tokens for index in range(20)}
    assert len(lengths) > 10


def test_an_answer_is_cut_at_max_tokens() -> None:
    spec = provider(output_tokens=Length(median=50))
    assert (compose(asked(), spec, LUCK).tokens, compose(asked(), spec, LUCK).stop) == (50, "stop")
    short = compose(asked(max_tokens=7), spec, LUCK)
    assert (short.tokens, short.stop) == (7, "length")
    exact = compose(asked(max_tokens=50), spec, LUCK)
    assert (exact.tokens, exact.stop) == (50, "stop")


def test_tool_arguments_too_are_cut_at_max_tokens() -> None:
    answer = compose(asked("weather", tools=(WEATHER,), max_tokens=2), provider(), LUCK)
    assert (answer.tokens, answer.stop) == (2, "length")


def test_thoughts_count_and_may_use_up_everything() -> None:
    spec = provider(reasoning=Reasoning(tokens=20), output_tokens=Length(median=10))
    assert compose(asked(), spec, LUCK).tokens == 30
    starved = compose(asked(max_tokens=20), spec, LUCK)
    assert (len(starved.thoughts), starved.words, starved.stop) == (20, (), "length")


def test_an_answer_ends_before_a_stop_sequence() -> None:
    spec = provider(output_tokens=Length(median=60))
    answer = compose(asked(stops=("zebra", "calm target")), spec, LUCK)
    assert (answer.stop, answer.stopped_by) == ("stop_sequence", "calm target")
    assert "calm" not in "".join(answer.words)
    assert "".join(answer.words).endswith(" a ")


def test_whoever_asks_to_be_refused_is() -> None:
    assert compose(asked("please Refuse to answer"), provider(), LUCK).stop == "refusal"


class Person(BaseModel):
    name: str
    age: int | None
    friends: list["Person"] = []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "n": {"type": "integer", "minimum": 3}}},
        {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"x": {"const": 5}}, "required": ["x"]}]},
        {"allOf": [{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}]},
        {"type": ["null", "array"], "items": {"type": "number"}, "minItems": 2},
        {"type": "string", "minLength": 12, "maxLength": 14},
        {"type": "string", "format": "date-time"},
        {"type": "null"},
    ],
)
def test_an_example_is_valid_by_its_schema(schema: dict[str, Any]) -> None:
    jsonschema.validate(examples.example(schema), schema)


def test_an_example_of_a_recursive_schema_ends() -> None:
    schema = Person.model_json_schema()
    jsonschema.validate(examples.example(schema), schema)


def test_no_schema_means_any_object() -> None:
    assert isinstance(json.loads(examples.text({})), dict)


_leaves = st.sampled_from(["string", "integer", "number", "boolean", "null"]).map(lambda kind: {"type": kind})
_schemas = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(lambda item: {"type": "array", "items": item}, inner),
        st.builds(
            lambda parts: {"type": "object", "properties": parts, "required": sorted(parts)},
            st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=4),
        ),
        st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner),
    ),
    max_leaves=12,
)


@given(_schemas)
def test_examples_of_all_kinds_of_nesting_are_valid(schema: dict[str, Any]) -> None:
    jsonschema.validate(examples.example(schema), schema)

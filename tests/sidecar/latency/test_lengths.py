"""How many tokens an answer is expected to have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.latency import Lengths
from llmroute.request import Operation


def test_what_the_app_expects_wins_over_what_was_learned() -> None:
    lengths = Lengths()
    lengths.learn(Operation.CHAT, 1000)
    assert lengths.expected(Operation.CHAT, wished=50) == 50


def test_no_more_is_expected_than_the_app_allows() -> None:
    lengths = Lengths()
    lengths.learn(Operation.CHAT, 1000)
    assert lengths.expected(Operation.CHAT, at_most=64) == 64
    assert lengths.expected(Operation.CHAT, at_most=64, wished=500) == 64


def test_lengths_are_learned_by_operation() -> None:
    lengths = Lengths()
    for _ in range(50):
        lengths.learn(Operation.CHAT, 1000)
        lengths.learn(Operation.COMPLETIONS, 10)
    assert lengths.expected(Operation.CHAT) == pytest.approx(1000, rel=0.01)
    assert lengths.expected(Operation.COMPLETIONS) == pytest.approx(10, rel=0.01)


def test_embeddings_have_no_output_tokens() -> None:
    assert Lengths().expected(Operation.EMBEDDINGS) == 0


def test_answers_without_a_known_length_teach_nothing() -> None:
    lengths = Lengths()
    before = lengths.expected(Operation.CHAT)
    lengths.learn(Operation.CHAT, 0)
    lengths.learn(Operation.CHAT, -7)
    assert lengths.expected(Operation.CHAT) == before


@given(st.lists(st.integers(-10, 10**30), min_size=1), st.integers(-5, 10**12) | st.none())
def test_the_expected_length_is_bounded_by_what_was_seen(seen: list[int], at_most: int | None) -> None:
    lengths = Lengths()
    for count in seen:
        lengths.learn(Operation.CHAT, count)
    expected = lengths.expected(Operation.CHAT, at_most)
    assert 0 <= expected <= 10_000_000
    if at_most is not None:
        assert expected <= max(at_most, 0)

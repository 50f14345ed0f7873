"""Whether two selectors can mean one pod is decided exactly, and the older of two rivals wins."""

from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute.workloads import LabelSelector
from llmroute_operator.conflicts import Claim, Rival, overlap, rival_of


def selector(*expressions: tuple[str, str, list[str]], **labels: str) -> LabelSelector:
    written: dict[str, Any] = {"matchLabels": labels} if labels else {}
    if expressions:
        written["matchExpressions"] = [{"key": k, "operator": o, "values": v} for k, o, v in expressions]
    return msgspec.convert(written, LabelSelector)


EVERY = selector()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (EVERY, EVERY, True),
        (EVERY, selector(app="shop"), True),
        (selector(app="shop"), selector(app="shop"), True),
        (selector(app="shop"), selector(app="bank"), False),
        (selector(app="shop"), selector(tier="web"), True),
        (selector(app="shop", tier="web"), selector(tier="job"), False),
        (selector(("app", "In", ["a", "b"])), selector(("app", "In", ["b", "c"])), True),
        (selector(("app", "In", ["a", "b"])), selector(("app", "In", ["c"])), False),
        (selector(("app", "In", ["a", "b"])), selector(("app", "NotIn", ["a", "b"])), False),
        (selector(("app", "In", ["a", "b"])), selector(("app", "NotIn", ["a"])), True),
        (selector(("app", "Exists", [])), selector(("app", "DoesNotExist", [])), False),
        (selector(app="shop"), selector(("app", "DoesNotExist", [])), False),
        (selector(("app", "NotIn", ["shop"])), selector(("app", "DoesNotExist", [])), True),
        (selector(("app", "Exists", [])), selector(("app", "NotIn", ["a", "b"])), True),
        (selector(("app", "DoesNotExist", [])), selector(("app", "DoesNotExist", [])), True),
        (selector(("app", "In", ["a"]), ("app", "In", ["b"])), EVERY, False),
        (selector(("app", "Exists", []), app="a"), selector(("app", "In", ["a"]), ("app", "NotIn", ["b"])), True),
    ],
)
def test_selectors_that_can_and_cannot_mean_one_pod(one: LabelSelector, other: LabelSelector, expected: bool) -> None:
    assert overlap(one, other) is expected
    assert overlap(other, one) is expected


KEYS, VALUES = ("app", "tier"), ("a", "b", "c")
EXPRESSIONS: st.SearchStrategy[tuple[str, str, list[str]]] = st.one_of(
    st.tuples(
        st.sampled_from(KEYS),
        st.sampled_from(("In", "NotIn")),
        st.lists(st.sampled_from(VALUES), min_size=1, max_size=3, unique=True),
    ),
    st.tuples(st.sampled_from(KEYS), st.sampled_from(("Exists", "DoesNotExist")), st.just([])),
)
SELECTORS = st.builds(
    lambda expressions, labels: selector(*expressions, **labels),
    st.lists(EXPRESSIONS, max_size=4),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2),
)
PODS = [
    {key: value for key, value in zip(KEYS, values, strict=True) if value is not None}
    for values in product((None, *VALUES, "another"), repeat=len(KEYS))
]
"""Every pod that these selectors can tell apart: all their values, one more, and none."""


@given(SELECTORS, SELECTORS)
@settings(max_examples=150, deadline=None)
def test_two_overlap_if_and_only_if_there_can_be_a_pod_that_both_select(
    one: LabelSelector, other: LabelSelector
) -> None:
    assert overlap(one, other) is any(one.selects(labels) and other.selects(labels) for labels in PODS)


def claim(name: str, created: str, models: str, workloads: LabelSelector = EVERY) -> Claim:
    return Claim(name, created, frozenset(models.split()), workloads)


OLD = claim("chat", "2026-01-01T00:00:00Z", "gpt-4o gpt-4o-mini")


def test_another_model_name_is_no_rival() -> None:
    assert rival_of(claim("other", "2026-01-02T00:00:00Z", "claude"), [OLD]) is None


def test_the_rival_is_told_with_the_model_that_both_want() -> None:
    assert rival_of(claim("new", "2026-01-02T00:00:00Z", "gpt-4o claude"), [OLD]) == Rival("chat", "gpt-4o")


def test_the_same_model_in_pods_that_cannot_be_the_same_is_no_rival() -> None:
    mine = claim("a", "2026-01-01T00:00:00Z", "gpt-4o", selector(app="a"))
    assert rival_of(claim("b", "2026-01-02T00:00:00Z", "gpt-4o", selector(app="b")), [mine]) is None

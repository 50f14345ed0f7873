"""The record of recent attempts that people look at."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.latency import PARTS, Window
from llmroute.request import Observation, Operation, Outcome, Timings


def attempt(at: float, timings: Timings, tokens: int = 0, outcome: Outcome = Outcome.OK) -> Observation:
    return Observation("t", Operation.CHAT, True, 10, outcome, timings, at, output_tokens=tokens)


def test_an_empty_window_has_no_parts() -> None:
    assert Window().summary(0.0) == {}


def test_parts_that_were_not_reached_do_not_count() -> None:
    window = Window()
    window.record(attempt(1.0, Timings(queue=0.1, connect=0.2), outcome=Outcome.FIRST_TOKEN_TIMEOUT))
    window.record(attempt(2.0, Timings(headers=0.3, ttft=0.4, generation=2.0, total=2.4), tokens=101))
    summary = window.summary(2.0)
    assert {part: summary[part]["count"] for part in PARTS} == {
        "queue": 2,
        "connect": 2,
        "headers": 1,
        "ttft": 1,
        "generation": 1,
        "total": 1,
        "tokens_per_second": 1,
    }
    assert summary["tokens_per_second"]["p50"] == pytest.approx(50.0)
    assert summary["queue"]["mean"] == pytest.approx(0.05)


def test_every_slot_of_the_full_ring_is_overwritten_in_turn() -> None:
    window = Window()
    for index in range(2000):
        window.record(attempt(1.0, Timings(ttft=float(index))))
    ttft = window.summary(1.0)["ttft"]
    assert ttft["count"] == 512
    assert ttft["mean"] == pytest.approx(sum(range(1488, 2000)) / 512)


def test_attempts_older_than_the_window_do_not_count() -> None:
    window = Window()
    window.record(attempt(0.0, Timings(ttft=9.0)))
    window.record(attempt(299.0, Timings(ttft=1.0)))
    assert window.summary(301.0)["ttft"] == {"count": 1, "mean": 1.0, "p50": 1.0, "p95": 1.0, "p99": 1.0}


@given(st.lists(st.floats(0.001, 100.0), min_size=1, max_size=600))
def test_percentiles_are_exact(values: list[float]) -> None:
    window = Window()
    for value in values:
        window.record(attempt(1.0, Timings(ttft=value)))
    ttft = window.summary(1.0)["ttft"]
    kept = sorted(values[-512:])
    for percentile in (50, 95, 99):
        assert ttft[f"p{percentile}"] == kept[math.ceil(len(kept) * percentile / 100) - 1]

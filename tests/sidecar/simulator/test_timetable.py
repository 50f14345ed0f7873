"""M(t): the shifts of the scenarios' model."""

import math

import pytest

from llmroute.simulator.draws import Draw
from llmroute.simulator.spec import Duration, Flap, Ramp, Refused, Shift, Sine, Step
from llmroute.simulator.timetable import latency_factor, next_edge, slots_factor


def seconds(value: float) -> Duration:
    return Duration(value)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (Step(t0=seconds(10), t1=seconds(20), factor=5), {9: 1, 10: 5, 19.9: 5, 20: 1}),
        (Step(t0=seconds(10), factor=5), {9: 1, 10_000: 5}),
        (Ramp(t0=seconds(0), t1=seconds(100), factor=0.25), {0: 1, 50: 0.5, 100: 0.25, 500: 0.25}),
        (Ramp(t0=seconds(10), t1=seconds(10), factor=3), {9: 1, 10: 3}),
        (Sine(period=seconds(400), log_amplitude=0.6, phase=0.25), {0: math.exp(0.6), 100: 1, 200: math.exp(-0.6)}),
        (
            Flap(t0=seconds(120), t1=seconds(420), period=seconds(20), duty=0.5, factor=5),
            {119: 1, 120: 5, 129: 5, 130: 1, 140: 5, 420: 1},
        ),
    ],
)
def test_a_shift_multiplies_latency_on_its_timetable(shift: Shift, expected: dict[float, float]) -> None:
    assert {t: pytest.approx(latency_factor([shift], t)) for t in expected} == expected


def test_shifts_multiply() -> None:
    assert latency_factor([Step(factor=2), Step(factor=3)], 0) == 6


def test_a_share_of_the_requests_is_hit_always_the_same_ones() -> None:
    shifts = [Step(factor=4, share=0.25)]
    factors = [latency_factor(shifts, 0, Draw(1, "east", str(index))) for index in range(2000)]
    assert set(factors) == {1.0, 4.0}
    assert abs(factors.count(4.0) / 2000 - 0.25) < 0.04
    assert factors == [latency_factor(shifts, 0, Draw(1, "east", str(index))) for index in range(2000)]


def test_a_step_may_take_slots_away() -> None:
    shifts = [Step(t0=seconds(5), t1=seconds(6), slots_factor=0.5)]
    assert [slots_factor(shifts, t) for t in (4, 5, 6)] == [1, 0.5, 1]


def test_the_next_edge_of_a_window_is_its_opening_then_its_end() -> None:
    windows = [Refused(t0=seconds(5), t1=seconds(9)), Refused(t0=seconds(7))]
    assert [next_edge(windows, t) for t in (0, 5, 7, 9)] == [5, 7, 9, None]

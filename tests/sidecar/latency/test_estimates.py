"""What is believed follows what was seen, stays within it, and ages."""

import math
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sidecar.latency.story import Target

from llmroute.latency import z_of
from llmroute.request import FirstContent, Observation, Operation, Outcome, Timings

ABSURD = [math.nan, math.inf, -math.inf, -1.0, 1e300, 0.0]


@pytest.mark.parametrize("absurd", ABSURD)
@pytest.mark.parametrize("stream", [True, False])
def test_absurd_numbers_leave_estimates_finite_and_positive(absurd: float, stream: bool) -> None:
    target = Target(stream=stream).answers(0.4, times=3)
    target.latency.first_content(FirstContent("t", Operation.CHAT, stream, 10, absurd, target.now))
    for outcome in (Outcome.OK, Outcome.TOTAL_TIMEOUT, Outcome.CANCELLED):
        timings = Timings(ttft=absurd, generation=absurd, total=absurd)
        target.ends(outcome, waited=absurd, timings=timings, tokens=-5)
        target.ends(outcome, waited=absurd, timings=timings, tokens=10**30)
    estimate = target.estimate()
    for value in (estimate.ttft, estimate.total, estimate.tokens_per_second, estimate.samples):
        assert 0.0 < value < math.inf


@pytest.mark.parametrize("absurd", [math.nan, math.inf, -1.0, 0.0])
def test_an_absurd_prior_is_no_prior(absurd: float) -> None:
    estimate = Target(prior_ttft=absurd, prior_tps=absurd).estimate()
    assert 0.0 < estimate.ttft < math.inf
    assert 0.0 < estimate.tokens_per_second < math.inf


@given(answers=st.lists(st.floats(0.0001, 3600.0), min_size=1, max_size=60), gap=st.floats(0.0, 300.0))
def test_an_estimate_stays_within_what_was_seen(answers: list[float], gap: float) -> None:
    target = Target()
    for seconds in answers:
        target.later(gap).answers(seconds)
    assert min(answers) * 0.999 <= target.ttft <= max(answers) * 1.001
    assert min(answers) * 0.999 <= target.later(1e6).ttft <= max(answers) * 1.001


@given(answers=st.lists(st.floats(0.01, 60.0), min_size=1, max_size=30), tokens=st.integers(0, 5000))
def test_percentiles_are_in_order(answers: list[float], tokens: int) -> None:
    for stream in (True, False):
        target = Target(stream=stream)
        for seconds in answers:
            target.answers(seconds)
        estimates = [target.estimate(tokens=tokens, percentile=percentile) for percentile in (1, 50, 95, 99)]
        assert [each.ttft for each in estimates] == sorted(each.ttft for each in estimates)
        assert [each.total for each in estimates] == sorted(each.total for each in estimates)


def test_the_percentile_covers_its_share_of_answers() -> None:
    target = Target()
    spread = [0.4 * math.exp(0.6 * z_of(1 + index * 61 % 99)) for index in range(300)]
    for seconds in spread:
        target.answers(seconds)
    p90 = target.estimate(percentile=90).ttft
    assert 0.84 <= sum(seconds <= p90 for seconds in spread) / len(spread) <= 0.96


def test_the_newest_answers_count_and_the_oldest_do_not() -> None:
    target = Target().answers(0.4, times=100)
    assert target.answers(2.0, times=30).ttft > 1.5
    assert target.answers(0.4, times=60).ttft < 0.6


def test_one_outlier_hardly_moves_a_well_known_target() -> None:
    target = Target().answers(0.4, times=50)
    assert target.answers(4.0).ttft < 0.5


def test_what_was_declared_is_believed_until_there_are_answers() -> None:
    target = Target(prior_ttft=0.2, prior_tps=100.0)
    assert target.ttft == pytest.approx(0.2)
    assert target.estimate(tokens=100).total == pytest.approx(1.2)
    after_one = target.answers(0.8).ttft
    assert 0.2 < after_one < 0.8
    assert target.answers(0.8, times=20).ttft == pytest.approx(0.8, rel=0.05)


def test_a_slow_hour_is_forgotten_when_nobody_asked_since() -> None:
    target = Target().answers(0.4, times=200)
    target.answers(4.0, times=20)
    slow = target.ttft
    assert slow > 2.0
    assert target.later(1800.0).ttft < 0.75 * slow


def test_a_draw_widens_with_the_age_of_the_evidence() -> None:
    target = Target().answers(0.4, times=30)
    fresh = target.drawn(1.0) / target.drawn(-1.0)
    target.later(600.0)
    stale = target.drawn(1.0) / target.drawn(-1.0)
    assert fresh < 1.2
    assert stale > 2.0


def test_a_stale_target_gets_one_scout_at_a_time() -> None:
    target = Target().answers(0.4, times=30).later(600.0)
    wide = target.drawn(1.0) / target.drawn(-1.0)
    assert target.is_asked().drawn(1.0) / target.drawn(-1.0) < wide


def test_the_total_of_a_stream_grows_with_the_expected_tokens() -> None:
    target = Target().answers(0.5, tokens=100, speed=50.0, times=20)
    assert target.estimate(tokens=0).total == pytest.approx(0.5, rel=0.05)
    assert target.estimate(tokens=500).total == pytest.approx(10.5, rel=0.1)


def test_whole_answers_of_all_lengths_teach_the_same_speed() -> None:
    """A target that happened to get the long questions must not look slow for it."""
    chatty, terse = Target(stream=False), Target(stream=False)
    for _ in range(20):
        chatty.answers(0.6 + 1000 / 50.0, tokens=1000)
        terse.answers(0.6 + 20 / 50.0, tokens=20)
    assert chatty.estimate(tokens=200).total == pytest.approx(terse.estimate(tokens=200).total, rel=0.02)


def test_streams_other_answers_and_operations_are_learned_apart() -> None:
    target = Target().answers(5.0, times=20)
    latency, now = target.latency, target.now
    assert latency.estimate(Operation.CHAT, True, 0, 50, now).ttft > 4.0
    assert latency.estimate(Operation.CHAT, False, 0, 50, now).ttft < 1.0
    assert latency.estimate(Operation.MESSAGES, True, 0, 50, now).ttft < 1.0
    assert latency.estimate(Operation.EMBEDDINGS, False, 0, 50, now).ttft < 1.0


def test_ttft_of_streams_is_learned_before_they_end() -> None:
    target = Target()
    target.latency.first_content(FirstContent("t", Operation.CHAT, True, 10, 0.1, target.now))
    assert target.ttft == pytest.approx(0.1)


def test_a_stream_that_ended_without_content_teaches_no_ttft() -> None:
    target = Target().answers(0.5, times=5)
    before = target.ttft
    assert target.ends(Outcome.OK, timings=Timings(total=0.001)).ttft == before


def test_very_short_answers_teach_no_speed() -> None:
    target = Target().answers(0.5, tokens=200, speed=40.0, times=10)
    before = target.estimate().tokens_per_second
    assert target.answers(0.5, tokens=1, speed=1000.0).estimate().tokens_per_second == before


def test_the_usual_ttft_is_that_of_the_kind_of_stream_known_best() -> None:
    target = Target()
    assert target.latency.usual_ttft(target.now) is None
    target.answers(0.3, times=5)
    target.latency.first_content(FirstContent("t", Operation.MESSAGES, True, 10, 9.0, target.now))
    usual = target.latency.usual_ttft(target.now)
    assert usual is not None
    assert usual == pytest.approx(0.3, rel=0.05)


@given(st.lists(st.tuples(st.floats(0.05, 5.0), st.floats(-5.0, 30.0)), min_size=1, max_size=30))
def test_events_out_of_order_do_no_harm(events: list[tuple[float, float]]) -> None:
    target = Target()
    for ttft, shift in events:
        target.latency.first_content(FirstContent("t", Operation.CHAT, True, 10, ttft, target.now + shift))
    seen = [ttft for ttft, _ in events]
    assert min(seen) * 0.999 <= target.ttft <= max(seen) * 1.001
    assert median(seen) > 0


def test_an_observation_of_a_whole_answer_needs_no_usage() -> None:
    target = Target(stream=False)
    observation = Observation(
        target="t",
        operation=Operation.CHAT,
        stream=False,
        prompt_tokens=10,
        outcome=Outcome.OK,
        timings=Timings(total=2.0),
        at=target.now,
    )
    target.latency.observe(observation)
    assert target.estimate(tokens=0).total == pytest.approx(2.0)


@pytest.mark.parametrize("stream", [True, False])
def test_another_prior_holds_until_something_was_seen(stream: bool) -> None:
    target = Target(prior_ttft=1.0, prior_tps=10.0, stream=stream)
    before = target.estimate()
    target.latency.declare(0.1, 100.0)
    assert target.total == pytest.approx(before.total / 10)
    target.answers(2.0, times=3)
    seen = target.estimate()
    target.latency.declare(1.0, 10.0)
    assert target.estimate() == seen

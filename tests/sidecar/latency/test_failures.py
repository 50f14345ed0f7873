"""Failures never make a target look fast, and never spoil it for long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sidecar.latency.story import Target

from llmroute.request import Outcome, Timings

FAILURES = [outcome for outcome in Outcome if outcome.is_failure]
BLAMELESS = [outcome for outcome in Outcome if not outcome.is_failure and outcome is not Outcome.OK]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("outcome", FAILURES)
def test_a_fast_failure_makes_the_target_look_slower_at_once(outcome: Outcome, stream: bool) -> None:
    target = Target(stream=stream).answers(0.4, times=10)
    before = target.estimate()
    after = target.ends(outcome, waited=0.001).estimate()
    assert after.ttft > 3 * before.ttft
    assert after.total > 3 * before.total
    assert after.tokens_per_second < before.tokens_per_second / 3


@pytest.mark.parametrize("outcome", BLAMELESS)
def test_what_is_not_the_targets_fault_teaches_nothing_when_it_is_fast(outcome: Outcome) -> None:
    target = Target().answers(0.4, times=10)
    before = target.estimate()
    assert target.ends(outcome, waited=0.001).estimate() == before


@given(
    outcome=st.sampled_from([*FAILURES, *BLAMELESS]),
    story=st.lists(st.tuples(st.floats(0.01, 20.0), st.floats(0.0, 200.0), st.booleans()), max_size=12),
    waited=st.floats(0.0, 600.0),
    ttft=st.none() | st.floats(0.001, 10.0),
    stream=st.booleans(),
)
def test_no_end_but_success_ever_makes_a_target_look_faster(
    outcome: Outcome, story: list[tuple[float, float, bool]], waited: float, ttft: float | None, stream: bool
) -> None:
    target = Target(stream=stream)
    for seconds, pause, good in story:
        target.later(pause)
        if good:
            target.answers(seconds)
        else:
            target.ends(Outcome.FIRST_TOKEN_TIMEOUT, waited=10 * seconds)
    before = [target.estimate(percentile=percentile) for percentile in (5, 50, 99)]
    target.ends(outcome, waited=waited, timings=Timings(ttft=ttft))
    slack = 1.0 + 1e-9
    for was, percentile in zip(before, (5, 50, 99), strict=True):
        now = target.estimate(percentile=percentile)
        assert now.ttft * slack >= was.ttft
        assert now.total * slack >= was.total
        assert now.tokens_per_second <= was.tokens_per_second * slack


def test_a_limit_with_its_retry_after_is_kept_by_health_and_needs_no_penalty() -> None:
    target = Target().answers(0.4, times=10)
    before = target.ttft
    assert target.ends(Outcome.RATE_LIMITED, retry_after=7.0).ttft == before


def test_a_single_failure_is_forgotten_within_half_a_minute() -> None:
    target = Target().answers(0.4, times=10)
    target.ends(Outcome.SERVER_ERROR)
    assert target.later(30.0).ttft == pytest.approx(0.4, rel=0.1)


def test_successes_take_the_penalty_of_a_failure_away() -> None:
    target = Target().answers(0.4, times=10).ends(Outcome.SERVER_ERROR)
    assert target.answers(0.4, times=12).ttft == pytest.approx(0.4, rel=0.15)


def test_one_long_timeout_among_good_answers_does_not_poison_the_target() -> None:
    target = Target().answers(0.4, times=10)
    target.ends(Outcome.FIRST_TOKEN_TIMEOUT, waited=30.0)
    assert target.ttft > 1.5, "it counts"
    assert target.later(60.0).ttft < 0.8, "for a minute, not for an hour"


def test_a_black_hole_is_forgiven_soon_after_its_first_good_answers() -> None:
    target = Target().answers(0.4, times=20)
    for _ in range(40):
        target.later(1.0).ends(Outcome.FIRST_TOKEN_TIMEOUT, waited=30.0)
    assert target.ttft > 20.0
    target.later(60.0)
    for _ in range(6):
        target.later(1.0).answers(0.4)
    assert target.ttft < 1.5


def test_a_cancelled_attempt_is_evidence_only_of_having_waited() -> None:
    target = Target().answers(0.4, times=10)
    before = target.ttft
    assert target.ends(Outcome.CANCELLED, waited=0.3).ttft == before
    assert before < target.ends(Outcome.CANCELLED, waited=8.0).ttft < 8.0


def test_a_whole_answer_that_was_cancelled_in_its_usual_time_is_no_evidence() -> None:
    target = Target(stream=False).answers(4.0, tokens=150, times=10)
    before = target.total
    assert target.ends(Outcome.CANCELLED, waited=3.5).total == before
    assert target.ends(Outcome.CANCELLED, waited=40.0).total > before


def test_silence_far_beyond_the_usual_is_taken_for_slowness() -> None:
    target = Target().answers(0.4, times=10).is_asked()
    assert target.later(0.5).ttft == pytest.approx(0.4, rel=0.05)
    assert target.later(9.5).ttft == pytest.approx(10.0, rel=0.01)


def test_silence_ends_with_the_answer() -> None:
    target = Target().answers(0.4, times=10).is_asked()
    assert target.later(10.0).answers(10.0).ttft < 1.0


def test_giving_up_on_one_does_not_break_the_silence_of_the_others() -> None:
    target = Target().answers(0.4, times=10).is_asked().later(5.0).is_asked()
    assert target.later(5.0).ends(Outcome.FIRST_TOKEN_TIMEOUT, waited=10.0).ttft >= 10.0


def test_an_end_that_was_never_told_is_not_silence_for_ever() -> None:
    target = Target().answers(0.4, times=10).is_asked()
    assert target.later(4000.0).ttft < 1.0

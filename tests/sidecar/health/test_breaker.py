"""Ejection, the careful return, and what counts against a target."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sidecar.health.story import Patient

from llmroute.health import Health, State, alike
from llmroute.health import state as table
from llmroute.health.state import NEXT, Event
from llmroute.request import Outcome

HARD = [Outcome.AUTHENTICATION, Outcome.BILLING, Outcome.MODEL_NOT_FOUND]
SOFT = [
    Outcome.CONNECT_FAILED,
    Outcome.CONNECT_TIMEOUT,
    Outcome.FIRST_TOKEN_TIMEOUT,
    Outcome.BETWEEN_TOKENS_TIMEOUT,
    Outcome.TOTAL_TIMEOUT,
    Outcome.OVERLOADED,
    Outcome.SERVER_ERROR,
    Outcome.BROKEN,
]
NEUTRAL = [Outcome.CLIENT_ERROR, Outcome.CONTEXT_TOO_LONG, Outcome.CANCELLED, Outcome.CREDENTIAL_MISSING]


@pytest.mark.parametrize("outcome", SOFT)
def test_three_failures_in_a_row_eject(outcome: Outcome) -> None:
    patient = Patient().ends(outcome, times=2)
    assert patient.state is State.HEALTHY
    assert patient.ends(outcome).state is State.EJECTED
    assert patient.changes == [f"healthy->ejected: {outcome.value}"]
    assert patient.events[0].seconds == 5.0
    assert not patient.admitted


@pytest.mark.parametrize("outcome", NEUTRAL)
def test_what_is_not_the_targets_fault_never_ejects(outcome: Outcome) -> None:
    patient = Patient().ends(outcome, times=50)
    assert patient.state is State.HEALTHY
    assert patient.events == []


def test_a_success_between_failures_starts_the_count_anew() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR, times=2).ends(Outcome.OK).ends(Outcome.SERVER_ERROR, times=2)
    assert patient.state is State.HEALTHY


def test_failing_more_often_than_not_ejects_without_a_row() -> None:
    patient = Patient()
    for _ in range(4):
        patient.ends(Outcome.SERVER_ERROR, times=2).ends(Outcome.OK).later(0.5)
    assert patient.changes[0] == "healthy->ejected: server-error"


def test_failing_now_and_then_does_not_eject() -> None:
    patient = Patient()
    for _ in range(50):
        patient.ends(Outcome.OK, times=2).ends(Outcome.SERVER_ERROR).later(0.1)
    assert patient.state is State.HEALTHY


def test_failures_of_long_ago_do_not_count() -> None:
    patient = Patient()
    for _ in range(20):
        patient.ends(Outcome.SERVER_ERROR, times=2).ends(Outcome.OK).later(25.0)
    assert patient.state is State.HEALTHY


def test_an_ejected_target_returns_on_probation_and_two_successes_heal_it() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR, times=3).later(5.1)
    assert patient.state is State.PROBATION
    patient.ends(Outcome.OK)
    assert patient.state is State.PROBATION
    assert patient.ends(Outcome.OK).state is State.HEALTHY
    assert patient.health.clear


def test_probation_lets_a_trickle_through() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR, times=3).later(5.1)
    admitted = 0
    for _ in range(1000):
        if patient.later(0.01).admitted:
            admitted += 1
            patient.health.tried(patient.now)
    assert 10 <= admitted <= 100


def test_an_admission_that_was_not_used_is_not_lost() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR, times=3).later(5.1)
    assert patient.admitted
    assert patient.admitted


def test_the_back_off_doubles_up_to_five_minutes_while_trials_fail() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR, times=3)
    spans = []
    for _ in range(9):
        spans.append(patient.ejected_until - patient.now)
        patient.now = patient.ejected_until + 0.1
        patient.ends(Outcome.SERVER_ERROR)
    assert spans == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300, 300])


def test_the_back_off_starts_anew_after_five_healthy_minutes() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR, times=3).later(6.0).ends(Outcome.OK, times=2)
    patient.later(301.0).ends(Outcome.SERVER_ERROR, times=3)
    assert patient.ejected_until - patient.now == 5.0


def test_a_relapse_soon_after_is_ejected_for_longer() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR, times=3).later(6.0).ends(Outcome.OK, times=2)
    patient.later(10.0).ends(Outcome.SERVER_ERROR, times=3)
    assert patient.ejected_until - patient.now == 10.0


def test_answers_to_questions_of_before_the_ejection_change_nothing() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR, times=3)
    until = patient.ejected_until
    patient.later(2.0).ends(Outcome.OK, waited=4.0).ends(Outcome.SERVER_ERROR, times=5, waited=4.0)
    assert patient.changes == ["healthy->ejected: server-error"]
    assert patient.ejected_until == until
    patient.later(4.0).ends(Outcome.SERVER_ERROR, waited=10.0)
    assert patient.state is State.PROBATION


def test_a_success_in_panic_puts_the_target_on_probation_early() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR, times=3).later(1.0).ends(Outcome.OK, waited=0.5)
    assert patient.state is State.PROBATION


@pytest.mark.parametrize("outcome", HARD)
def test_a_wrong_key_bill_or_model_ejects_at_once_for_longer_and_says_why(outcome: Outcome) -> None:
    patient = Patient().ends(outcome, refused=True)
    assert patient.changes == [f"healthy->ejected: {outcome.value}"]
    assert patient.health.reason == outcome.value
    assert patient.health.refused
    assert patient.ejected_until - patient.now == 60.0


@pytest.mark.parametrize("outcome", HARD)
def test_a_bare_status_that_says_as_much_is_a_failure_like_any_other(outcome: Outcome) -> None:
    patient = Patient().ends(outcome, times=2)
    assert patient.state is State.HEALTHY
    assert patient.ends(outcome).changes == [f"healthy->ejected: {outcome.value}"]
    assert not patient.health.refused
    assert patient.ejected_until - patient.now == 5.0


def test_repeated_refusals_in_panic_do_not_prolong_the_ejection() -> None:
    patient = Patient().ends(Outcome.AUTHENTICATION, refused=True)
    until = patient.ejected_until
    patient.later(5.0).ends(Outcome.AUTHENTICATION, times=20, refused=True)
    assert patient.ejected_until == until


def test_a_key_that_is_still_wrong_after_the_ejection_ejects_again() -> None:
    patient = (
        Patient().ends(Outcome.AUTHENTICATION, refused=True).later(60.1).ends(Outcome.AUTHENTICATION, refused=True)
    )
    assert patient.changes[-1] == "probation->ejected: authentication"
    assert patient.ejected_until - patient.now == pytest.approx(120.0)


def test_the_end_of_a_limit_can_be_told_too() -> None:
    patient = Patient().ends(Outcome.RATE_LIMITED, retry_after=5.0).later(6.0)
    patient.note(patient.health.advance(patient.now))
    patient.note(patient.health.advance(patient.now))
    assert patient.changes[1:] == ["limited->healthy: returning"]


def test_a_new_key_brings_the_target_back_at_once() -> None:
    patient = Patient().ends(Outcome.AUTHENTICATION, refused=True)
    patient.health.reprieve(patient.now)
    assert patient.admitted
    patient.note(patient.health.advance(patient.now))
    assert patient.changes[-1] == "ejected->probation: returning"
    assert not patient.health.refused


def test_a_reprieve_of_a_healthy_target_changes_nothing() -> None:
    patient = Patient()
    patient.health.reprieve(patient.now)
    assert patient.health.advance(patient.now) is None
    assert patient.health.clear


def test_time_can_be_told_to_pass_so_that_the_return_is_logged() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR, times=3)
    assert patient.health.advance(patient.now) is None
    patient.note(patient.later(5.1).health.advance(patient.now))
    assert patient.changes[-1] == "ejected->probation: returning"


def test_a_pardon_lifts_the_ejection_that_the_failure_caused() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR, times=3)
    patient.note(patient.health.pardon(patient.last, patient.now))
    assert patient.changes[-1] == "ejected->healthy: pardoned"
    assert patient.ends(Outcome.OK).state is State.HEALTHY


def test_a_pardoned_failure_does_not_count_towards_the_next_ejection() -> None:
    patient = Patient()
    for _ in range(4):
        patient.ends(Outcome.SERVER_ERROR)
        patient.note(patient.health.pardon(patient.last, patient.now))
    assert patient.ends(Outcome.SERVER_ERROR, times=2).state is State.HEALTHY


def test_a_target_that_only_ever_fails_is_not_pardoned_for_ever() -> None:
    patient = Patient()
    for _ in range(20):
        patient.ends(Outcome.SERVER_ERROR)
        patient.note(patient.health.pardon(patient.last, patient.now))
    assert patient.state is State.EJECTED


def test_a_success_renews_the_right_to_pardons() -> None:
    patient = Patient()
    for _ in range(10):
        patient.ends(Outcome.SERVER_ERROR, times=3)
        patient.note(patient.health.pardon(patient.last, patient.now))
        assert patient.state is State.HEALTHY
        patient.ends(Outcome.OK)


def test_no_pardon_for_a_wrong_key() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR).ends(Outcome.AUTHENTICATION, refused=True)
    assert patient.health.pardon(patient.last, patient.now) is None
    assert patient.state is State.EJECTED


def test_a_trial_that_is_pardoned_leaves_the_target_on_probation() -> None:
    patient = Patient().ends(Outcome.SERVER_ERROR, times=3).later(5.1).ends(Outcome.SERVER_ERROR)
    assert patient.changes[-1] == "probation->ejected: server-error"
    patient.note(patient.health.pardon(patient.last, patient.now))
    assert patient.state is State.PROBATION


def test_failures_are_alike_when_two_targets_say_the_same_of_one_request() -> None:
    patient = Patient()
    east = patient.observation(Outcome.SERVER_ERROR, status=500)
    for outcome, status, target, expected in (
        (Outcome.SERVER_ERROR, 500, "west", True),
        (Outcome.SERVER_ERROR, 502, "west", False),
        (Outcome.BROKEN, 500, "west", False),
        (Outcome.SERVER_ERROR, 500, "east", False),
    ):
        other = patient.observation(outcome, status=status)
        other = type(other)(
            target=target,
            operation=other.operation,
            stream=other.stream,
            prompt_tokens=other.prompt_tokens,
            outcome=other.outcome,
            timings=other.timings,
            at=other.at,
            status=other.status,
        )
        assert alike(east, other) is expected


@pytest.mark.parametrize("outcome", [Outcome.CONNECT_FAILED, Outcome.RATE_LIMITED, *HARD])
def test_what_no_request_can_cause_is_never_alike(outcome: Outcome) -> None:
    one = Patient().observation(outcome)
    assert not alike(one, type(one)("west", one.operation, True, 1, outcome, one.timings, one.at))


def test_the_table_in_the_documentation_is_the_table_in_force() -> None:
    rows = [line.split("|") for line in (table.__doc__ or "").splitlines() if "|" in line]
    events = [Event(cell.strip()) for cell in rows[0][1:]]
    drawn = {
        (State(row[0].strip()), event): cell.strip()
        for row in rows[1:]
        for event, cell in zip(events, row[1:], strict=True)
        if cell.strip()
    }
    assert drawn == {key: str(value) for key, value in NEXT.items()}
    assert set(events) == set(Event)


step = st.tuples(
    st.sampled_from(list(Outcome)), st.floats(0.0, 400.0), st.floats(0.0, 30.0), st.none() | st.floats(0.0, 90.0)
)


@given(st.lists(step, max_size=30))
def test_any_sequence_of_ends_keeps_the_promises_of_the_state_machine(
    steps: list[tuple[Outcome, float, float, float | None]],
) -> None:
    patient = Patient()
    for outcome, pause, waited, retry_after in steps:
        patient.later(pause)
        limited = patient.health.limited_until
        before = patient.state
        seen = len(patient.events)
        patient.ends(outcome, waited=waited, retry_after=retry_after)
        health = patient.health
        after = patient.state
        assert after is State.HEALTHY or not health.clear
        assert health.limited_until >= limited, "nothing but time ends a limit"
        assert health._until - patient.now <= 900.0 + 1e-6
        told = patient.events[seen:]
        if before is not after:
            assert told, "every change is told"
        for change in told:
            assert change.after is after
            assert change.before is not after or after is State.EJECTED
            assert change.seconds >= 0.0
        if after in (State.EJECTED, State.LIMITED):
            assert not patient.admitted
        if after is State.HEALTHY:
            assert patient.admitted


@given(st.lists(st.sampled_from(SOFT), min_size=3, max_size=40))
def test_every_target_can_come_back(failures: list[Outcome]) -> None:
    patient = Patient()
    for outcome in failures:
        patient.later(1.0).ends(outcome)
    patient.later(301.0)
    assert patient.admitted
    assert patient.ends(Outcome.OK, times=2).state is State.HEALTHY


def test_an_unknown_target_is_healthy() -> None:
    health = Health("new")
    assert health.clear
    assert health.state(0.0) is State.HEALTHY

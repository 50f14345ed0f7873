"""Rate limits: how long to wait, in all the forms in which providers say it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sidecar.health.story import Patient

from llmroute.health import State, parse_retry_after
from llmroute.request import Outcome

WALL = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


def parsed(**headers: str) -> float | None:
    by_name = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    return parse_retry_after(by_name.get, WALL)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": " 7 "}, 7.0),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": "-3"}, 0.0),
        ({"retry_after": "86400"}, 3600.0),
        ({"retry_after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        ({"retry_after": "Tuesday, 14-Nov-23 22:13:50 GMT"}, 30.0),
        ({"retry_after": "Tue, 14 Nov 2023 22:13:10 GMT"}, 0.0),
        ({"retry_after": "Tue, 14 Nov 2093 22:13:10 GMT"}, 3600.0),
        ({"retry_after_ms": "250"}, 0.25),
        ({"x_ms_retry_after_ms": "1250"}, 1.25),
        ({"retry_after_ms": "250", "retry_after": "9"}, 0.25),
        ({"retry_after_ms": "soon", "retry_after": "9"}, 9.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": ""}, None),
        ({"retry_after": "\xff"}, None),
        ({"retry_after": "Tue, 99 Foo 2023 99:99:99 GMT"}, None),
    ],
)
def test_all_forms_of_retry_after_are_understood(headers: dict[str, str], seconds: float | None) -> None:
    assert parsed(**headers) == seconds


@given(st.text(st.characters(max_codepoint=255)))
def test_no_header_value_breaks_the_parser(value: str) -> None:
    for name in ("retry_after", "retry_after_ms", "x_ms_retry_after_ms"):
        seconds = parsed(**{name: value})
        assert seconds is None or 0.0 <= seconds <= 3600.0


def test_a_limited_target_is_left_alone_for_as_long_as_it_said() -> None:
    patient = Patient().ends(Outcome.RATE_LIMITED, retry_after=20.0)
    assert patient.changes == ["healthy->limited: rate-limited"]
    assert patient.events[0].seconds == pytest.approx(20.0)
    assert not patient.later(19.9).admitted
    assert patient.later(0.2).admitted
    assert patient.state is State.HEALTHY


def test_limits_never_eject() -> None:
    patient = Patient()
    for _ in range(20):
        patient.ends(Outcome.RATE_LIMITED, retry_after=1.0).later(1.1)
    assert patient.state is State.HEALTHY


def test_no_success_shortens_a_limit() -> None:
    patient = Patient().ends(Outcome.RATE_LIMITED, retry_after=20.0).ends(Outcome.OK, times=5)
    assert patient.state is State.LIMITED


def test_a_shorter_limit_does_not_replace_a_longer_one() -> None:
    patient = Patient().ends(Outcome.RATE_LIMITED, retry_after=20.0).ends(Outcome.RATE_LIMITED, retry_after=1.0)
    assert patient.health.limited_until - patient.now == pytest.approx(20.0)


def test_a_429_that_does_not_say_is_waited_out_longer_each_time() -> None:
    patient = Patient()
    waits = []
    for _ in range(7):
        patient.ends(Outcome.RATE_LIMITED)
        waits.append(patient.health.limited_until - patient.now)
        patient.now = patient.health.limited_until
    assert waits == pytest.approx([1, 2, 4, 8, 16, 30, 30])
    patient.ends(Outcome.OK).ends(Outcome.RATE_LIMITED)
    assert patient.health.limited_until - patient.now == pytest.approx(1.0)


def test_many_429s_at_once_count_as_one() -> None:
    patient = Patient().ends(Outcome.RATE_LIMITED, times=50)
    assert patient.health.limited_until - patient.now == pytest.approx(2.0, abs=1.0)


def test_an_overloaded_target_that_says_when_is_both_failing_and_limited() -> None:
    patient = Patient().ends(Outcome.OVERLOADED, times=3, retry_after=30.0)
    assert patient.state is State.EJECTED
    assert patient.later(5.1).state is State.LIMITED
    assert patient.later(25.0).state is State.PROBATION


def test_an_overloaded_target_that_does_not_say_is_only_failing() -> None:
    assert Patient().ends(Outcome.OVERLOADED).state is State.HEALTHY

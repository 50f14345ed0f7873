"""What an attempt usually takes, as the autoscaler's bound needs it: learned at once, moved slowly."""

import pytest

from llmroute.telemetry.baseline import Baseline


class Attempts:
    """Attempts that went well, looked at every half minute."""

    def __init__(self) -> None:
        self.baseline = Baseline()
        self.now = 1000.0
        self.seconds = 0.0
        self.count = 0

    def go_on(self, minutes: float, *, seconds: float, a_minute: int = 120) -> float | None:
        value = None
        for _ in range(round(2 * minutes)):
            self.now += 30.0
            self.count += a_minute // 2
            self.seconds += a_minute // 2 * seconds
            value = self.baseline.look(self.now, self.seconds, self.count)
        return value


def test_nothing_is_said_before_enough_attempts_went_well() -> None:
    assert Baseline().look(0.0, 19.0, 19) is None
    assert Baseline().look(0.0, 40.0, 20) == 2.0


def test_it_is_the_mean_because_that_is_what_fills_the_flight() -> None:
    attempts = Attempts()
    attempts.seconds, attempts.count = 90 * 1.0 + 10 * 60.0, 100
    assert attempts.baseline.look(0.0, attempts.seconds, attempts.count) == pytest.approx(6.9)


def test_a_brownout_of_twenty_minutes_hardly_moves_it() -> None:
    attempts = Attempts()
    assert attempts.go_on(30, seconds=2.0) == pytest.approx(2.0)
    during = attempts.go_on(20, seconds=20.0)
    assert during is not None
    assert during < 2.0 * 1.25


def test_a_change_for_good_arrives_in_hours_and_not_beyond() -> None:
    attempts = Attempts()
    attempts.go_on(30, seconds=2.0)
    assert attempts.go_on(300, seconds=20.0) == pytest.approx(20.0)
    assert attempts.go_on(300, seconds=2.0) == pytest.approx(2.0)


def test_the_first_look_after_a_quiet_night_is_no_leap() -> None:
    attempts = Attempts()
    attempts.go_on(30, seconds=2.0)
    attempts.now += 8 * 3600
    morning = attempts.go_on(0.5, seconds=20.0)
    assert morning is not None
    assert morning < 2.0 * 1.06


def test_two_servers_that_scrape_move_it_no_faster_than_one() -> None:
    attempts = Attempts()
    attempts.go_on(30, seconds=2.0)
    for _ in range(1000):
        attempts.now += 0.1
        attempts.count += 30
        attempts.seconds += 30 * 200.0
        attempts.baseline.look(attempts.now, attempts.seconds, attempts.count)
    value = attempts.baseline.look(attempts.now, attempts.seconds, attempts.count)
    assert value is not None
    assert value < 2.0 * 1.02


def test_counts_that_vanish_with_a_target_leave_it_as_it_was() -> None:
    attempts = Attempts()
    before = attempts.go_on(30, seconds=2.0)
    assert attempts.baseline.look(attempts.now + 60, 10.0, 5) == before
    assert attempts.baseline.look(attempts.now + 120, 10.0 + 2.0 * 30, 5 + 30) == before

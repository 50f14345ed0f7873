"""No retry storm, whatever happens."""

from hypothesis import given
from hypothesis import strategies as st

from llmroute.health import RetryBudget

event = st.tuples(st.sampled_from(["request", "retry", "storm"]), st.floats(0.0, 3.0))


@given(st.lists(event, max_size=80), st.booleans())
def test_attempts_never_exceed_1_2_times_requests_and_100_in_any_ten_seconds(
    events: list[tuple[str, float]], idle_first: bool
) -> None:
    budget, now = RetryBudget(), 1e6 if idle_first else 0.0
    requests: list[float] = []
    attempts: list[float] = []
    for kind, pause in events:
        now += pause
        if kind == "request":
            budget.request(now)
            requests.append(now)
            attempts.append(now)
            continue
        for _ in range(300 if kind == "storm" else 1):
            if budget.may_retry(now):
                attempts.append(now)
    for start in attempts:
        window = sum(start <= at <= start + 10.0 for at in attempts)
        asked = sum(start <= at <= start + 10.0 for at in requests)
        assert window <= 1.2 * asked + 100 + 1e-6


def test_a_quiet_pod_may_retry_its_few_requests() -> None:
    budget = RetryBudget()
    for second in range(20):
        budget.request(float(second))
        assert budget.may_retry(second + 0.1)


def test_in_a_brownout_of_everything_retries_settle_at_a_fifth_and_a_trickle() -> None:
    budget, granted = RetryBudget(), 0
    for tick in range(10_000):  # 100 requests a second for 100 seconds, all failing
        now = tick / 100
        budget.request(now)
        granted += budget.may_retry(now)
    assert granted <= 0.2 * 10_000 + 5 * 100 + 50
    assert granted >= 0.2 * 10_000


def test_first_failovers_off_a_target_just_ejected_are_exempt() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.may_retry(1.0)
    assert not budget.may_retry(1.0)
    assert budget.may_retry(1.0, exempt=True)


def test_a_clock_that_stands_still_or_steps_back_grants_nothing() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.may_retry(5.0)
    assert not budget.may_retry(4.0)
    assert not budget.may_retry(5.0)

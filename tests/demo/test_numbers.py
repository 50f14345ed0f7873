"""What the demo says was saved is what was measured, no more."""

import pytest
from examples.demo.ledger import APP, Ask, Call, Kind, Ledger, percentile, share, waits
from examples.demo.summary import compare


def call(asked: str, wait: float | None = 0.1, *, kind: Kind = "stream", act: int = 0, **members: str) -> Call:
    return Call(Ask(1, kind, "?", act, probed=True), asked, ended=members.pop("ended", 0.0), wait=wait, **members)  # type: ignore[arg-type]


def test_saved_is_the_difference_where_both_answered() -> None:
    saved = compare([(call(APP, 0.2), call("east", 0.5)), (call(APP, 0.3), call("east", 0.1))])
    assert saved.waited == pytest.approx(0.6)
    assert saved.saved == pytest.approx(0.1)


def test_waiting_longer_than_the_provider_alone_is_said_too() -> None:
    assert compare([(call(APP, 0.5), call("east", 0.2))]).saved == pytest.approx(-0.3)


def test_a_failure_counts_as_avoided_only_if_the_app_was_answered() -> None:
    failed = call("east", None, error="refused")
    assert compare([(call(APP), failed), (call(APP, None, error="no"), failed)]).failures == 1
    assert compare([(call(APP), failed)]).waited == 0.0


def test_percentiles_are_values_that_were_seen() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([3.0, 1.0, 2.0], 95) == 3.0
    assert percentile([], 50) is None


def test_shares_are_of_answers() -> None:
    answered = [call(APP, target="east"), call(APP, target="east"), call(APP, target="west")]
    assert share([*answered, call(APP, None, error="no")]) == {"east": 2 / 3, "west": 1 / 3}


def test_only_streams_have_a_first_token() -> None:
    assert waits([call(APP, 0.1), call(APP, 0.9, kind="whole"), call(APP, 0.2, kind="anthropic")]) == [0.1, 0.2]


def test_probes_are_no_calls_of_the_app() -> None:
    ledger = Ledger()
    ledger.calls += [call(APP), call("east", None, error="refused"), call(APP, None, act=1, error="no")]
    assert len(ledger.app()) == 2
    assert len(ledger.app(act=1)) == 1
    assert [each.error for each in ledger.errors] == ["no"]

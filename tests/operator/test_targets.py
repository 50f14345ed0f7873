"""Many sidecars' views of a target as one, and their numbers as one number."""

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.operator.shop import heard, latency, report, route, runs, seen, target

from llmroute.load import read_object
from llmroute_operator.measures import merged_p95, notable, printable, written_seconds
from llmroute_operator.reports import Contact, Quantiles
from llmroute_operator.targets import Seen, missing_keys, seen_targets

EAST = read_object(route())


def views(*targets: dict[str, Any]) -> list[Contact]:
    """One sidecar each; the first was asked last."""
    return [heard(runs(targets=[each]), age=float(age)) for age, each in enumerate(targets)]


def east(contacts: Sequence[Contact]) -> Seen:
    (found,), _ = seen_targets(EAST, contacts, numbers=True)
    return found


class TestTheState:
    @pytest.mark.parametrize(
        ("states", "expected"),
        [
            ([], "Unknown 0/0"),
            (["healthy"], "Healthy 1/1"),
            (["ejected"], "Ejected 1/1"),
            (["ejected", "healthy"], "Healthy 1/2"),
            (["ejected", "ejected", "healthy"], "Ejected 2/3"),
            (["ejected", "limited", "healthy"], "Limited 1/3"),
            (["probation", "ejected", "probation"], "Probation 2/3"),
            (["ejected"] * 3 + ["healthy"] * 20, "Ejected 3/5"),
            (["healthy"] * 3 + ["ejected"] * 20, "Healthy 3/5"),
            (["of-a-newer-sidecar"] * 3, "Healthy 3/3"),
        ],
    )
    def test_is_what_most_of_the_sidecars_asked_last_say(self, states: list[str], expected: str) -> None:
        found = east(views(*(seen(state=state) for state in states)))
        assert f"{found.state} {found.votes}/{found.voters}" == expected

    def test_is_not_for_those_to_say_who_never_used_it(self) -> None:
        idle = seen(attempts=0)
        assert east(views(idle, idle, idle, seen(state="ejected"))).state == "Ejected"
        assert east(views(idle, idle)).state == "Healthy"

    def test_is_that_the_key_is_missing_where_most_miss_it(self) -> None:
        found = east(views(seen(credential="missing: Secret x is not there"), seen(credential="missing: y"), seen()))
        assert (found.state, found.reason) == ("NoKey", "missing: Secret x is not there")

    def test_of_many_addresses_is_that_of_the_best(self) -> None:
        each = read_object(
            route(
                targets=[
                    target("own", provider="openai-compatible", url="http://v/v1", endpoints="each"),
                    target("own-b"),
                ]
            )
        )
        reported = [
            seen("own-10.0.0.1", "ejected", declaredAs="own"),
            seen("own-10.0.0.2", declaredAs="own"),
            seen("own-b", "ejected", declaredAs="own-b", attempts=5),
        ]
        own, other = seen_targets(each, [heard(runs(targets=reported))], numbers=True)[0]
        assert (own.state, own.share) == ("Healthy", "80%")
        assert (other.state, other.share) == ("Ejected", "20%")


class TestTheShare:
    def test_is_of_what_was_sent_since_the_report_before(self) -> None:
        two = read_object(route(targets=[target("east"), target("west")]))
        before = report(runs(targets=[seen("east", attempts=1000), seen("west", attempts=1000)]))
        now = report(runs(targets=[seen("east", attempts=1010), seen("west", attempts=1030)]))
        found, _ = seen_targets(two, [Contact(now, before)], numbers=True)
        assert [one.share for one in found] == ["25%", "75%"]

    def test_counts_anew_when_a_sidecar_was_started_anew(self) -> None:
        before, now = report(runs(targets=[seen(attempts=1000)])), report(runs(targets=[seen(attempts=7)]))
        assert east([Contact(now, before)]).share == "100%"

    def test_is_none_where_nothing_was_sent(self) -> None:
        assert east(views(seen(attempts=0))).share is None

    def test_forgets_reports_of_more_than_five_minutes_ago(self) -> None:
        old = msgspec.structs.replace(heard(runs(targets=[seen(latency=latency(9.0))])), age=301.0)
        assert (east([old]).share, east([old]).ttft_p95) == (None, None)
        assert east([old]).state == "Healthy", "it is the newest there is"


def quantiles(values: list[float]) -> Quantiles:
    ordered = sorted(values)
    rank = [ordered[max(0, -(-len(ordered) * part // 100) - 1)] for part in (50, 95, 99)]
    return Quantiles(len(values), *rank)


class TestTheP95OfManySidecars:
    def test_is_theirs_where_they_agree(self) -> None:
        same = Quantiles(100, 0.2, 0.5, 0.9)
        assert merged_p95([same] * 7) == pytest.approx(0.5)
        assert merged_p95([]) is None

    def test_is_near_the_true_one_of_all_requests(self) -> None:
        rng = Random(7)
        fast = [rng.lognormvariate(-1.0, 0.5) for _ in range(400)]
        slow = [rng.lognormvariate(0.5, 0.8) for _ in range(100)]
        true = quantiles(fast + slow).p95
        assert merged_p95([quantiles(fast), quantiles(slow)]) == pytest.approx(true, rel=0.15)

    def test_is_not_their_mean(self) -> None:
        """One slow sidecar in a hundred is beyond the 95th percentile of all."""
        parts = [Quantiles(100, 0.1, 0.2, 0.3)] * 99 + [Quantiles(100, 10.0, 20.0, 30.0)]
        merged = merged_p95(parts)
        assert merged is not None
        assert merged < 0.3

    def test_weighs_a_busy_sidecar_more(self) -> None:
        quiet, busy = Quantiles(1, 5.0, 9.0, 9.9), Quantiles(500, 0.1, 0.2, 0.3)
        merged = merged_p95([quiet, busy])
        assert merged is not None
        assert merged < 0.25

    @given(
        st.lists(
            st.builds(
                Quantiles,
                st.integers(1, 1_000_000),
                st.floats(0, 86_400),
                st.floats(0, 86_400),
                st.floats(0, 86_400),
            ),
            min_size=1,
            max_size=8,
        )
    )
    @settings(max_examples=200, deadline=None)
    def test_lies_among_theirs_whatever_they_say(self, parts: list[Quantiles]) -> None:
        merged = merged_p95(parts)
        assert merged is not None
        assert min(part.p95 for part in parts) <= merged <= max(part.p95 for part in parts)


def test_keys_that_are_missing_are_told_by_target() -> None:
    contacts = views(seen(credential="missing: x"), seen(), seen(credential="missing: x"))
    assert missing_keys(EAST, contacts) == [("east", "missing: x", 2)]


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, None), (0.0004, "0ms"), (0.43, "430ms"), (0.9999, "1000ms"), (1.25, "1.25s")]
)
def test_seconds_are_written_as_the_spec_spells_them(seconds: float | None, text: str | None) -> None:
    assert written_seconds(seconds) == text


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, False),
        (None, "1%", True),
        ("430ms", None, True),
        ("500ms", "600ms", False),
        ("500ms", "601ms", True),
        ("900ms", "1.20s", True),
        ("1%", "2%", False),
        ("1%", "4%", True),
        ("50%", "59%", False),
        ("nonsense", "59%", True),
    ],
)
def test_numbers_are_worth_writing_by_more_than_a_fifth(before: str | None, after: str | None, expected: bool) -> None:
    assert notable(before, after) is expected


def test_what_others_write_is_one_line_without_tricks() -> None:
    assert printable("a\n\x1b[31mb\u202ec\x00  d", 99) == "a [31mb c d"
    assert printable("x" * 50, 10) == "xxxxxxxxx…"

"""Who is asked when: those that have not confirmed soon and again, of the others at most ten a minute a route."""

import math
from collections import Counter
from collections.abc import Iterable

from tests.operator.shop import REVISION, heard, pod, report, runs, seen

from llmroute_operator.pods import Pod
from llmroute_operator.polling import Expected, Polls
from llmroute_operator.reports import Report

CURRENT = report(runs())


class Watch:
    """A clock, and pods that answer at once (or do not)."""

    def __init__(self, pods: Iterable[Pod], routes: dict[str, set[str]] | None = None) -> None:
        self.pods = list(pods)
        self.routes = routes if routes is not None else {"route": {one.uid for one in self.pods}}
        self.polls = Polls()
        self.now = 1000.0
        self.asked: list[tuple[float, str]] = []
        self.worth: list[float] = []
        self.size = 100
        """Bytes of an answer."""
        self.answers: dict[str, Report | None] = {}
        self.expect(REVISION)

    def expect(self, revision: str) -> None:
        routes = {route: frozenset(uids) for route, uids in self.routes.items()}
        self.polls.expect(self.now, Expected(revision, "key", self.pods, routes))

    def go_on(self, seconds: float, answer: Report | None = CURRENT) -> list[float]:
        """The times, from now, at which somebody was asked."""
        began, first = self.now, len(self.asked)
        while self.now < began + seconds:
            for one in self.polls.due(self.now, 64):
                self.asked.append((self.now, one.name))
                said = self.answers.get(one.name, answer)
                if said is None:
                    worth = self.polls.failed(self.now, one.uid, "no answer")
                else:
                    worth = self.polls.answered(self.now, one.uid, said, self.size)
                if worth:
                    self.worth.append(self.now)
            self.now = round(self.now + 0.25, 2)
        return [round(at - began, 2) for at, _ in self.asked[first:]]

    def counts(self) -> Counter[str]:
        return Counter(name for _, name in self.asked)


class TestASidecarThatHasNotConfirmed:
    def test_is_asked_soon_and_ever_less_often(self) -> None:
        old = report(runs(), revision="before")
        assert Watch([pod()]).go_on(40, old) == [0.5, 1.5, 3.5, 7.5, 15.5, 25.5, 35.5]

    def test_is_asked_at_once_again_when_it_should_run_something_new(self) -> None:
        watch = Watch([pod()])
        watch.go_on(30)
        watch.expect("another")
        assert watch.go_on(4)[:3] == [0.5, 1.5, 3.5]

    def test_rests_once_it_has(self) -> None:
        watch = Watch([pod()])
        assert watch.go_on(6) == [0.5]

    def test_is_not_asked_twice_at_the_same_time(self) -> None:
        polls = Polls()
        polls.expect(0.0, Expected(REVISION, "key", [pod()], {}))
        assert len(polls.due(1.0, 9)) == 1
        assert polls.due(2.0, 9) == []

    def test_is_forgotten_with_its_pod(self) -> None:
        watch = Watch([pod("a"), pod("b")])
        watch.go_on(2)
        watch.pods = [pod("a")]
        watch.expect(REVISION)
        assert set(watch.polls.contacts(watch.now)) == {"a"}
        assert not watch.polls.answered(watch.now, "uid-of-b", CURRENT, 100), "an answer that comes late is nobody's"

    def test_is_a_new_one_when_a_pod_comes_back_under_its_name(self) -> None:
        watch = Watch([pod("shop-0")])
        watch.go_on(2)
        watch.pods = [pod("shop-0", uid="another")]
        watch.expect(REVISION)
        assert watch.polls.contacts(watch.now)["shop-0"].report is None


class TestOneThatDoesNotAnswer:
    def test_is_said_to_be_silent_since_the_first_question_that_was_not_answered(self) -> None:
        watch = Watch([pod()])
        watch.go_on(20, None)
        contact = watch.polls.contacts(watch.now)["shop-1"]
        assert contact.silent == 19.5
        assert contact.error == "no answer"

    def test_is_worth_a_look_once_after_half_a_minute(self) -> None:
        watch = Watch([pod()])
        watch.go_on(300, None)
        assert len(watch.worth) == 1
        assert 30 <= watch.worth[0] - 1000.5 <= 41

    def test_is_asked_ever_less_often(self) -> None:
        watch = Watch([pod()])
        watch.go_on(60, None)
        assert len(watch.go_on(600, None)) <= 10

    def test_is_worth_a_look_when_it_answers_again(self) -> None:
        watch = Watch([pod()])
        watch.go_on(60, None)
        watch.worth.clear()
        watch.go_on(120)
        assert len(watch.worth) == 1 + 1, "that it is back, and a minute later its numbers"
        assert watch.polls.contacts(watch.now)["shop-1"].silent == 0

    def test_keeps_its_last_report(self) -> None:
        watch = Watch([pod()])
        watch.go_on(2)
        watch.go_on(60, None)
        contact = watch.polls.contacts(watch.now)["shop-1"]
        assert contact.report == CURRENT
        assert contact.silent > 30


class TestTheSample:
    def test_is_at_most_ten_a_minute_of_a_route_of_any_size(self) -> None:
        for size in (1, 3, 100):
            watch = Watch(pod(f"p{index}") for index in range(size))
            watch.go_on(2)
            assert 9 <= len(watch.go_on(60)) <= 10

    def test_goes_round(self) -> None:
        watch = Watch(pod(f"p{index}") for index in range(20))
        watch.go_on(2)
        watch.asked.clear()
        watch.go_on(2 * 20 * 6)
        assert set(watch.counts().values()) <= {1, 2, 3}
        assert len(watch.counts()) == 20

    def test_serves_every_route_of_a_pod_at_once(self) -> None:
        pods = [pod(f"p{index}") for index in range(10)]
        watch = Watch(pods, {f"r{index}": {one.uid for one in pods} for index in range(10)})
        watch.go_on(2)
        assert len(watch.go_on(60)) <= 10, "ten routes that share all pods cost no more than one"

    def test_reaches_a_pod_that_two_routes_share_although_they_are_sampled_at_different_times(self) -> None:
        pods = [pod(name) for name in ("a", "both", "b")]
        watch = Watch(pods, {"A": {"uid-of-a", "uid-of-both"}, "B": {"uid-of-both", "uid-of-b"}})
        watch.go_on(2)
        watch.polls._sampled["B"] += 3.0
        watch.asked.clear()
        watch.go_on(120)
        assert min(watch.counts()[name] for name in ("a", "both", "b")) >= 5
        for route in ("a", "b"):
            assert watch.counts()[route] + watch.counts()["both"] <= 21

    def test_prefers_sidecars_that_miss_a_key_and_leaves_none_out(self) -> None:
        pods = [pod(f"p{index}") for index in range(10)]
        watch = Watch(pods)
        watch.answers["p3"] = report(runs(targets=[seen(credential="missing: Secret x")]))
        watch.go_on(2)
        watch.asked.clear()
        watch.go_on(600)
        others = [watch.counts()[f"p{index}"] for index in range(10) if index != 3]
        assert watch.counts()["p3"] >= 2 * max(others)
        assert min(others) >= 6


class TestWhatIsWorthALook:
    def test_is_a_report_that_says_something_new(self) -> None:
        watch = Watch([pod()])
        watch.go_on(13)
        watch.worth.clear()
        watch.go_on(6, report(runs(targets=[seen(state="ejected")])))
        assert len(watch.worth) == 1

    def test_is_not_a_report_of_which_only_the_numbers_are_new_but_once_a_minute(self) -> None:
        watch = Watch([pod()])
        watch.go_on(2)
        watch.worth.clear()
        for attempts in range(20):
            watch.go_on(6, report(runs(targets=[seen(attempts=attempts)])))
        assert 1 <= len(watch.worth) <= 2


def test_a_report_of_five_minutes_ago_is_kept_to_tell_what_has_happened_since() -> None:
    watch = Watch([pod()])
    for minute in range(12):
        watch.go_on(60, report(runs(targets=[seen(attempts=100 * minute)])))
    contact = watch.polls.contacts(watch.now)["shop-1"]
    assert contact.report is not None
    assert contact.before is not None
    since = contact.report.targets_of("uid-of-chat")[0].attempts - contact.before.targets_of("uid-of-chat")[0].attempts
    assert 0 <= since <= 600


def test_reports_of_any_length_fill_no_memory() -> None:
    watch = Watch(pod(f"p{index}") for index in range(30))
    watch.size = 2 * 1024 * 1024
    watch.go_on(2)
    reports = [contact.report for contact in watch.polls.contacts(watch.now).values() if contact.report is not None]
    assert all(one.generation_of("uid-of-chat") == 1 for one in reports), "what runs is known of all"
    assert sum(bool(one.targets_of("uid-of-chat")) for one in reports) == 16


def test_a_contact_that_nobody_has_asked_says_nothing() -> None:
    polls = Polls()
    polls.expect(0.0, Expected(REVISION, "key", [pod()], {}))
    contact = polls.contacts(5.0)["shop-1"]
    assert (contact.report, contact.age, contact.silent, contact.error) == (None, 0.0, 0.0, "")
    assert math.isfinite(heard().age)


def test_the_fleet_key_is_in_no_repr() -> None:
    assert "topsecret" not in repr(Expected(REVISION, "topsecret", [], {}))

"""Which namespace is looked at, and when."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llmroute_operator.marks import APART, DEBOUNCE, LONGEST_BACK_OFF, Marks


@pytest.fixture
def marks() -> Marks:
    return Marks(random.Random(1))


def test_a_burst_of_events_is_one_turn(marks: Marks) -> None:
    for now in (0.0, 0.02, 0.05):
        marks.mark("shop", now)
    assert marks.take(0.05) is None
    turn = marks.take(DEBOUNCE)
    assert turn is not None and turn.namespace == "shop" and turn.fresh
    assert marks.take(10.0) is None


def test_an_event_during_a_turn_gives_another_turn_after_a_moment(marks: Marks) -> None:
    marks.mark("shop", 0.0)
    marks.take(1.0)
    marks.mark("shop", 1.1)
    assert marks.take(2.0) is None, "one worker has it"
    marks.done("shop", 2.0, None)
    assert marks.take(2.0) is None
    turn = marks.take(2.0 + APART)
    assert turn is not None and turn.fresh


def test_a_look_without_a_change_is_not_fresh(marks: Marks) -> None:
    marks.later("shop", 5.0)
    assert marks.next() == 5.0
    turn = marks.take(6.0)
    assert turn is not None and not turn.fresh and turn.waited == 1.0


def test_looks_keep_their_distance(marks: Marks) -> None:
    marks.later("shop", 0.0)
    marks.take(0.0)
    marks.later("shop", 0.1)
    marks.done("shop", 1.0, None)
    marks.later("shop", 1.0)
    assert marks.take(1.0) is not None, "what was asked for during the turn"
    marks.done("shop", 1.0, 60.0)
    marks.later("shop", 1.1)
    assert marks.next() == 1.0 + APART


def test_a_change_makes_a_planned_look_fresh_and_sooner(marks: Marks) -> None:
    marks.later("shop", 60.0)
    marks.mark("shop", 1.0)
    turn = marks.take(1.0 + DEBOUNCE)
    assert turn is not None and turn.fresh
    marks.done("shop", 2.0, 60.0)
    assert marks.next() == 62.0


def test_the_longest_waiting_goes_first(marks: Marks) -> None:
    marks.mark("b", 0.0)
    marks.mark("a", 0.1)
    assert [turn.namespace for turn in (marks.take(9.0), marks.take(9.0)) if turn] == ["b", "a"]


def test_failures_wait_longer_each_time_and_events_do_not_shorten_that(marks: Marks) -> None:
    now, waits = 0.0, []
    for _ in range(9):
        marks.mark("shop", now)
        now = marks.next() or 0.0
        turn = marks.take(now)
        assert turn is not None and turn.fresh
        waits.append(marks.failed("shop", now))
        marks.mark("shop", now)
        assert marks.next() == now + waits[-1]
    assert 0.75 <= waits[0] <= 1.25 and waits[1] > waits[0] and max(waits) <= LONGEST_BACK_OFF * 1.25
    marks.take(now + 100.0)
    marks.done("shop", now + 100.0, None)
    marks.mark("shop", now + 101.0)
    assert marks.next() == now + 101.0 + DEBOUNCE, "a success forgets the failures"


def test_a_namespace_with_nothing_to_do_is_forgotten(marks: Marks) -> None:
    marks.mark("shop", 0.0)
    marks.take(1.0)
    marks.done("shop", 1.0, None)
    assert marks.next() is None and marks.depth(100.0) == 0 and marks.stuck(100.0) == 0.0


def test_a_queue_that_does_not_move_is_noticed(marks: Marks) -> None:
    marks.mark("shop", 0.0)
    assert marks.stuck(100.0) == pytest.approx(100.0 - DEBOUNCE)
    marks.take(100.0)
    assert marks.stuck(150.0) == 50.0, "nor a turn that does not end"


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: a marked namespace gets its turn, and never two at once."""

    def __init__(self) -> None:
        super().__init__()
        self.marks = Marks(random.Random(0))
        self.now = 0.0
        self.working: set[str] = set()
        self.owed: set[str] = set()

    @rule(namespace=st.sampled_from("abc"), after=st.floats(0, 2))
    def mark(self, namespace: str, after: float) -> None:
        self.now += after
        self.marks.mark(namespace, self.now)
        self.owed.add(namespace)

    @rule(namespace=st.sampled_from("abc"), after=st.floats(0, 2))
    def later(self, namespace: str, after: float) -> None:
        self.marks.later(namespace, self.now + after)

    @rule(after=st.floats(0, 100))
    def take(self, after: float) -> None:
        self.now += after
        turn = self.marks.take(self.now)
        if turn is not None:
            assert turn.namespace not in self.working
            assert turn.fresh or turn.namespace not in self.owed
            self.working.add(turn.namespace)
            self.owed.discard(turn.namespace)

    @rule(namespace=st.sampled_from("abc"), well=st.booleans(), again=st.none() | st.floats(0, 60))
    def end(self, namespace: str, well: bool, again: float | None) -> None:
        if namespace in self.working:
            self.working.discard(namespace)
            if well:
                self.marks.done(namespace, self.now, again)
            else:
                self.marks.failed(namespace, self.now)
                self.owed.add(namespace)

    @invariant()
    def what_is_owed_comes(self) -> None:
        if self.owed - self.working:
            due = self.marks.next()
            assert due is not None and due <= self.now + LONGEST_BACK_OFF * 1.25


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=30)

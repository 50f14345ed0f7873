"""The batch engine against arithmetic done by hand, and the token bucket."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.simulator.capacity import Bucket, Engine, Ticket
from llmroute.simulator.spec import Batch, RateLimit


class World:
    """An engine whose time jumps from one event to the next."""

    def __init__(self, batch: Batch, speed: float) -> None:
        self.now = 0.0
        self.engine = Engine(batch, speed, 0.0)
        self.ended: dict[str, float] = {}

    def submit(self, name: str, units: float) -> Ticket:
        self.engine.advance(self.now, 1.0, 1.0)
        ticket = self.engine.join()
        self.engine.call_when(ticket, units, lambda: self._end(name, ticket))
        return ticket

    def run_until(self, now: float) -> None:
        while (due := self.engine.next_at()) is not None and due <= now:
            self.now = due
            self.engine.advance(due, 1.0, 1.0)
        self.now = now
        self.engine.advance(now, 1.0, 1.0)

    def _end(self, name: str, ticket: Ticket) -> None:
        self.ended[name] = self.now
        self.engine.leave(ticket)


def test_alone_a_request_is_served_at_full_speed() -> None:
    world = World(Batch(slots=4, knee=2), speed=10)
    world.submit("only", 20)
    world.run_until(100)
    assert world.ended == pytest.approx({"only": 2.0})


def test_two_share_and_each_is_slower_by_the_knee() -> None:
    world = World(Batch(slots=4, knee=2), speed=10)
    world.submit("a", 20)
    world.submit("b", 20)
    world.run_until(100)
    assert world.ended == pytest.approx({"a": 3.0, "b": 3.0})  # 10 / (1 + 1/2) tokens a second each


def test_a_latecomer_slows_the_first_from_its_arrival_on() -> None:
    world = World(Batch(slots=4, knee=1), speed=10)
    world.submit("first", 20)
    world.run_until(1)
    world.submit("late", 20)
    world.run_until(100)
    # first: 10 units alone, 10 at half speed: t=3; late: 10 units by then, the rest alone: t=4
    assert world.ended == pytest.approx({"first": 3.0, "late": 4.0})


def test_beyond_the_slots_requests_wait_in_order() -> None:
    world = World(Batch(slots=1, knee=1), speed=10)
    for name in "abc":
        world.submit(name, 10)
    assert (world.engine.serving, world.engine.queued) == (1, 2)
    world.run_until(100)
    assert world.ended == pytest.approx({"a": 1.0, "b": 2.0, "c": 3.0})


def test_one_that_gives_up_in_the_queue_lets_the_others_pass() -> None:
    world = World(Batch(slots=1, knee=1), speed=10)
    world.submit("a", 10)
    impatient = world.submit("b", 10)
    world.submit("c", 10)
    world.engine.leave(impatient)
    world.engine.leave(impatient)
    world.run_until(100)
    assert world.ended == pytest.approx({"a": 1.0, "c": 2.0})


def test_a_slowdown_counts_from_its_moment() -> None:
    world = World(Batch(slots=1, knee=1), speed=10)
    world.submit("a", 20)
    world.engine.advance(1.0, 5.0, 1.0)
    assert world.engine.next_at() == pytest.approx(6.0)


def test_lost_slots_take_no_service_from_those_inside_but_admit_nobody() -> None:
    world = World(Batch(slots=2, knee=1), speed=10)
    world.submit("a", 10)
    world.submit("b", 20)
    world.submit("c", 10)
    world.engine.advance(0.0, 1.0, 0.5)
    assert (world.engine.serving, world.engine.queued) == (2, 1)


@given(
    arrivals=st.lists(
        st.tuples(st.floats(0, 5), st.floats(0.1, 50)),
        min_size=1,
        max_size=12,
    ),
    slots=st.integers(1, 4),
)
def test_everyone_is_served_in_the_end_and_the_engine_is_empty(arrivals: list[tuple[float, float]], slots: int) -> None:
    world = World(Batch(slots=slots, knee=2), speed=10)
    for number, (gap, units) in enumerate(arrivals):
        world.run_until(world.now + gap)
        world.submit(str(number), units)
    world.run_until(10_000)
    assert len(world.ended) == len(arrivals)
    assert (world.engine.serving, world.engine.queued, world.engine.next_at()) == (0, 0, None)


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    bucket = Bucket(RateLimit(rps=2, burst=3), 0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(moment) for moment in (0.4, 0.5, 0.6)] == [False, True, False]
    assert sum(bucket.take(moment) for moment in itertools.repeat(100.0, 9)) == 3

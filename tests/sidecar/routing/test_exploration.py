"""What is not known is found out: neither by a stampede nor never."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sidecar.routing.world import World

from llmroute.request import Outcome
from llmroute.spec import Duration, Prior


@given(
    known=st.lists(st.floats(0.05, 20.0), min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_a_target_that_never_answered_is_neither_always_nor_never_chosen(known: list[float], seed: int) -> None:
    """Whatever the others' latencies: it is taken for a median one."""
    names = [f"t{index}" for index in range(len(known))]
    world = World(seed=seed, new={}, targets={name: {} for name in names})
    world.knows(3, **dict(zip(names, known, strict=True)))
    picks = world.picks(400)
    assert picks["new"] < 360
    if max(known) < 8 * min(known):
        assert picks["new"] > 0


def test_a_new_target_is_met_with_a_few_requests_at_once_not_with_all() -> None:
    """Nothing has been answered yet: what is in flight to it is all that is known."""
    world = World(new={}, a={}, b={}, c={}).knows(a=0.5, b=0.6, c=0.7)
    sent = 0
    for _ in range(100):
        if world.chosen() == "new":
            sent += 1
            world.queues["new"].in_flight += 1
    assert 1 <= sent <= 30


def test_at_a_cold_start_a_burst_is_spread_over_all() -> None:
    world = World(a={}, b={}, c={}, d={})
    for _ in range(100):
        world.queues[world.chosen()].in_flight += 1
    assert min(queue.in_flight for queue in world.queues.values()) >= 10


def test_a_new_target_that_only_fails_is_soon_left_alone() -> None:
    world = World(new={}, known={}).knows(known=1.0)
    sent = 0
    for _ in range(200):
        world.now += 0.1
        if world.chosen() == "new":
            sent += 1
            world.ends("new", Outcome.SERVER_ERROR)
        else:
            world.answers("known", 1.0)
    assert sent <= 10


def test_a_declared_prior_is_trusted_until_there_are_answers() -> None:
    quick, slow = Prior(ttft=Duration(0.2)), Prior(ttft=Duration(2.0))
    world = World(quick={"prior": quick}, slow={"prior": slow})
    assert world.picks(100)["quick"] > 95
    world.knows(quick=5.0)
    assert world.picks(100)["slow"] > 95


def test_a_prior_too_good_to_be_true_is_found_out() -> None:
    world = World(boaster={"prior": Prior(ttft=Duration(0.01))}, honest={}).knows(honest=0.5)
    sent = 0
    for _ in range(100):
        world.now += 0.1
        target = world.chosen()
        sent += target == "boaster"
        world.answers(target, 5.0 if target == "boaster" else 0.5)
    assert sent <= 20


@pytest.mark.parametrize("rate", [1.0, 20.0])
def test_a_browned_out_target_is_left_within_a_few_requests_and_found_again_later(rate: float) -> None:
    world, noise = World(fast={}, steady={}), Random(5)

    def serve(seconds: float, level: float) -> int:
        sent = 0
        for _ in range(int(seconds * rate)):
            world.now += 1.0 / rate
            target = world.chosen()
            sent += target == "fast"
            world.answers(target, (level if target == "fast" else 0.8) * noise.lognormvariate(0.0, 0.5))
        return sent

    assert serve(100.0, 0.3) > 0.8 * 100 * rate
    assert serve(100.0, 3.0) < 12 + 0.1 * 100 * rate
    assert serve(400.0, 0.3) > 0.4 * 400 * rate


def test_many_sidecars_with_the_same_facts_do_not_all_move_at_once() -> None:
    """Two nearly equal targets: deciders that differ only in their randomness share them."""
    picks = {"a": 0, "b": 0}
    for seed in range(200):
        picks[World(seed=seed, a={}, b={}).knows(a=0.50, b=0.51).chosen()] += 1
    assert min(picks.values()) > 40


def test_the_same_seed_makes_the_same_choices() -> None:
    def choices() -> list[str]:
        world = World(seed=9, a={}, b={}, c={}).knows(3, a=0.5, b=0.5, c=0.6)
        return [world.chosen() for _ in range(50)]

    assert choices() == choices()

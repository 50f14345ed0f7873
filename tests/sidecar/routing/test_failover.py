"""The next attempt, when the one before failed, and what to do when nobody is ready."""

from decimal import Decimal
from typing import Any

import pytest
from tests.sidecar.routing.world import World

from llmroute.errors import NoCandidate, RateLimited
from llmroute.request import Outcome
from llmroute.spec import Cost, Objective


def test_a_request_never_returns_to_a_target_that_failed_it_while_another_is_left() -> None:
    for seed in range(50):
        world = World(fast={}, slow={}, seed=seed).knows(fast=0.1, slow=30.0)
        first = world.chosen()
        world.ends(first, Outcome.SERVER_ERROR)
        second = world.choose(first)
        assert second.target != first
        assert second.reason == "failover"


@pytest.mark.parametrize("outcome", [Outcome.SERVER_ERROR, Outcome.CONNECT_FAILED, Outcome.BROKEN, Outcome.OVERLOADED])
def test_the_fastest_target_is_left_at_once_when_it_fails(outcome: Outcome) -> None:
    """Not only by the request that failed: the very next one goes elsewhere, too."""
    world = World(fast={}, slow={}).knows(fast=0.3, slow=0.6)
    sent_to_fast = 0
    for _ in range(200):
        world.now += 0.1
        tried: list[str] = []
        while True:
            target = world.chosen(*tried)
            if target == "slow":
                world.answers("slow", 0.6)
                break
            sent_to_fast += 1
            world.ends("fast", outcome)
            tried.append(target)
        assert len(tried) <= 1
    assert sent_to_fast <= 8
    assert world.picks(100)["slow"] >= 95


@pytest.mark.parametrize("priority", ["balanced", "cost", "quality"])
def test_a_target_that_is_fastest_cheapest_and_best_is_left_when_it_fails_all_the_same(priority: Any) -> None:
    cheap, dear = Cost(input_per_million=Decimal(2)), Cost(input_per_million=Decimal(3))
    world = World(
        ideal={"cost": cheap, "quality_tier": 5},
        plain={"cost": dear, "quality_tier": 4},
        spec={"objective": Objective(priority=priority)},
    ).knows(ideal=0.3, plain=0.6)
    assert world.picks(20) == {"ideal": 20}
    world.ends("ideal", Outcome.SERVER_ERROR).ends("ideal", Outcome.SERVER_ERROR)
    assert world.picks(20) == {"plain": 20}


def test_a_target_that_recovers_is_used_again_within_half_a_minute() -> None:
    world = World(fast={}, slow={}).knows(fast=0.3, slow=0.9).ejects("fast")
    for _ in range(300):
        world.now += 0.1
        target = world.chosen()
        world.answers(target, 0.3 if target == "fast" else 0.9)
    assert world.picks(100)["fast"] > 90


def test_fallbacks_are_used_only_when_no_normal_target_is_left_and_in_their_order() -> None:
    world = World(main={}, one={}, two={}, spec={"fallback_targets": ("two", "one")}).knows(main=9.0, one=0.1, two=0.2)
    assert world.chosen() == "main"
    decision = world.choose("main")
    assert (decision.target, decision.reason) == ("two", "fallback")
    assert world.chosen("main", "two") == "one"
    world.ejects("main")
    assert world.choose().reason == "fallback"


def test_a_fallback_that_is_out_is_passed_over() -> None:
    world = World(main={}, one={}, two={}, spec={"fallback_targets": ("one", "two")}).ejects("main", "one")
    assert world.chosen() == "two"


def test_when_all_are_ejected_the_best_is_tried_anyway() -> None:
    world = World(fast={}, slow={}).knows(fast=0.2, slow=20.0).ejects("fast", "slow")
    decision = world.choose()
    assert (decision.target, decision.reason) == ("fast", "panic")
    assert world.choose("fast").target == "slow"


def test_in_panic_a_target_with_a_wrong_key_comes_last() -> None:
    world = World(unpaid={}, shaky={}).knows(unpaid=0.1, shaky=9.0).ejects("shaky").ends("unpaid", Outcome.BILLING)
    assert world.chosen() == "shaky"
    assert world.chosen("shaky") == "unpaid", "its own answer tells the app more than ours"


def test_the_only_target_is_tried_again_after_it_failed() -> None:
    world = World(only={}).ends("only", Outcome.SERVER_ERROR)
    decision = world.choose("only")
    assert (decision.target, decision.reason) == ("only", "again")


def test_a_target_that_refused_the_request_for_good_is_not_tried_again() -> None:
    world = World(only={}).ends("only", Outcome.AUTHENTICATION)
    with pytest.raises(NoCandidate, match="ejected: authentication"):
        world.choose("only")


def test_when_all_are_limited_the_app_is_told_when_the_first_recovers() -> None:
    world = World(east={}, west={})
    world.ends("east", Outcome.RATE_LIMITED, retry_after=30.0).ends("west", Outcome.RATE_LIMITED, retry_after=8.0)
    with pytest.raises(RateLimited) as refused:
        world.choose()
    assert refused.value.retry_after == pytest.approx(8.0)
    world.now += 8.1
    assert world.chosen() == "west"


def test_when_all_are_limited_and_ejected_as_well_the_app_is_told_when_the_first_recovers() -> None:
    world = World(east={}, west={})
    for name, seconds in (("east", 30.0), ("west", 8.0)):
        for _ in range(3):
            world.ends(name, Outcome.OVERLOADED, retry_after=seconds)
    with pytest.raises(RateLimited) as refused:
        world.choose()
    assert refused.value.retry_after == pytest.approx(8.0)


def test_a_limited_target_is_not_tried_in_panic_but_an_ejected_one_is() -> None:
    world = World(limited={}, shaky={}).ejects("shaky").ends("limited", Outcome.RATE_LIMITED, retry_after=30.0)
    assert world.chosen() == "shaky"


def test_a_limited_target_is_not_tried_again_by_the_request_that_met_the_limit() -> None:
    world = World(only={}).ends("only", Outcome.RATE_LIMITED)
    with pytest.raises(RateLimited) as refused:
        world.choose("only")
    assert refused.value.retry_after == pytest.approx(1.0)


def test_a_missing_key_is_never_tried() -> None:
    world = World(east={}, west={}).ejects("west")
    world["east"].missing_key = "file x"
    assert world.picks(20) == {"west": 20}
    world["west"].missing_key = "file x"
    with pytest.raises(NoCandidate, match="east: its key is missing: file x, west: its key is missing: file x"):
        world.choose()


def test_the_message_stays_short_for_many_targets() -> None:
    names = [f"t{index}" for index in range(200)]
    world = World(targets={name: {} for name in names})
    for name in names:
        world[name].missing_key = "file x"
    with pytest.raises(NoCandidate, match="and 190 more") as refused:
        world.choose()
    assert len(refused.value.message) < 1000


def test_probation_lets_one_request_a_second_through_to_a_target_that_came_back() -> None:
    world = World(back={}, steady={}).knows(back=0.1, steady=5.0).ejects("back")
    world.now += 60.0
    assert world.chosen() == "back"
    assert world.picks(20)["steady"] >= 15

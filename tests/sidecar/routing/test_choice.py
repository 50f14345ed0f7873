"""Which of those who may answer is best."""

from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sidecar.routing.world import World, ask

from llmroute.errors import BadRequest, NoCandidate
from llmroute.request import Outcome, Wishes
from llmroute.routing import REASONS, explain
from llmroute.spec import Constraints, Cost, Duration, Objective, Prior, Weights


def priced(dollars: float) -> dict[str, Cost]:
    price = Decimal(str(dollars))
    return {"cost": Cost(input_per_million=price, output_per_million=price)}


@pytest.mark.parametrize("stream", [True, False])
def test_the_fastest_target_gets_nearly_all(stream: bool) -> None:
    world = World(slow={}, fast={}, middling={}).knows(slow=3.0, fast=0.3, middling=1.0)
    picks = world.picks(stream=stream)
    assert picks["fast"] > 290


def test_streams_are_chosen_by_their_first_token_and_the_rest_by_the_total() -> None:
    """One target starts at once and dawdles, the other thinks first and is done sooner."""
    world = World(starter={}, finisher={}).knows(1, starter=0.2, finisher=1.0)
    for _ in range(20):
        world.answers("starter", 0.2)
        world.answers("finisher", 1.0)
        world.answers("starter", 12.0, stream=False)
        world.answers("finisher", 3.0, stream=False)
    assert world.picks(50, stream=True)["starter"] > 45
    assert world.picks(50, stream=False)["finisher"] > 45


def test_throughput_can_be_asked_for() -> None:
    spec = {"objective": Objective(latency="throughput")}
    prompt, fluent = (
        Prior(ttft=Duration(0.1), tokens_per_second=10.0),
        Prior(ttft=Duration(1.0), tokens_per_second=200.0),
    )
    world = World(prompt={"prior": prompt}, fluent={"prior": fluent}, spec=spec)
    assert world.picks(50)["fluent"] > 45
    assert world.picks(50, wishes=Wishes(objective="ttft"))["prompt"] > 45
    assert world.picks(50, wishes=Wishes(objective="total"))["fluent"] > 45


def test_long_answers_go_to_the_fluent_and_short_ones_to_the_prompt() -> None:
    prompt, fluent = (
        Prior(ttft=Duration(0.2), tokens_per_second=20.0),
        Prior(ttft=Duration(2.0), tokens_per_second=100.0),
    )
    spec = {"objective": Objective(latency="total")}
    world = World(prompt={"prior": prompt}, fluent={"prior": fluent}, spec=spec)
    assert world.picks(50, output_tokens=5)["prompt"] > 45
    assert world.picks(50, output_tokens=2000)["fluent"] > 45


def test_a_high_percentile_prefers_the_steady_target() -> None:
    def world(percentile: int) -> World:
        made = World(steady={}, erratic={}, spec={"objective": Objective(percentile=percentile)})
        noise = Random(3)
        for _ in range(60):
            made.answers("steady", 0.5 * noise.lognormvariate(0.0, 0.05))
            made.answers("erratic", 0.4 * noise.lognormvariate(0.0, 0.9))
        return made

    assert world(50).picks()["erratic"] > 150
    assert world(95).picks()["steady"] > 280


@pytest.mark.parametrize(
    ("priority", "winner", "reason"),
    [("speed", "fast", "fastest"), ("cost", "cheap", "cheapest"), ("quality", "good", "best")],
)
def test_a_priority_decides_what_best_means(priority: str, winner: str, reason: str) -> None:
    world = World(
        fast={**priced(10.0), "quality_tier": 2},
        cheap={**priced(0.5), "quality_tier": 2},
        good={**priced(10.0), "quality_tier": 5},
        spec={"objective": Objective(priority=priority)},  # type: ignore[arg-type]
    ).knows(fast=0.2, cheap=1.0, good=2.0)
    assert world.picks(50) == {winner: 50}
    assert world.choose().reason == reason
    for wish, wished in (("speed", "fast"), ("cost", "cheap"), ("quality", "good")):
        assert world.picks(20, wishes=Wishes(priority=wish)) == {wished: 20}


def test_scores_weigh_latency_cost_and_quality_as_documented() -> None:
    world = World(
        east={**priced(2.0), "quality_tier": 5},
        west={**priced(4.0), "quality_tier": 3},
        spec={"objective": Objective(priority="balanced")},
    ).knows(east=0.8, west=0.4)
    scores = {each.target: each.score for each in explain(world.candidates, ask(), world.now)}
    assert scores["east"] == pytest.approx(0.4 * 0.5 + 0.3 * 1.0 + 0.3 * 1.0, rel=0.01)
    assert scores["west"] == pytest.approx(0.4 * 1.0 + 0.3 * 0.5 + 0.3 * 0.5, rel=0.01)


def test_an_unknown_price_counts_as_the_median() -> None:
    spec = {"objective": Objective(weights=Weights(cost=1.0))}
    world = World(low=priced(1.0), mid=priced(2.0), high=priced(8.0), unknown={}, spec=spec)
    scores = {each.target: each.score for each in explain(world.candidates, ask(), world.now)}
    assert scores == {"low": 1.0, "mid": 0.5, "high": 0.125, "unknown": 0.5}


def test_a_free_target_is_the_cheapest_and_divides_by_nothing() -> None:
    spec = {"objective": Objective(priority="cost")}
    world = World(free=priced(0.0), paid=priced(1.0), spec=spec).knows(free=2.0, paid=0.1)
    assert world.picks(50) == {"free": 50}


def test_speed_is_the_default_until_cost_or_quality_is_declared() -> None:
    assert World(east={}, west={}).candidates.policy.terms.mix[:3] == (1.0, 0.0, 0.0)
    assert World(east=priced(1.0), west={}).candidates.policy.terms.mix[:3] == (0.4, 0.3, 0.3)
    assert World(east={"quality_tier": 5}, west={}).candidates.policy.terms.mix[:3] == (0.4, 0.3, 0.3)


def test_weights_are_normalised() -> None:
    spec = {"objective": Objective(weights=Weights(latency=0.2, cost=0.6))}
    assert World(east={}, spec=spec).candidates.policy.terms.mix[:3] == pytest.approx((0.25, 0.75, 0.0))
    nothing = {"objective": Objective(weights=Weights())}
    assert World(east={}, spec=nothing).candidates.policy.terms.mix[:3] == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("wishes", "header"),
    [
        (Wishes(priority="cheerful"), "x-llmroute-priority"),
        (Wishes(objective="karma"), "x-llmroute-objective"),
    ],
)
def test_a_word_that_we_do_not_know_is_the_apps_mistake(wishes: Wishes, header: str) -> None:
    with pytest.raises(BadRequest) as refused:
        World(east={}).choose(wishes=wishes)
    assert refused.value.param == header


def test_near_ties_go_to_the_less_busy() -> None:
    world = World(busy={}, idle={}).knows(200, busy=0.5, idle=0.5)
    world.queues["busy"].in_flight = 7
    picks = world.picks()
    assert picks["idle"] > picks["busy"]


def test_equals_share_the_load() -> None:
    world = World(a={}, b={}, c={}, d={}).knows(a=0.5, b=0.5, c=0.5, d=0.5)
    assert min(world.picks(800).values()) > 100


def test_a_target_past_the_limit_is_not_chosen() -> None:
    spec = {"constraints": Constraints(max_ttft=1.0), "objective": Objective(priority="cost")}  # type: ignore[arg-type]
    world = World(cheap=priced(0.1), quick=priced(9.0), spec=spec).knows(cheap=3.0, quick=0.5)
    assert world.picks(20) == {"quick": 20}
    assert world.dropped()["cheap"] == "max-ttft"
    assert world.chosen(stream=False) == "cheap", "there is no first token to wait for"


def test_the_requests_own_limit_counts_if_it_is_stricter() -> None:
    world = World(cheap=priced(0.1), quick=priced(9.0), spec={"objective": Objective(priority="cost")})
    world.knows(cheap=3.0, quick=0.5)
    assert world.chosen(wishes=Wishes(max_latency=4.0)) == "quick"
    assert world.chosen(wishes=Wishes(max_latency=60.0)) == "cheap"


@pytest.mark.parametrize("limit", [{"max_ttft": 0.2}, {"max_latency": 0.2}, {"min_quality_tier": 5}])
def test_when_nobody_keeps_the_limits_they_are_relaxed(limit: dict[str, float]) -> None:
    world = World(east={}, west={}, spec={"constraints": Constraints(**limit)}).knows(east=1.0, west=3.0)  # type: ignore[arg-type]
    decision = world.choose()
    assert (decision.target, decision.reason) == ("east", "relaxed")


@pytest.mark.parametrize("limit", [{"max_ttft": 0.2}, {"max_latency": 0.2}, {"min_quality_tier": 5}])
def test_or_the_request_is_refused_if_the_route_says_so(limit: dict[str, float]) -> None:
    spec = {"constraints": Constraints(on_constraint="reject", **limit)}  # type: ignore[arg-type]
    world = World(east={}, west={}, spec=spec).knows(east=1.0, west=3.0)
    with pytest.raises(NoCandidate, match="east: m"):
        world.choose()


def test_a_fallback_that_keeps_the_limits_is_used_rather_than_refusing() -> None:
    spec = {"constraints": Constraints(on_constraint="reject", max_ttft=0.5), "fallback_targets": ("spare",)}  # type: ignore[arg-type]
    world = World(main={}, spare={}, spec=spec).knows(main=1.0, spare=0.3)
    assert world.choose().reason == "fallback"


@pytest.mark.parametrize("spec", [Constraints(regions=("eu",)), Constraints(require={"safety": "strict"})])
def test_regions_and_labels_are_never_relaxed(spec: Constraints) -> None:
    with pytest.raises(NoCandidate):
        World(east={"region": "us"}, spec={"constraints": spec}).choose()


def test_a_target_that_never_answered_is_held_to_no_latency() -> None:
    spec = {"constraints": Constraints(max_ttft=0.001, on_constraint="reject")}  # type: ignore[arg-type]
    assert World(new={}, spec=spec).chosen() == "new"


def test_the_only_target_is_chosen_because_it_is_the_only_one() -> None:
    assert World(east={}).choose().reason == "only"


def test_exploring_is_called_so() -> None:
    world = World(known={}, new={}).knows(known=0.3)
    decisions = {(decision.target, decision.reason) for decision in (world.choose() for _ in range(300))}
    assert decisions == {("known", "fastest"), ("new", "explored")}


@given(st.data())
def test_any_world_gives_a_reason_from_the_fixed_words_and_a_target_that_may_answer(data: st.DataObject) -> None:
    names = ["a", "b", "c", "d"]
    world = World(
        spec={"fallback_targets": tuple(data.draw(st.lists(st.sampled_from(names), unique=True, max_size=2)))},
        targets={name: {} for name in names},
    )
    for _ in range(data.draw(st.integers(0, 12))):
        name = data.draw(st.sampled_from(names))
        world.now += data.draw(st.floats(0.0, 20.0))
        outcome = data.draw(st.sampled_from(list(Outcome)))
        if outcome is Outcome.OK:
            world.answers(name, data.draw(st.floats(0.01, 30.0)), stream=data.draw(st.booleans()))
        else:
            world.ends(name, outcome, waited=data.draw(st.floats(0.0, 60.0)), retry_after=5.0)
    tried = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=3))
    try:
        decision = world.choose(*tried, stream=data.draw(st.booleans()))
    except Exception as error:
        assert type(error).__name__ in {"RateLimited", "NoCandidate"}
        return
    assert decision.reason in REASONS
    assert world[decision.target].health.limited_until <= world.now
    if decision.target in tried:
        assert decision.reason == "again"

"""Who may answer at all."""

from decimal import Decimal
from typing import Any

import pytest
from tests.sidecar.routing.world import World

from llmroute.errors import BadRequest, NoCandidate, Unsupported
from llmroute.request import Operation, Outcome, Wishes
from llmroute.spec import Constraints, Cost

EMBEDDING = {"operation": Operation.EMBEDDINGS, "stream": False}


@pytest.mark.parametrize(
    ("filter", "spec", "barred", "asked"),
    [
        ("tenant", {}, {"tenants": ("gold",)}, {}),
        ("tenant", {}, {"tenants": ("gold",)}, {"wishes": Wishes(tenant="silver")}),
        ("region", {"constraints": Constraints(regions=("eu",))}, {"region": "us"}, {}),
        ("region", {"constraints": Constraints(regions=("eu",))}, {}, {}),
        ("labels", {"constraints": Constraints(require={"safety": "strict"})}, {}, {}),
        ("labels", {"constraints": Constraints(require={"safety": "strict"})}, {"labels": {"safety": "lax"}}, {}),
        ("capability", {}, {"capabilities": ("vision", "streaming")}, {"needs": frozenset({"tools"})}),
        ("capability", {}, {"capabilities": ("tools",)}, {}),
        ("capability", {}, {"capabilities": ("tools", "streaming")}, EMBEDDING),
        ("dialect", {}, {}, {"inexpressible": {"barred": "logit_bias"}}),
        ("asked", {}, {}, {"wishes": Wishes(target="good")}),
        ("context", {}, {"context_window": 8000}, {"window_above": 8000}),
        ("context", {}, {}, {"window_above": 8000}),
        ("min-quality", {"constraints": Constraints(min_quality_tier=3)}, {"quality_tier": 2}, {}),
        ("min-quality", {}, {"quality_tier": 2}, {"wishes": Wishes(min_quality=3)}),
        (
            "max-cost",
            {"constraints": Constraints(max_cost_per_request=Decimal("0.01"))},
            {"cost": Cost(input_per_million=Decimal(100))},
            {},
        ),
    ],
)
def test_a_target_that_fails_a_filter_is_not_chosen_and_the_explanation_names_the_filter(
    filter: str, spec: dict[str, Any], barred: dict[str, Any], asked: dict[str, Any]
) -> None:
    good = {"region": "eu", "labels": {"safety": "strict"}, "context_window": 100_000}
    world = World(barred=barred, good=good, spec=spec).knows(barred=0.1, good=2.0)
    assert world.picks(30, **asked) == {"good": 30}
    assert world.dropped(**asked) == {"barred": filter, "good": None}


def test_a_tenant_may_use_what_is_reserved_for_it() -> None:
    world = World(gold={"tenants": ("gold",)}, all={}).knows(gold=0.1, all=2.0)
    assert world.chosen(wishes=Wishes(tenant="gold")) == "gold"
    assert world.chosen() == "all"


def test_capabilities_that_are_not_declared_are_all_there() -> None:
    world = World(any={})
    assert world.chosen(needs=frozenset({"tools", "vision", "json"})) == "any"


@pytest.mark.parametrize(
    ("reason", "break_it"),
    [
        ("credential", lambda world: setattr(world["broken"], "missing_key", "file x")),
        ("ejected: connect-failed", lambda world: world.ejects("broken")),
        ("ejected: billing", lambda world: world.ends("broken", Outcome.BILLING)),
        ("limited", lambda world: world.ends("broken", Outcome.RATE_LIMITED, retry_after=9.0)),
    ],
)
def test_a_target_that_cannot_answer_now_is_not_chosen(reason: str, break_it: Any) -> None:
    world = World(broken={}, good={}).knows(broken=0.1, good=2.0)
    break_it(world)
    assert world.picks(30) == {"good": 30}
    assert world.dropped() == {"broken": reason, "good": None}


def test_a_full_target_gets_nothing_while_another_is_free() -> None:
    world = World(full={"max_concurrency": 1}, free={}).knows(full=0.1, free=2.0)
    world.queues["full"].full = True
    assert world.chosen() == "free"
    world.queues["free"].full = True
    assert world.chosen() == "full", "when all are full the best has the queue worth waiting in"


def test_a_prompt_goes_where_it_fits_with_its_answer() -> None:
    world = World(small={"context_window": 2000}, large={"context_window": 100_000}).knows(small=0.1, large=2.0)
    assert world.chosen(prompt_tokens=1000) == "small"
    assert world.chosen(prompt_tokens=1900, max_output_tokens=200) == "large"


def test_a_prompt_that_seems_too_long_for_all_is_tried_anyway() -> None:
    """Token counts are estimates; the provider's own answer is better than a refusal by ours."""
    world = World(small={"context_window": 2000}, large={"context_window": 4000})
    assert world.chosen(prompt_tokens=5000) in {"small", "large"}


def test_after_a_context_overflow_only_larger_windows_are_tried() -> None:
    world = World(small={"context_window": 2000}, same={"context_window": 2000}, large={"context_window": 4000})
    assert world.chosen("small", window_above=2000) == "large"
    with pytest.raises(NoCandidate, match="context"):
        world.choose("large", window_above=4000)


def test_the_asked_target_is_used_even_if_another_is_better() -> None:
    world = World(slow={}, fast={}).knows(slow=5.0, fast=0.1)
    decision = world.choose(wishes=Wishes(target="slow"))
    assert (decision.target, decision.reason) == ("slow", "asked")


def test_a_fallback_target_may_be_asked_for() -> None:
    world = World(main={}, spare={}, spec={"fallback_targets": ("spare",)})
    assert world.chosen(wishes=Wishes(target="spare")) == "spare"


def test_an_unknown_asked_target_is_the_apps_mistake() -> None:
    with pytest.raises(BadRequest, match="targets: east, west") as refused:
        World(east={}, west={}).choose(wishes=Wishes(target="north"))
    assert refused.value.param == "x-llmroute-target"


def test_what_no_target_can_express_is_a_400_that_names_the_field() -> None:
    with pytest.raises(Unsupported) as refused:
        World(east={}, west={}).choose(inexpressible={"east": "logit_bias", "west": "logit_bias"})
    assert refused.value.param == "logit_bias"


def test_what_no_target_can_do_is_a_400_that_names_the_capability() -> None:
    with pytest.raises(Unsupported) as refused:
        World(east={"capabilities": ("streaming",)}).choose(needs=frozenset({"vision"}))
    assert refused.value.param == "vision"


def test_a_capable_target_that_is_out_for_now_is_no_400() -> None:
    world = World(blind={"capabilities": ("streaming",)}, seeing={})
    world["seeing"].missing_key = "file x"
    with pytest.raises(NoCandidate, match="blind: capability, seeing: its key is missing: file x"):
        world.choose(needs=frozenset({"vision"}))


def test_tenants_of_clients_do_not_fill_the_memory() -> None:
    world = World(east={"tenants": ("gold",)}, west={})
    for index in range(2000):
        world.choose(wishes=Wishes(tenant=f"made-up-{index}"))
    assert len(world.candidates._known) <= 2  # the bound itself is what is promised


def test_kinds_of_requests_do_not_fill_the_memory() -> None:
    world = World(east={})
    for index in range(2000):
        world.choose(needs=frozenset({f"need-{index}"}))
    assert len(world.candidates._known) <= 256

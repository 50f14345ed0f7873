"""What a namespace's sidecars should run, when its ConfigMap is full."""

import random
import string
from typing import Any

import orjson
import pytest
from tests.operator.shop import route, target

from llmroute_operator.plan import Plan, plan
from llmroute_operator.render import config_map


def bulky(name: str, characters: int, *, age: float, generation: int = 1, **spec: Any) -> dict[str, Any]:
    """A route that no compression makes smaller than about three quarters of its characters."""
    rng = random.Random(f"{name} {characters}")
    words = ["".join(rng.choices(string.ascii_letters, k=1000)) for _ in range(characters // 1000)]
    targets = [target(f"t-{number}", url=f"https://example.com/{word}") for number, word in enumerate(words)]
    return route(name, generation=generation, age=age, **{"models": [name], "targets": targets, **spec})


def planned(*routes: dict[str, Any], before: Plan | None = None) -> Plan:
    """Before: the plan whose configuration is in force."""
    config = config_map("shop", before.rendered, None) if before else None
    return plan(routes, {}, config, {}, "cluster.local")


def served(found: Plan) -> dict[str, int]:
    """Generations by route."""
    entries = [one["metadata"] for one in orjson.loads(found.rendered.payload)["routes"]]
    return {one["name"]: one["generation"] for one in entries}


def told(found: Plan, name: str) -> str:
    blocked = found.verdicts[f"uid-of-{name}"].blocked
    return f"{blocked.reason} {blocked.message}" if blocked else ""


SMALL, HALF, HUGE = 1_000, 35_000, 90_000


@pytest.fixture(autouse=True)
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is full soon."""
    monkeypatch.setattr("llmroute_operator.render.PLAIN", 10_000)
    monkeypatch.setattr("llmroute_operator.render.LARGEST", 60_000)


def test_a_route_that_outgrows_the_configuration_goes_on_as_it_was_and_so_do_the_others() -> None:
    young = bulky("young", SMALL, age=1)
    before = planned(bulky("old", SMALL, age=9), young)
    grown = bulky("old", HUGE, age=9, generation=2)
    after = planned(grown, young, before=before)
    assert served(after) == {"old": 1, "young": 1}
    assert told(after, "old").startswith("ConfigTooLarge") and "go on with the one before" in told(after, "old")
    assert not told(after, "young")
    assert served(planned(grown, young, before=after)) == {"old": 1, "young": 1}, "and it stays so"
    mended = planned(bulky("old", SMALL, age=9, generation=3), young, before=after)
    assert served(mended) == {"old": 3, "young": 1} and not told(mended, "old")


def test_a_route_that_is_huge_from_its_beginning_is_left_out() -> None:
    found = planned(bulky("old", HUGE, age=9), bulky("young", SMALL, age=1))
    assert served(found) == {"young": 1}
    assert "no room left for this route" in told(found, "old")
    assert "uid-of-old" not in found.entries, "nor is it remembered as if it had been served"


def test_an_older_route_that_grows_pushes_no_younger_one_out() -> None:
    young = bulky("young", HALF, age=1)
    before = planned(bulky("old", HALF, age=9), young)
    assert served(before) == {"old": 1, "young": 1}
    after = planned(bulky("old", 2 * HALF, age=9, generation=2), young, before=before)
    assert served(after) == {"old": 1, "young": 1}


def test_when_two_grow_and_one_fits_the_older_one_does() -> None:
    before = planned(bulky("old", HALF, age=9), bulky("young", SMALL, age=1))
    grown = [bulky("old", HALF + 1000, age=9, generation=2), bulky("young", 2 * HALF, age=1, generation=2)]
    after = planned(*grown, before=before)
    assert served(after) == {"old": 2, "young": 1}


def test_a_route_that_gave_its_model_away_does_not_come_back_with_it() -> None:
    before = planned(bulky("old", SMALL, age=9, models=["chat"]))
    moved = bulky("old", HUGE, age=9, generation=2, models=["other"])
    after = planned(moved, bulky("young", SMALL, age=1, models=["chat"]), before=before)
    assert served(after) == {"young": 1}

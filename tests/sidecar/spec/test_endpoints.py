"""One declared target, and as many as there are addresses."""

from collections.abc import Callable, Collection
from typing import Any

import msgspec
import pytest

from llmroute.declared import Name
from llmroute.endpoints import MOST_ADDRESSES, MOST_OF_ROUTE, Endpoint, spread
from llmroute.spec import LLMRoute, Target, decode_written

SEED = b"0123456789abcdef"


def route(*targets: dict[str, Any], **spec: Any) -> LLMRoute:
    whole = {
        "apiVersion": "llmroute.dev/v1alpha1",
        "kind": "LLMRoute",
        "metadata": {"name": "chat"},
        "spec": {"targets": [{"provider": "openai", "model": "m", "url": "http://h"} | one for one in targets], **spec},
    }
    return msgspec.convert(whole, LLMRoute, dec_hook=decode_written)


def known(*addresses: str) -> Callable[[Target], Collection[str]]:
    return lambda target: addresses


def named(declared: LLMRoute) -> list[str]:
    return [target.name for target in declared.spec.targets]


VLLM = {"name": "vllm", "endpoints": "each"}
BACKUP = {"name": "backup"}


def test_a_route_of_single_targets_is_left_alone() -> None:
    declared = route(BACKUP)
    assert spread(declared, known("10.0.0.1"), SEED) == (declared, {})


def test_as_long_as_no_address_is_known_there_is_one_target() -> None:
    declared = route(VLLM, BACKUP)
    assert spread(declared, known(), SEED) == (declared, {})


def test_each_address_is_a_target_in_the_order_of_addresses() -> None:
    serving, stands_for = spread(route(VLLM, BACKUP), known("10.0.0.10", "10.0.0.9"), SEED)
    assert named(serving) == ["vllm-10-0-0-9", "vllm-10-0-0-10", "backup"]
    assert stands_for == {
        "vllm-10-0-0-9": Endpoint("vllm", "10.0.0.9"),
        "vllm-10-0-0-10": Endpoint("vllm", "10.0.0.10"),
    }
    assert all(target.url == "http://h" for target in serving.spec.targets)


def test_what_names_the_target_means_all_of_them_or_the_first() -> None:
    declared = route(VLLM, BACKUP, fallbackTargets=["vllm"], passthrough="vllm")
    serving, _ = spread(declared, known("10.0.0.1", "10.0.0.2"), SEED)
    assert serving.spec.fallback_targets == ("vllm-10-0-0-1", "vllm-10-0-0-2")
    assert serving.spec.passthrough == "vllm-10-0-0-1"


@pytest.mark.parametrize("address", ["::1", "2001:db8::7", "10.0.0.1"])
def test_names_stay_names(address: str) -> None:
    long = {"name": "x" * 63, "endpoints": "each"}
    serving, stands_for = spread(route(VLLM, long, {"name": "vllm-10-0-0-1"}), known(address), SEED)
    assert len(set(named(serving))) == 3
    assert len(stands_for) == 2
    assert msgspec.convert(named(serving), list[Name])


def test_of_very_many_addresses_each_process_uses_others() -> None:
    many = known(*(f"10.0.{number // 250}.{number % 250}" for number in range(1000)))
    first, second = (set(named(spread(route(VLLM), many, bytes([seed]) * 16)[0])) for seed in (1, 2))
    assert len(first) == len(second) == MOST_ADDRESSES
    assert len(first & second) < 20
    some = known(*(f"10.0.0.{number}" for number in range(250)))
    whole, _ = spread(route(*({"name": f"t{number}", "endpoints": "each"} for number in range(10))), some, SEED)
    assert len(named(whole)) <= MOST_OF_ROUTE


def test_who_is_used_stays_so_when_others_come() -> None:
    addresses = [f"10.0.0.{number}" for number in range(1, 101)]
    before, after = (set(named(spread(route(VLLM), known(*each), SEED)[0])) for each in (addresses, addresses[:-1]))
    assert len(before & after) >= MOST_ADDRESSES - 1

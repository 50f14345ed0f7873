"""Targets of which every address is a target of its own: one that is declared becomes as many as there are addresses.

What is named after it (fallbacks, pass-through) means all of them, or the first. Pure.
"""

from collections.abc import Callable, Collection, Iterable
from hashlib import blake2s
from ipaddress import ip_address
from typing import NamedTuple

import msgspec

from llmroute.spec import LLMRoute, Target

MOST_ADDRESSES = 64
"""Addresses of one target that are used: metrics have a series for each."""
MOST_OF_ROUTE = 256
LONGEST_NAME = 63


class Endpoint(NamedTuple):
    """One address of the declared target `of`."""

    of: str
    address: str


def spread(
    declared: LLMRoute, addresses: Callable[[Target], Collection[str]], seed: bytes
) -> tuple[LLMRoute, dict[str, Endpoint]]:
    """The route with a target for each address, and what the new targets' names stand for.

    `addresses` of a target's host, empty while they are not known: it stays one target then. Beyond the bounds `seed`
    decides who is used: another one in each process, so that no address is left out by all of them.
    """
    each = [target for target in declared.spec.targets if target.endpoints == "each"]
    if not each:
        return declared, {}
    most = max(1, min(MOST_ADDRESSES, MOST_OF_ROUTE // len(each)))
    taken = {target.name for target in declared.spec.targets}
    stands_for: dict[str, Endpoint] = {}
    names: dict[str, list[str]] = {}
    for target in each:
        used = sorted(addresses(target), key=lambda address: blake2s(address.encode(), key=seed).digest())[:most]
        for address in sorted(used, key=lambda address: (ip_address(address).version, ip_address(address))):
            name = _name(target.name, address, taken)
            taken.add(name)
            stands_for[name] = Endpoint(target.name, address)
            names.setdefault(target.name, []).append(name)
    return _renamed(declared, names), stands_for


def _name(target: str, address: str, taken: Collection[str]) -> str:
    name = f"{target}-{address.replace('.', '-')}"
    if ":" not in address and len(name) <= LONGEST_NAME and name not in taken:
        return name
    return f"{target[: LONGEST_NAME - 17]}-{blake2s(f'{target} {address}'.encode(), digest_size=8).hexdigest()}"


def _renamed(declared: LLMRoute, names: dict[str, list[str]]) -> LLMRoute:
    spec = declared.spec

    def those(name: str) -> list[str]:
        return names.get(name, [name])

    def all_of(declared_names: Iterable[str]) -> tuple[str, ...]:
        return tuple(new for name in declared_names for new in those(name))

    replace = msgspec.structs.replace
    return replace(
        declared,
        spec=replace(
            spec,
            targets=tuple(replace(target, name=new) for target in spec.targets for new in those(target.name)),
            fallback_targets=all_of(spec.fallback_targets),
            passthrough=those(spec.passthrough)[0] if spec.passthrough else spec.passthrough,
        ),
    )

"""Names that age, and addresses that move."""

import asyncio
import socket
from collections.abc import Sequence

import pytest
from aiohappyeyeballs import AddrInfoType
from tests.sidecar.upstream.conftest import World, ask, send
from tests.sidecar.upstream.script import Server, answers, hears, hears_end, serves

from llmroute.errors import ConnectFailed, ConnectTimeout
from llmroute.upstream import Origin, Tuning, dns
from llmroute.upstream.dns import Names, literal

QUICK = Tuning(dns_ttl=0.05, sweep_every=0.02, retire_lead=0.01)


class Zone:
    """A resolver whose answers a test changes: addresses, an error, or silence (None)."""

    def __init__(self, *addresses: str) -> None:
        self.answer: Sequence[str] | OSError | None = addresses
        self.questions: list[str] = []

    async def __call__(self, host: str, port: int) -> list[AddrInfoType]:
        self.questions.append(host)
        if self.answer is None:
            await asyncio.sleep(60)
        if isinstance(self.answer, OSError):
            raise self.answer
        assert self.answer is not None
        found = [literal(address, port) for address in self.answer]
        return [address for address in found if address is not None]


async def two_targets(world: World) -> tuple[Server, Server]:
    """Targets at 127.0.0.1 and 127.0.0.2, on the same port; each serves any number of requests."""
    old = await world.target(others=[serves("old")])
    new = await world.target(others=[serves("new")], host="127.0.0.2", port=old.origin.port)
    return old, new


async def test_a_name_is_asked_once_while_its_answer_is_fresh(world: World) -> None:
    target = await world.target([hears(), hears_end], [hears(), hears_end])
    zone = Zone("127.0.0.1")
    pool = world.pool(Origin("http", "target.test", target.origin.port), resolve=zone)
    responses = [await send(pool), await send(pool)]
    assert zone.questions == ["target.test"]
    for response in responses:
        response.release()


async def followed(names: Names, expected: set[str]) -> None:
    """Waits until the name stands for these addresses."""
    async with asyncio.timeout(5.0):
        while names.follow("target.test", 80) != expected:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)


async def test_whoever_follows_a_name_is_told_its_addresses_as_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "FOLLOW_EVERY", 0.01)
    zone = Zone("127.0.0.1", "127.0.0.2", "::1")
    names = Names(asyncio.get_running_loop(), zone, 30.0)
    assert names.follow("target.test", 80) == set()
    await followed(names, {"127.0.0.1", "127.0.0.2"})  # one for each pod, though a pod has an address of each family
    zone.answer = ["127.0.0.2", "127.0.0.3"]
    await followed(names, {"127.0.0.2", "127.0.0.3"})
    zone.answer = OSError("nobody answers")
    await asyncio.sleep(0.05)
    assert names.follow("target.test", 80) == {"127.0.0.2", "127.0.0.3"}
    zone.answer = ["127.0.0.3"]
    await followed(names, {"127.0.0.3"})
    await names.aclose()


async def test_a_followed_name_is_asked_for_only_when_its_answer_has_aged() -> None:
    zone = Zone("127.0.0.1")
    names = Names(asyncio.get_running_loop(), zone, 30.0)
    await followed(names, {"127.0.0.1"})
    zone.answer = OSError("nobody answers")
    for _ in range(10):
        names.follow("target.test", 80)
        await asyncio.sleep(0)
    assert zone.questions == ["target.test"]
    assert names.follow("::1", 80) == {"::1"}
    await names.aclose()


async def test_a_moved_address_is_followed_and_its_idle_connections_retired(world: World) -> None:
    old, _new = await two_targets(world)
    zone = Zone("127.0.0.1")
    pool = world.pool(Origin("http", "target.test", old.origin.port), resolve=zone, tuning=QUICK)
    assert (await ask(pool)).body == b"old"
    zone.answer = ["127.0.0.2"]
    await asyncio.sleep(0.3)
    assert "0 ready of 0" in repr(pool)
    assert (await ask(pool)).body == b"new"
    assert old.connections == 1


async def test_a_connection_in_use_is_retired_when_it_is_released(world: World) -> None:
    old, _new = await two_targets(world)
    zone = Zone("127.0.0.1")
    pool = world.pool(Origin("http", "target.test", old.origin.port), resolve=zone, tuning=QUICK)
    response = await send(pool)
    zone.answer = ["127.0.0.2"]
    await asyncio.sleep(0.3)
    assert await response.body(10) == b"old"
    response.release()
    assert (await ask(pool)).body == b"new"


async def test_an_address_that_rotates_keeps_its_connections(world: World) -> None:
    old, _new = await two_targets(world)
    zone = Zone("127.0.0.1")
    pool = world.pool(Origin("http", "target.test", old.origin.port), resolve=zone, tuning=QUICK)
    await ask(pool)
    for _ in range(4):
        zone.answer = ["127.0.0.2"] if zone.answer == ["127.0.0.1"] else ["127.0.0.1"]
        asked = len(zone.questions)
        while len(zone.questions) == asked:  # noqa: ASYNC110 - the sweep asks when it likes
            await asyncio.sleep(0.005)
    answer = await ask(pool)
    assert (answer.body, answer.response.reused) == (b"old", True)


async def test_the_last_good_answer_outlives_a_failing_resolver(world: World) -> None:
    target = await world.target([hears(), hears_end], [hears(), hears_end])
    zone = Zone("127.0.0.1")
    tuning = Tuning(dns_ttl=0.0)
    pool = world.pool(Origin("http", "target.test", target.origin.port), resolve=zone, tuning=tuning)
    first = await send(pool)
    zone.answer = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    second = await send(pool)
    assert len(zone.questions) == 2
    first.release()
    second.release()


async def test_the_last_good_answer_outlives_a_resolver_that_hangs(world: World) -> None:
    target = await world.target([hears(), hears_end], [hears(), hears_end])
    zone = Zone("127.0.0.1")
    tuning = Tuning(dns_ttl=0.0)
    pool = world.pool(Origin("http", "target.test", target.origin.port), resolve=zone, tuning=tuning)
    first = await send(pool)
    zone.answer = None
    second = await send(pool)
    first.release()
    second.release()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "DNS: target.test: name not known"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "DNS: target.test: the resolver does not answer"),
        ([], "DNS: target.test: name not known"),
    ],
)
async def test_a_name_without_an_answer(world: World, answer: Sequence[str] | OSError, reason: str) -> None:
    zone = Zone()
    zone.answer = answer
    pool = world.pool(Origin("http", "target.test", 80), resolve=zone)
    with pytest.raises(ConnectFailed, match=rf"^target\.test:80: {reason}$") as failed:
        await ask(pool)
    assert isinstance(failed.value.__cause__, socket.gaierror)


async def test_failures_are_not_remembered(world: World) -> None:
    target = await world.target([hears(), answers()])
    zone = Zone()
    pool = world.pool(Origin("http", "target.test", target.origin.port), resolve=zone)
    with pytest.raises(ConnectFailed):
        await ask(pool)
    zone.answer = ["127.0.0.1"]
    assert (await ask(pool)).body == b"ok"


async def test_a_resolver_that_takes_too_long(world: World) -> None:
    zone = Zone()
    zone.answer = None
    pool = world.pool(Origin("http", "target.test", 80), resolve=zone)
    with pytest.raises(ConnectTimeout, match=r"no connection within 0\.02 s, while looking up target\.test"):
        await send(pool, connect_timeout=0.02)


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 64 + ".test", "..test"])
async def test_the_systems_resolver_knows_no_such_name(world: World, host: str) -> None:
    with pytest.raises(ConnectFailed, match="DNS: "):
        await ask(world.pool(Origin("http", host, 80)))


async def test_the_systems_resolver_knows_localhost(world: World) -> None:
    target = await world.target([hears("host: localhost:"), answers()])
    assert (await ask(world.pool(Origin("http", "localhost", target.origin.port)))).body == b"ok"


async def test_an_ipv6_target(world: World) -> None:
    target = await world.target([hears("host: [::1]:"), answers()], host="::1")
    zone = Zone()
    pool = world.pool(target.origin, resolve=zone)
    assert (await ask(pool)).body == b"ok"
    assert zone.questions == []


async def test_the_next_address_is_tried_when_one_refuses(world: World) -> None:
    target = await world.target([hears(), answers()])
    pool = world.pool(Origin("http", "target.test", target.origin.port), resolve=Zone("::1", "127.0.0.1"))
    assert (await ask(pool)).body == b"ok"


async def test_an_address_that_swallows_connections_does_not_hold_up_the_next(world: World) -> None:
    target = await world.target([hears(), answers()])
    with socket.socket() as full:  # a backlog that nobody empties: further SYNs are dropped
        full.bind(("127.0.0.2", target.origin.port))
        full.listen(0)
        with socket.socket() as first, socket.socket() as second:
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            pool = world.pool(Origin("http", "target.test", target.origin.port), resolve=Zone("127.0.0.2", "127.0.0.1"))
            assert (await ask(pool)).body == b"ok"


async def test_when_all_addresses_refuse_it_says_so(world: World) -> None:
    target = await world.target()
    target.stop_listening()
    zone = Zone("::1", "127.0.0.1", "127.0.0.2")
    pool = world.pool(Origin("http", "target.test", target.origin.port), resolve=zone)
    with pytest.raises(ConnectFailed, match=r"^target\.test:\d+: connection refused$"):
        await ask(pool)


async def test_connections_spread_over_the_addresses(world: World) -> None:
    old, new = await two_targets(world)
    pool = world.pool(Origin("http", "target.test", old.origin.port), resolve=Zone("127.0.0.1", "127.0.0.2"))
    responses = [await send(pool) for _ in range(6)]
    for response in responses:
        await response.body(10)
        response.release()
    assert (old.connections, new.connections) == (3, 3)


async def test_the_order_of_families_is_the_resolvers() -> None:
    names = Names(asyncio.get_running_loop(), Zone("::1", "127.0.0.1", "::2"), ttl=60.0)
    orders = [[str(info[4][0]) for info in await names.addresses("target.test", 80)] for _ in range(2)]
    assert orders == [["::1", "::2", "127.0.0.1"], ["::2", "::1", "127.0.0.1"]]


async def test_questions_under_way_end_with_the_client() -> None:
    zone = Zone()
    zone.answer = None
    names = Names(asyncio.get_running_loop(), zone, ttl=60.0)
    asking = asyncio.ensure_future(names.addresses("target.test", 80))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await names.aclose()
    with pytest.raises(asyncio.CancelledError):
        await asking

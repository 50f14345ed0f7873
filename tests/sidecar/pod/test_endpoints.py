"""A headless Service whose pods come and go: each address is a target, chosen and ejected for itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohappyeyeballs import AddrInfoType
from tests.sidecar.pod.world import InPod, mounted, route
from tests.sidecar.serving.scripted import Call, Scripted, completion, scripted
from tests.world import Metrics

from llmroute import reload
from llmroute.upstream import dns

NAME = "vllm.shop.svc.cluster.local"
ONE, TWO, THREE = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class Service:
    """The DNS of a headless Service, and its pods: all on one port."""

    def __init__(self, pods: dict[str, Scripted]) -> None:
        self.pods = pods
        self.addresses: Sequence[str] = (ONE, TWO)
        self.port = pods[ONE].port

    async def resolve(self, host: str, port: int) -> list[AddrInfoType]:
        assert host == NAME
        found = [dns.literal(address, port) for address in self.addresses]
        return [address for address in found if address is not None]

    def calls(self, address: str) -> int:
        return len(self.pods[address].calls)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "INTERVAL", 0.01)
    monkeypatch.setattr(dns, "FOLLOW_EVERY", 0.02)


@asynccontextmanager
async def served(monkeypatch: pytest.MonkeyPatch, **target: Any) -> AsyncIterator[tuple[InPod, Service]]:
    async def answers(call: Call) -> None:
        await call.answer(completion())

    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(scripted(answers, ONE))
        pods = {ONE: first}
        for address in (TWO, THREE):
            pods[address] = await stack.enter_async_context(scripted(answers, address, first.port))
        service = Service(pods)

        async def system(names: dns.Names, host: str, port: int) -> list[AddrInfoType]:
            return await service.resolve(host, port)

        monkeypatch.setattr(dns.Names, "_system", system)
        here = await stack.enter_async_context(mounted())
        vllm = {
            "name": "vllm", "provider": "openai-compatible", "model": "m", "endpoints": "each",
            "url": f"http://{NAME}:{service.port}/v1", **target,
        }  # fmt: skip
        here.routes = [route("chat", [vllm])]
        here.render()
        await stack.enter_async_context(here.started())
        yield here, service


async def targets(here: InPod, *names: str) -> list[dict[str, Any]]:
    """Waits until there are these targets."""
    async with asyncio.timeout(5.0):
        while True:
            found = (await here.status())["routes"][0]["targets"]
            if [one["name"] for one in found] == list(names):
                return list(found)
            await asyncio.sleep(0.005)


async def test_each_address_is_a_target_and_is_called_by_the_services_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch) as (here, service):
        told = await targets(here, "vllm-127-0-0-1", "vllm-127-0-0-2")
        assert [(one["declaredAs"], one["address"]) for one in told] == [("vllm", ONE), ("vllm", TWO)]
        for _ in range(40):
            assert (await here.chat()).status == 200
        assert service.calls(ONE) > 0
        assert service.calls(TWO) > 0
        assert service.calls(THREE) == 0
        assert service.pods[TWO].calls[0].header("host") == f"{NAME}:{service.port}"
        status = await here.status()
        assert status["revision"] == "000000000001"
        metrics = Metrics((await here.admin("/metrics")).body.decode())
        assert metrics.by("llmroute_attempts_total", "target") == {
            "vllm-127-0-0-1": service.calls(ONE),
            "vllm-127-0-0-2": service.calls(TWO),
        }
        assert metrics.sum("llmroute_config_reloads_total") == 1, "where addresses lead is no configuration"


async def test_addresses_are_followed_and_what_was_learned_of_those_that_stay_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served(monkeypatch) as (here, service):
        await targets(here, "vllm-127-0-0-1", "vllm-127-0-0-2")
        for _ in range(20):
            await here.chat()
        before = service.calls(TWO)
        assert before > 0
        service.addresses = (THREE, TWO)
        two, three = await targets(here, "vllm-127-0-0-2", "vllm-127-0-0-3")
        assert (two["attempts"], three["attempts"]) == (before, 0)
        first = service.calls(ONE)
        for _ in range(30):
            assert (await here.chat()).status == 200
        assert service.calls(ONE) == first
        assert service.calls(THREE) > 0


async def test_no_request_is_lost_while_pods_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch) as (here, service):
        statuses: list[int] = []
        going = True

        async def ask() -> None:
            while going:
                statuses.append((await here.chat()).status)

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        for addresses in ((ONE, TWO, THREE), (TWO, THREE), (THREE,), (ONE, THREE)):
            service.addresses = addresses
            await targets(here, *(f"vllm-{address.replace('.', '-')}" for address in sorted(addresses)))
        going = False
        await asyncio.gather(*asking)
        assert set(statuses) == {200}


async def test_before_the_first_answer_of_the_dns_the_target_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "INTERVAL", 3600.0)
    async with served(monkeypatch) as (here, _):
        await targets(here, "vllm")
        assert (await here.chat()).status == 200


async def test_an_app_that_asks_for_the_declared_target_gets_any_of_its_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served(monkeypatch) as (here, service):
        await targets(here, "vllm-127-0-0-1", "vllm-127-0-0-2")
        for _ in range(20):
            assert (await here.chat(headers={"x-llmroute-target": "vllm"})).status == 200
        assert service.calls(ONE) > 0
        assert service.calls(TWO) > 0
        before = service.calls(TWO)
        assert (await here.chat(headers={"x-llmroute-target": "vllm-127-0-0-1"})).status == 200
        assert service.calls(TWO) == before
        assert (await here.chat(headers={"x-llmroute-target": "vllm-127-0-0-3"})).status == 400


async def test_virtual_endpoints_stay_one_target(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch, endpoints="virtual") as (here, _):
        for _ in range(4):
            assert (await here.chat()).status == 200
        await asyncio.sleep(0.1)
        await targets(here, "vllm")

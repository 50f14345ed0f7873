"""The admin port is open to the cluster: the probes and metrics to all, the rest to those who show the fleet's key."""

import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack

import pytest
from tests.app import Answer, connected
from tests.sidecar.pod.world import InPod, Volume, mounted, pod
from tests.world import provider

from llmroute.admin import MOST_CONNECTIONS


def from_afar() -> str:
    """An address of this machine that is not loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as prober:
        try:
            prober.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback's")
        return str(prober.getsockname()[0])


async def asked(here: InPod, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    address = from_afar()
    return await here.admin(path, {"host": f"{address}:4001"} | dict(headers or {}), host=address)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_what_everybody_may_ask(path: str) -> None:
    async with pod(provider("east")) as here:
        assert (await asked(here, path)).status == 200


async def test_status_is_for_loopback_as_long_as_there_is_no_key() -> None:
    async with pod(provider("east")) as here:
        for shown in ("", "Bearer ", "Bearer x", "Bearer None"):
            answer = await asked(here, "/status", {"authorization": shown})
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert b"shop" not in answer.body
        assert (await here.admin("/status")).status == 200


async def test_status_is_for_those_who_show_the_key_as_it_is_now() -> None:
    async with mounted(provider("east")) as here:
        fleet = Volume(here.directory / "fleet")
        fleet.write(key="first-key\n")
        here.render()
        async with here.started():
            assert (await asked(here, "/status", {"authorization": "Bearer first-key"})).status == 200
            assert (await asked(here, "/status", {"authorization": "bearer  first-key"})).status == 200
            for shown in ("first-key", "Basic first-key", "Bearer first", "Bearer first-key2", "Bearer \xe9"):
                assert (await asked(here, "/status", {"authorization": shown})).status == 401

            fleet.write(key="second-key")
            assert (await asked(here, "/status", {"authorization": "Bearer first-key"})).status == 401
            assert (await asked(here, "/status", {"authorization": "Bearer second-key"})).status == 200

            fleet.write(key=None)
            assert (await asked(here, "/status", {"authorization": "Bearer second-key"})).status == 401


async def test_apps_are_served_on_loopback_only() -> None:
    async with pod(provider("east")) as here:
        with pytest.raises(ConnectionRefusedError), socket.create_connection((from_afar(), here.sidecar.app_port)):
            pass


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
async def test_the_admin_port_is_there_for_ipv6_as_well() -> None:
    async with pod(provider("east")) as here:
        try:
            answer = await here.admin("/readyz", host="::1")
        except OSError:
            pytest.skip("this machine has no IPv6")
        assert answer.status == 200


async def test_the_dashboard_is_one_page_for_loopback_that_asks_nobody_else() -> None:
    async with pod(provider("east")) as here:
        page = await here.admin("/")
        assert page.status == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert b"LLMRoute" in page.body
        assert b"http" not in page.body.replace(b"http://www.w3.org/2000/svg", b"")
        assert "default-src 'none'; connect-src 'self'; script-src 'sha256-" in page.headers["content-security-policy"]
        assert (await here.admin("/", {"host": "evil.example"})).status == 403
        assert (await asked(here, "/")).status == 401


async def test_idle_connections_do_not_pile_up_nor_keep_anybody_out() -> None:
    async with pod(provider("east")) as here, AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(connected(here.sidecar.admin_port)) for _ in range(MOST_CONNECTIONS)]
        assert (await here.admin("/readyz")).status == 200
        more = [await stack.enter_async_context(connected(here.sidecar.admin_port)) for _ in range(MOST_CONNECTIONS)]
        for one in idle:
            assert await one.closed()
        assert (await here.admin("/readyz")).status == 200
        more[-1].ask("/livez")
        assert (await more[-1].answer()).status == 200

"""The operator asks sidecars what they run: real ones, and what a pod's network may put in their place."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
from tests.operator.shop import REVISION, pod, report, runs
from tests.sidecar.pod.world import InPod, Volume, mounted
from tests.sidecar.pod.world import pod as sidecar_pod
from tests.world import provider

from llmroute_operator.pods import Pod
from llmroute_operator.polling import Expected
from llmroute_operator.reports import LARGEST, Contact
from llmroute_operator.sidecars import Sidecars

KEY = "the-key-of-the-fleet"


class Operator:
    """The part of it that asks."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.sidecars = Sidecars(self.changed.append)

    def expect(self, *pods: Pod, revision: str = REVISION, key: str = KEY) -> None:
        uids = frozenset(one.uid for one in pods)
        self.sidecars.expect("shop", Expected(revision, key, pods, {"uid-of-chat": uids}))

    async def told(self) -> None:
        """Waits until the namespace is said to be worth a look."""
        async with asyncio.timeout(8.0):
            while not self.changed:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert set(self.changed) == {"shop"}

    async def until(self, holds: Callable[[Contact], object], name: str = "shop-1") -> Contact:
        """Waits until what is known of a pod's sidecar is as it should be."""
        async with asyncio.timeout(8.0):
            while not holds(contact := self.sidecars.contacts("shop").get(name, Contact())):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return contact


@asynccontextmanager
async def asking() -> AsyncIterator[Operator]:
    operator = Operator()
    running = asyncio.create_task(operator.sidecars.run())
    try:
        yield operator
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def at(here: InPod, host: str = "127.0.0.1") -> Pod:
    return pod(ip=host, port=here.sidecar.admin_port)


class TestARealSidecar:
    async def test_tells_what_it_runs_and_how_its_targets_are(self) -> None:
        async with sidecar_pod(provider("east")) as here, asking() as operator:
            await here.chat()
            operator.expect(at(here), revision="000000000001")
            contact = await operator.until(lambda one: one.report)
            assert contact.report is not None
            assert contact.report.revision == "000000000001"
            assert contact.report.generation_of("uid-of-chat") == 1
            (east,) = contact.report.targets_of("uid-of-chat")
            assert (east.name, east.state, east.attempts) == ("east", "healthy", 1)
            await operator.told()

    async def test_is_asked_again_until_it_runs_what_it_should(self) -> None:
        async with sidecar_pod(provider("east")) as here, asking() as operator:
            operator.expect(at(here), revision="000000000002")
            await operator.until(lambda one: one.report)
            here.routes[0]["metadata"]["generation"] = 2
            here.render("000000000002")
            contact = await operator.until(lambda one: one.report and one.report.revision == "000000000002")
            assert contact.report is not None
            assert contact.report.generation_of("uid-of-chat") == 2

    async def test_tells_which_key_it_misses_and_why(self) -> None:
        secret = {"credential": {"secretRef": {"name": "bank", "key": "KEY"}}}
        async with sidecar_pod(provider("east", target=secret)) as here, asking() as operator:
            operator.expect(at(here), revision="000000000001")
            contact = await operator.until(lambda one: one.report)
            assert contact.report is not None
            (east,) = contact.report.targets_of("uid-of-chat")
            assert east.credential == (
                "missing: Secret bank is not listed in the pod's annotation llmroute.dev/secrets"
            )

    async def test_tells_what_it_could_not_use(self) -> None:
        async with sidecar_pod(provider("east")) as here, asking() as operator:
            here.spec["targets"][0]["url"] = 17
            here.render("000000000002")
            await here.refuses()
            operator.expect(at(here), revision="000000000002")
            contact = await operator.until(lambda one: one.report)
            assert contact.report is not None
            assert contact.report.rejected is not None
            assert "url" in contact.report.rejected.error

    async def test_opens_for_the_fleet_key_only(self) -> None:
        async with mounted(provider("east")) as here:
            Volume(here.directory / "fleet").write(key=KEY)
            here.render()
            async with here.started(), asking() as operator:
                afar = at(here, from_afar())
                operator.expect(afar, revision="000000000001", key="another-key")
                assert (await operator.until(lambda one: one.error)).error == "answered 401"
                operator.expect(afar, revision="000000000001")
                assert (await operator.until(lambda one: one.report)).report is not None


def from_afar() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as prober:
        try:
            prober.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback's")
        return str(prober.getsockname()[0])


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def impostor(script: Script) -> AsyncIterator[Pod]:
    """Something else that listens at a pod's port."""

    connections: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await script(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(connection(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield pod(ip="127.0.0.1", port=server.sockets[0].getsockname()[1])
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def named(one: Pod, name: str) -> Pod:
    return msgspec.structs.replace(one, name=name, uid=f"uid-of-{name}")


def saying(head: bytes, body: bytes = b"") -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"\r\n\r\n" + body)
        await writer.drain()

    return script


def answering(body: Any, head: bytes = b"HTTP/1.1 200 OK") -> Script:
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return saying(head + b"\r\ncontent-length: %d" % len(encoded), encoded)


async def without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def drop_by_drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def told(**members: Any) -> dict[str, Any]:
    return {"revision": REVISION, "routes": [runs(targets=[{"name": "east", "state": "healthy", **members}])]}


QUANTILES = {"count": 5, "p50": 0.1, "p95": 0.2, "p99": 0.3}
IMPOSTORS: dict[str, tuple[Script, str]] = {
    "another server": (answering(b"<html>"), "the answer is no report"),
    "no object": (answering([]), "the answer is no report"),
    "not even text": (answering(b'{"revision": "\xff\xff"}'), "the answer is no report"),
    "a member of another type": (answering(told(attempts="many")), "the answer is no report"),
    "a negative number": (answering(told(latency={"ttft": {**QUANTILES, "p95": -1}})), "the answer is no report"),
    "a number beyond all reason": (answering(told(latency={"ttft": {**QUANTILES, "p95": 1e300}})), "is no report"),
    "a number that is none": (answering(b'{"revision":"x","routes":[{"uid":"u","generation":NaN}]}'), "is no report"),
    "an endless reason": (answering(told(reason="x" * 5000)), "the answer is no report"),
    "too many routes": (answering({"revision": "", "routes": [runs(targets=[])] * 5000}), "the answer is no report"),
    "lists in lists in lists": (answering(b'{"revision":"x","more":' + b"[" * 100_000), "the answer is no report"),
    "too long": (answering(b" " * (LARGEST + 1)), f"the answer is longer than {LARGEST} bytes"),
    "without an end": (without_end, f"the answer is longer than {LARGEST} bytes"),
    "compressed": (answering(b"\x1f\x8b\x08\x00bomb", b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip"), "is no report"),
    "a redirection": (saying(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/"), "answered 302"),
    "an error": (saying(b"HTTP/1.1 503 No\r\ncontent-length: 0"), "answered 503"),
    "no HTTP": (saying(b"SSH-2.0-OpenSSH"), ""),
    "a head without an end": (saying(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000), ""),
    "half an answer": (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 100", b"{"), ""),
    "drop by drop": (drop_by_drop, "no answer within 2 s"),
    "silence": (silence, "no answer within 2 s"),
}


async def test_impostors_are_no_sidecars_and_no_trouble() -> None:
    async with AsyncExitStack() as there, asking() as operator:
        pods = [await there.enter_async_context(impostor(script)) for script, _ in IMPOSTORS.values()]
        pods = [named(one, name) for one, name in zip(pods, IMPOSTORS, strict=True)]
        honest = await there.enter_async_context(impostor(answering(told())))
        operator.expect(*pods, honest)
        for name, (_, expected) in IMPOSTORS.items():
            contact = await operator.until(lambda one: one.error, name)
            assert expected in contact.error, name
            assert contact.report is None, name
            assert KEY not in contact.error, name
        assert (await operator.until(lambda one: one.report)).report is not None


async def test_more_than_is_known_is_no_trouble() -> None:
    more = {**told(newer={"than": "us"}), "fleet": {"members": 3}}
    async with impostor(answering(more)) as there, asking() as operator:
        operator.expect(there)
        assert (await operator.until(lambda one: one.report)).report == report(
            runs(targets=[{"name": "east", "state": "healthy"}])
        )


async def test_a_pod_that_does_not_listen_is_told_as_such() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with asking() as operator:
            operator.expect(pod(ip="127.0.0.1", port=closed.getsockname()[1]))
            assert (await operator.until(lambda one: one.error)).error == "cannot be connected to: Connection refused"


async def test_nobody_is_asked_at_what_is_no_address() -> None:
    addresses = ("", "localhost", "10.0.0.1/24", "evil.example", "127.0.0.1@evil.example")
    async with asking() as operator:
        operator.expect(*(named(pod(ip=address, port=9), address) for address in addresses))
        for address in addresses:
            error = (await operator.until(lambda one: one.error, address)).error
            assert "does not appear to be an IPv4 or IPv6 address" in error


async def test_a_key_that_is_none_is_shown_to_nobody() -> None:
    async with impostor(answering(told())) as there, asking() as operator:
        for key in ("", "two words", "new\nline: x", "schlüssel"):
            operator.sidecars.forget("shop")
            operator.expect(there, key=key)
            assert (await operator.until(lambda one: one.error)).error == "there is no usable fleet key yet"


async def test_a_hundred_that_hang_do_not_keep_a_namespace_waiting() -> None:
    async with impostor(silence) as hanging, impostor(answering(told())) as there, asking() as operator:
        pods = [named(hanging, f"h{index}") for index in range(100)]
        operator.sidecars.expect("elsewhere", Expected(REVISION, KEY, pods, {}))
        operator.expect(there)
        assert (await operator.until(lambda one: one.report)).report is not None
        counts = operator.sidecars.counts()
        assert counts["current"] == 1
        assert sum(counts.values()) == 101


async def test_twenty_that_confirm_together_are_one_piece_of_news() -> None:
    async with impostor(answering(told())) as there, asking() as operator:
        names = [f"p{index}" for index in range(20)]
        operator.expect(*(named(there, name) for name in names))
        for name in names:
            await operator.until(lambda one: one.report, name)
        await operator.told()
        assert len(operator.changed) <= 2


async def test_nobody_is_asked_for_a_namespace_that_is_forgotten() -> None:
    async with asking() as operator:
        operator.expect(pod(ip="127.0.0.1", port=9))
        await operator.until(lambda one: one.error)
        operator.sidecars.forget("shop")
        assert operator.sidecars.contacts("shop") == {}
        assert sum(operator.sidecars.counts().values()) == 0


async def test_it_ends_at_once_and_leaves_no_connection() -> None:
    async with impostor(silence) as there:
        async with asking() as operator:
            operator.expect(there)
            async with asyncio.timeout(5.0):
                while not operator.sidecars._asking:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
        assert not operator.sidecars._asking

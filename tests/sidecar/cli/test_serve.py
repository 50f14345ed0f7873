"""`llmroute serve`: from start to drain, and what it says when it cannot start."""

import asyncio
import signal
import socket
from pathlib import Path

import pytest
from tests.app import CHAT, connected
from tests.sidecar.cli.process import Process, llmroute, serving
from tests.world import chat, provider, world

from llmroute.simulator.spec import Speed, Stall


async def draining(process: Process) -> None:
    """Waits until /readyz says so."""
    async with connected(await process.port("metrics")) as app:
        for _ in range(500):
            app.ask("/readyz")
            if (await app.answer()).status == 503:
                return
            await asyncio.sleep(0.002)
    raise AssertionError("never drains")


async def test_it_serves_until_it_is_told_to_stop_and_then_lets_streams_end() -> None:
    async with world(provider("east", tokens_per_second=Speed(median=40))) as here, serving(here.file) as process:
        port = await process.port("serving")
        async with connected(port) as app, connected(port) as idle:
            idle.ask(CHAT, chat(max_tokens=1))
            assert (await idle.answer()).status == 200
            app.ask(CHAT, chat(stream=True))
            status, _ = await app.head()
            body = await app.chunk()
            process.signal(signal.SIGTERM)
            await draining(process)
            assert await idle.closed(), "nothing is in flight there"
            with pytest.raises(ConnectionRefusedError):
                async with connected(port):
                    pass
            while piece := await app.chunk():
                body += piece

        assert status == 200
        assert body.endswith(b"data: [DONE]\n\n")
        assert await process.ended() == (0, "")
        requests = [line for line in process.log if line["event"] == "request"]
        assert [line["outcome"] for line in requests] == ["ok", "ok"]


async def test_a_drain_does_not_last_for_ever() -> None:
    async with (
        world(provider("east", faults=[Stall(after_tokens=1)])) as here,
        serving(here.file, "--drain-timeout", "100ms") as process,
        connected(await process.port("serving")) as app,
    ):
        app.ask(CHAT, chat(stream=True))
        await app.head()
        process.signal(signal.SIGINT)
        assert await process.ended() == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_who_does_not_want_to_wait_for_the_drain_asks_again(number: signal.Signals) -> None:
    async with (
        world(provider("east", faults=[Stall(after_tokens=1)])) as here,
        serving(here.file, "--drain-timeout", "10m") as process,
        connected(await process.port("serving")) as app,
    ):
        app.ask(CHAT, chat(stream=True))
        await app.head()
        process.signal(number)
        await process.until("draining; again to stop now")
        process.signal(number)
        assert await process.ended() == (0, "")
        (request,) = [line for line in process.log if line["event"] == "request"]
        assert request["outcome"] == "cancelled"


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
async def test_a_stranger_where_localhost_may_lead_is_named() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as stranger:
        port = stranger.getsockname()[1]
        address = ("--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0")
        async with world(provider("east")) as here, llmroute("serve", here.file, *address) as process:
            await process.until(rf"\[::1\]:{port} belongs to another process")
            assert await process.port("serving") == port


async def test_a_changed_file_is_seen_by_the_process() -> None:
    async with world(provider("east")) as here, serving(here.file) as process:
        port = await process.port("serving")
        here.spec["models"] = ["new"]
        here.declare()
        await process.until(r'"event":"reload".*in force')
        for _ in range(500):
            async with connected(port) as app:
                app.ask(CHAT, chat(model="new"))
                if (await app.answer()).status == 200:
                    return
            await asyncio.sleep(0.01)
        raise AssertionError("the new model never came")


async def test_the_options_reach_the_sidecar(tmp_path: Path) -> None:
    (tmp_path / "llmroute-credentials").mkdir()
    (tmp_path / "llmroute-credentials" / "OWN_KEY").write_text("k")
    credential = {"credential": {"secretRef": {"name": "llmroute-credentials", "key": "OWN_KEY"}}}
    east = provider("east", api_key="k", target=credential)
    options = ["--secrets-dir", str(tmp_path), "--max-body", "1Ki", "--allow-host", "llm.internal"]
    options += ["--allow-origin", "http://a.example", "--no-access-log", "--body-timeout", "50ms"]
    async with (
        world(east, keys={}) as here,
        serving(here.file, *options) as process,
        connected(await process.port("serving")) as app,
    ):
        app.ask(CHAT, chat(), {"host": "llm.internal", "origin": "http://a.example"})
        assert (await app.answer()).status == 200
        app.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n")
        assert (await app.answer()).status == 408
        async with connected(await process.port("serving")) as other:
            other.ask(CHAT, chat("x" * 2000))
            assert (await other.answer()).status == 413
        process.signal(signal.SIGTERM)
        assert await process.ended() == (0, "")
        assert not [line for line in process.log if line["event"] == "request"]


async def refused(*arguments: str | Path) -> str:
    """What is said to whoever started it wrongly."""
    async with llmroute("serve", *arguments) as process:
        code, told = await process.ended()
        assert code == 2, told
        assert "Traceback" not in told
        return told


async def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with world(provider("east")) as here:
            free = ("--admin", "127.0.0.1:0")
            for told in await asyncio.gather(
                refused(here.file, "--listen", address, *free), refused(here.file, "--admin", address)
            ):
                assert f"cannot listen on {address}" in told


async def test_files_that_are_missing_or_wrong_are_named_with_the_line(tmp_path: Path) -> None:
    wrong, good, empty = tmp_path / "wrong.yaml", tmp_path / "good.yaml", tmp_path / "empty.pem"
    route = (
        "apiVersion: llmroute.dev/v1alpha1\nkind: LLMRoute\nmetadata: {name: a}\n"
        "spec:\n  targets:\n  - {name: east, provider: openai, model: m}\n"
    )
    good.write_text(route)
    wrong.write_text(route + "  - name: east\n    provider: opnai\n")
    empty.write_text("no certificate")
    missing, mistaken, unfound, unreadable = await asyncio.gather(
        refused(tmp_path / "nowhere.yaml"),
        refused(wrong),
        refused(good, "--ca-file", tmp_path / "nowhere.pem"),
        refused(good, "--ca-file", empty),
    )
    assert "nowhere.yaml: cannot be read: No such file" in missing
    assert f"{wrong}:8: spec.targets[1].provider" in mistaken
    assert "openai" in mistaken
    assert "nowhere.pem" in unfound
    assert "empty.pem" in unreadable

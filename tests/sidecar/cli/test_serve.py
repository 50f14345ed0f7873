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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_it_is_told_to_stop_and_then_lets_streams_end(number: signal.Signals) -> None:
    async with world(provider("east", tokens_per_second=Speed(median=40))) as here, serving(here.file) as process:
        port = await process.port("serving")
        async with connected(port) as app, connected(port) as idle:
            idle.ask(CHAT, chat(max_tokens=1))
            assert (await idle.answer()).status == 200
            app.ask(CHAT, chat(stream=True))
            status, _ = await app.head()
            body = await app.chunk()
            process.signal(number)
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
        process.signal(signal.SIGTERM)
        assert await process.ended() == (0, "")


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
        assert process.lines == [] or process.log
        return told


async def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with world(provider("east")) as here:
            for arguments in (("--listen", address, "--admin", "127.0.0.1:0"), ("--admin", address)):
                assert f"cannot listen on {address}" in await refused(here.file, *arguments)


async def test_a_file_that_is_missing_or_wrong_is_named_with_the_line(tmp_path: Path) -> None:
    assert "nowhere.yaml: cannot be read: No such file" in await refused(tmp_path / "nowhere.yaml")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        "apiVersion: llmroute.dev/v1alpha1\nkind: LLMRoute\nmetadata: {name: a}\n"
        "spec:\n  targets:\n  - {name: east, provider: openai, model: m}\n  - name: east\n    provider: opnai\n"
    )
    told = await refused(wrong)
    assert f"{wrong}:8: spec.targets[1].provider" in told
    assert "did you mean" in told or "openai" in told


async def test_a_certificate_file_that_is_missing_is_named(tmp_path: Path) -> None:
    async with world(provider("east")) as here:
        assert "nowhere.pem" in await refused(here.file, "--ca-file", tmp_path / "nowhere.pem")
        empty = tmp_path / "empty.pem"
        empty.write_text("no certificate")
        assert "empty.pem" in await refused(here.file, "--ca-file", empty)

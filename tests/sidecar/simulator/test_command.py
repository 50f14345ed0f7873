"""`llmroute simulate FILE` as a process."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from tests.sidecar.simulator.raw import CHAT, Client


async def start(path: Path) -> asyncio.subprocess.Process:
    program = "import sys; from llmroute.cli import main; sys.exit(main())"
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, "simulate", str(path), stdout=pipe, stderr=pipe
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read it"),
        ("providers: [{name: a, colour: red}]", "fleet.yaml: providers[0]: Object contains unknown field `colour`"),
        ("providers: [{name: a, host: 203.0.113.1}]", "cannot listen on 203.0.113.1:0"),
    ],
)
async def test_a_wrong_file_ends_it_with_a_reason(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "fleet.yaml"
    if text is not None:
        path.write_text(text)
    program = await start(path)
    _, errors = await program.communicate()
    assert program.returncode == 2
    assert words in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_it_tells_where_it_listens_and_ends_on_sigterm(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("providers: [{name: east}]")
    program = await start(path)
    assert program.stdout is not None
    name, dialect, url = (await program.stdout.readline()).decode().split()
    assert (name, dialect) == ("east", "openai")
    port = int(url.removeprefix("http://127.0.0.1:").removesuffix("/v1"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(reader, writer)
    client.send("/v1/chat/completions", CHAT)
    assert (await client.answer()).status == 200
    program.send_signal(signal.SIGTERM)
    _, errors = await program.communicate()
    assert (program.returncode, errors) == (0, b"")
    writer.transport.abort()

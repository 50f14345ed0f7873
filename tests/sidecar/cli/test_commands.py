"""The other commands, and what is said to those who use them wrongly."""

import signal
import socket
from pathlib import Path

import pytest
from tests.app import CHAT, connected
from tests.sidecar.cli.process import llmroute
from tests.world import chat

from llmroute.cli import main

ROUTE = """\
apiVersion: llmroute.dev/v1alpha1
kind: LLMRoute
metadata: {name: chat, namespace: shop}
spec:
  models: [gpt-4o, small]
  targets:
  - {name: east, provider: openai, model: gpt-4o}
  - {name: own, provider: openai-compatible, model: llama, url: "http://vllm:8000/v1"}
"""


@pytest.fixture
def route(tmp_path: Path) -> Path:
    path = tmp_path / "route.yaml"
    path.write_text(ROUTE)
    return path


def test_validate_says_what_is_served(route: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(route)]) == 0
    assert capsys.readouterr().out == "shop/chat: valid; serves gpt-4o, small from east, own\n"


def test_validate_says_all_that_is_wrong_and_where(route: Path, capsys: pytest.CaptureFixture[str]) -> None:
    route.write_text(ROUTE.replace("provider: openai,", "provider: opnai,").replace("model: llama", "modl: llama"))
    assert main(["validate", str(route)]) == 2
    told = capsys.readouterr().err
    assert f"{route}:7: spec.targets[0].provider" in told
    assert f"{route}:8: spec.targets[1]" in told
    assert "modl" in told


def test_models_lists_what_the_files_serve(route: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", str(route)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "gpt-4o\tshop/chat\teast (openai gpt-4o), own (openai-compatible llama)",
        "small\tshop/chat\teast (openai gpt-4o), own (openai-compatible llama)",
    ]


@pytest.mark.parametrize("command", ["validate", "models", "serve", "simulate"])
def test_a_file_that_is_not_there_is_named(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(tmp_path / "nowhere.yaml")]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


WRONG = {
    "no command": [],
    "unknown command": ["server"],
    "unknown option": ["serve", "a.yaml", "--prot", "1"],
    "no file": ["serve"],
    "no port": ["serve", "a.yaml", "--listen", "localhost"],
    "port too large": ["serve", "a.yaml", "--admin", "127.0.0.1:70000"],
    "no size": ["serve", "a.yaml", "--max-body", "large"],
    "no duration": ["serve", "a.yaml", "--drain-timeout", "soon"],
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_wrong_use_is_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("usage: llmroute")
    assert "error:" in told


@pytest.mark.parametrize("command", ["serve", "validate", "models", "simulate"])
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: llmroute {command}" in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("llmroute ")


async def test_simulate_runs_providers_until_it_is_told_to_stop(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("providers:\n- {name: east}\n- {name: claude, dialect: anthropic}\n")
    async with llmroute("simulate", fleet) as process:
        port = int((await process.until(r"east .*http://127.0.0.1:(\d+)/v1")).group(1))
        await process.until(r"claude .*anthropic")
        async with connected(port) as app:
            app.ask(CHAT, chat())
            assert (await app.answer()).text
        process.signal(signal.SIGTERM)
        assert await process.ended() == (0, "")


async def test_simulate_names_a_port_in_use_and_a_wrong_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = tmp_path / "fleet.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fleet.write_text(f"providers:\n- {{name: east, port: {port}}}\n")
        async with llmroute("simulate", fleet) as process:
            code, told = await process.ended()
            assert (code, f"cannot listen on 127.0.0.1:{port}" in told) == (2, True)
    fleet.write_text("providers:\n- {name: east, dialct: openai}\n")
    assert main(["simulate", str(fleet)]) == 2
    assert "dialct" in capsys.readouterr().err

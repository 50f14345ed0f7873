"""`make demo` as its users meet it: a process, what it prints, what it leaves behind."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "examples.demo"]
PROVIDERS = ("east", "west", "north", "south")
LONGEST = 180.0
"""Seconds; only for a machine on which nothing works."""


@contextmanager
def demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo in a session of its own, without a terminal."""
    started = subprocess.Popen(
        [*DEMO, *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield started
    finally:
        if alive(started.pid):
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()


def said(started: subprocess.Popen[str], words: str) -> bool:
    """Reads what it prints until these words; False if it ends without them."""
    assert started.stdout is not None
    return any(words in line for line in iter(started.stdout.readline, ""))


def alive(session: int) -> bool:
    """Whether any process of the session is left."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def performed() -> str:
    """Everything that a whole, short demo prints, with the app's usual port taken by somebody else."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 4000))
            other.listen()
        except OSError:
            pass  # somebody else has it indeed
        with demo("--fast") as started:
            printed, _ = started.communicate(timeout=LONGEST)
            assert started.returncode == 0, printed
            assert not alive(started.pid)
    return printed


def unfolded(printed: str) -> str:
    """Sentences in one piece, wherever the lines were broken."""
    return " ".join(printed.split())


def shares(printed: str) -> dict[str, list[int]]:
    """Per cent of the answers that came from each target, by act: the table `who answered`."""
    _, _, table = printed.partition("who answered")
    return {
        name: [int(part) for part in re.findall(r"(\d+)%", row)]
        for row in table.splitlines()
        for name in PROVIDERS
        if row.startswith(f"{name} ")
    }


def victim(printed: str, fate: str) -> str:
    """Who was `slow` or `dead`, by the same table."""
    (name,) = re.findall(rf"^(\w+) .*  {fate}: ", printed, re.MULTILINE)
    return str(name)


def test_the_app_sees_no_error(performed: str) -> None:
    assert "The app saw 0 errors." in performed
    assert re.search(r"The app made [1-9]\d+ calls", unfolded(performed))


def test_the_slow_one_loses_its_share(performed: str) -> None:
    calm, brownout, outage, *_ = shares(performed)[victim(performed, "slow")]
    assert min(brownout, outage) < calm  # it is slow in both, and a short act may end before enough was learned


def test_the_dead_one_answers_nobody_and_is_tried_now_and_then(performed: str) -> None:
    dead = victim(performed, "dead")
    assert dead != victim(performed, "slow")
    _, _, outage, recovery, _ = shares(performed)[dead]
    assert outage == recovery == 0
    (trials,) = re.findall(rf"(\d+) of them at {dead} while it was dead", unfolded(performed))
    (calls,) = re.findall(r"The app made (\d+) calls", unfolded(performed))
    assert 1 <= int(trials) < int(calls) / 8


def test_each_provider_is_measured_beside_llmroute(performed: str) -> None:
    for name in PROVIDERS:
        assert re.search(rf"^always {name} .*\d+/ *\d+ +\d+/ *\d+$", performed, re.MULTILINE)
        assert re.search(rf"^always {name} +-?[\d.]+ s of [\d.]+ s = -?\d+% +\d+ of \d+$", performed, re.MULTILINE)
    (failures,) = re.findall(rf"^always {victim(performed, 'dead')} .* (\d+) of \d+$", performed, re.MULTILINE)
    assert int(failures) > 0


def test_a_port_in_use_is_said_and_another_taken(performed: str) -> None:
    (port,) = re.findall(r"Port 4000 is in use: (\d+) instead\.", performed)
    assert f"The app calls http://127.0.0.1:{port}/v1" in performed


def test_interrupted_it_leaves_nothing_behind() -> None:
    with demo() as first:
        assert said(first, "Loading")  # it has its ports: the other one will take others
        with demo() as second:
            for started, number in ((first, signal.SIGINT), (second, signal.SIGTERM)):
                assert said(started, "1/5 calm")
                started.send_signal(number)
            for started in (first, second):
                printed, _ = started.communicate(timeout=LONGEST)
                assert started.returncode == 130, printed
                assert printed.rstrip().endswith("Stopped.")
                assert "Traceback" not in printed
                assert not alive(started.pid)


def test_a_length_that_makes_no_sense_is_refused() -> None:
    told = subprocess.run([*DEMO, "--seconds", "1"], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 2
    assert "between 8 and 3600" in told.stderr

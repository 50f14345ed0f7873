"""The access log and the event log: JSON lines, no words of clients beyond a bound, no stalled requests."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from tests.sidecar.telemetry.world import ended, telemetry

from llmroute.errors import ConfigError
from llmroute.health import State, Transition
from llmroute.request import Outcome, Usage
from llmroute.telemetry.writer import MOST_WAITING, Writer


def test_one_line_a_request_says_how_it_went() -> None:
    with telemetry() as reader:
        reader.telemetry.request_ended(
            ended(attempts="west:server-error, east:ok", cache="miss", usage=Usage(100, 50, cached_input=80))
        )
        line = reader.lines()[-1]
    datetime.fromisoformat(str(line.pop("time")))
    assert line == {
        "level": "info",
        "event": "request",
        "request_id": "7f",
        "outcome": "ok",
        "status": 200,
        "route": "shop/chat",
        "model": "chat",
        "operation": "chat",
        "stream": True,
        "target": "east",
        "reason": "fastest",
        "attempts": "west:server-error, east:ok",
        "cache": "miss",
        "total_ms": 1310.0,
        "ttft_ms": 310.0,
        "overhead_ms": 0.4,
        "input_tokens": 100,
        "output_tokens": 50,
        "cached_tokens": 80,
    }


def test_a_request_that_came_to_nothing_is_logged_as_such() -> None:
    with telemetry() as reader:
        reader.telemetry.request_ended(
            ended("", status=503, error="no_candidate", operation=None, target="", ttft=None, overhead=None)
        )
        line = reader.lines()[-1]
    assert line["level"] == "error"
    assert line["error"] == "no_candidate"
    assert not {"route", "target", "ttft_ms", "overhead_ms", "operation", "input_tokens"} & line.keys()


def test_what_clients_chose_is_cut_to_length_and_stays_one_line() -> None:
    with telemetry() as reader:
        reader.telemetry.request_ended(ended(id="i" * 10_000, model='two\nlines "quoted" \x00' + "m" * 10_000))
        line = reader.lines()[-1]
    assert len(str(line["request_id"])) == 256
    assert len(str(line["model"])) == 256


def test_text_that_is_no_text_does_not_lose_the_request() -> None:
    with telemetry() as reader:
        reader.telemetry.request_ended(ended(model="half a surrogate \ud800"))
        assert str(reader.lines()[-1]["model"]).startswith("half a surrogate")


def test_the_access_log_can_be_switched_off() -> None:
    with telemetry(access_log=False) as reader:
        reader.telemetry.request_ended(ended())
        assert [line["event"] for line in reader.lines()] == ["reload"]


@pytest.mark.parametrize(
    ("change", "level"),
    [
        (Transition("east", State.HEALTHY, State.EJECTED, Outcome.AUTHENTICATION.value, 60.0), "error"),
        (Transition("east", State.HEALTHY, State.EJECTED, Outcome.SERVER_ERROR.value, 5.0), "warning"),
        (Transition("east", State.HEALTHY, State.LIMITED, Outcome.RATE_LIMITED.value, 5.0), "warning"),
        (Transition("east", State.PROBATION, State.HEALTHY, "ok"), "info"),
    ],
)
def test_a_change_of_state_is_as_loud_as_it_is_urgent(change: Transition, level: str) -> None:
    with telemetry() as reader:
        reader.telemetry.state_changed("shop/chat", change)
        line = reader.lines()[-1]
    assert (line["level"], line["event"]) == (level, "target-state")
    assert line["target"] == "east"
    assert line["route"] == "shop/chat"
    assert (line["before"], line["after"], line["reason"]) == (change.before, change.after, change.reason)


def test_reloads_rejections_and_keys_are_logged() -> None:
    with telemetry() as reader:
        reader.telemetry.rejected(ConfigError("must be positive", where="route.yaml:7: spec.targets[0]"))
        reader.telemetry.credential_changed("shop/chat", "east", False)
        reader.telemetry.credential_changed("shop/chat", "east", True)
        lines = reader.lines()
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "reload"),
        ("error", "reload"),
        ("error", "credential"),
        ("info", "credential"),
    ]
    assert "route.yaml:7: spec.targets[0]" in str(lines[1]["message"])


def test_what_libraries_log_comes_out_as_json_too() -> None:
    with telemetry() as reader:
        logging.getLogger("some.library").warning("odd: %s", "value")
        logging.getLogger("some.library").info("not for us")
        try:
            raise ValueError("boom")
        except ValueError:
            logging.getLogger("llmroute").exception("it broke")
        lines = reader.lines()
    assert [line["message"] for line in lines[1:]] == ["odd: value", "it broke"]
    assert "ValueError: boom" in str(lines[2]["exception"])


def test_the_log_level_is_obeyed_and_given_back() -> None:
    before = logging.getLogger("llmroute").level
    with telemetry(log_level="error") as reader:
        logging.getLogger("llmroute").warning("quiet")
        logging.getLogger("llmroute").error("loud")
        assert [line["message"] for line in reader.lines()] == ["loud"]
    assert logging.getLogger("llmroute").level == before


class Pipe:
    """A reader that reads only when told to."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.writer = Writer(self.write_end)

    def read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            content += os.read(self.read_end, size - len(content))
        return content

    def close(self) -> None:
        os.close(self.read_end)
        self.writer.close()
        os.close(self.write_end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def test_lines_come_out_whole_and_in_order_soon_after_they_were_written(pipe: Pipe) -> None:
    lines = [b"%d\n" % index for index in range(1000)]
    for line in lines:
        pipe.writer.write(line)
    assert pipe.read(sum(map(len, lines))) == b"".join(lines)


def test_lines_of_several_threads_are_never_torn(pipe: Pipe) -> None:
    def write(letter: bytes) -> None:
        for _ in range(500):
            pipe.writer.write(letter * 99 + b"\n")

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    found = pipe.read(1500 * 100).splitlines()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted([b"a" * 99] * 500 + [b"b" * 99] * 500 + [b"c" * 99] * 500)


def test_a_reader_that_stalls_never_stalls_who_writes_and_memory_stays_bounded(pipe: Pipe) -> None:
    line = b"x" * 1023 + b"\n"
    began = time.monotonic()
    for _ in range(3 * MOST_WAITING // len(line)):
        pipe.writer.write(line)
    assert time.monotonic() - began < 5.0, "it would have hung for ever"
    assert sum(map(len, list(pipe.writer._lines))) <= MOST_WAITING + 128 * 1024
    content = b""
    while b"log lines were dropped" not in content:
        content = content[-4096:] + os.read(pipe.read_end, 1 << 16)


def test_a_reader_that_is_gone_is_not_written_to(pipe: Pipe) -> None:
    os.close(pipe.read_end)
    pipe.writer.write(b"a\n")
    pipe.writer._thread.join(5.0)
    pipe.writer.write(b"b\n")
    pipe.read_end = os.open("/dev/null", os.O_RDONLY)


def test_the_last_lines_are_written_on_close() -> None:
    read, write = os.pipe()
    writer = Writer(write)
    writer.write(b"last words\n")
    writer.close()
    assert os.read(read, 100) == b"last words\n"
    os.close(read)
    os.close(write)


def test_closing_does_not_wait_for_a_reader_that_stalls() -> None:
    read, write = os.pipe()
    writer = Writer(write)
    for _ in range(200):
        writer.write(b"x" * 1023 + b"\n")
    writer.close()
    os.close(read)
    os.close(write)

"""`python -m bench.callgrind`: instructions that the sidecar executes for one request, counted by valgrind.

Times on a shared machine differ by a factor of two from hour to hour; the number of instructions does not (to about
0.5 %). What it does not see: the kernel, which is the same for every gateway, and how well instructions run. So it is
the measure to optimise by, and `bench.proxy` the one to judge by.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

from bench.proxy.cases import APP_MODEL, Case, request_body
from bench.proxy.gateway import free_port
from bench.proxy.peers import PEERS_DIRECTORY

_HEADERS = """\
accept: application/json
accept-encoding: gzip, deflate
connection: keep-alive
content-type: application/json
user-agent: OpenAI/Python 3.1.0
x-stainless-lang: python
x-stainless-package-version: 3.1.0
x-stainless-os: Linux
x-stainless-arch: x64
x-stainless-runtime: CPython
x-stainless-runtime-version: 3.12.4
authorization: Bearer sk-bench
x-stainless-async: false
x-stainless-retry-count: 0
x-stainless-read-timeout: 600
"""
"""What the OpenAI SDK for Python sends with each request."""

_STARTS_WITHIN = 120.0  # seconds; everything is 50 times as slow here
_WARMUP = 150  # requests, for every cache and every branch of the interpreter's specialiser


def main() -> None:
    arguments = _arguments()
    for tool in ("valgrind", "callgrind_control"):
        if shutil.which(tool) is None:
            raise SystemExit(f"bench: {tool} is not installed (Debian: valgrind)")
    case = Case("", arguments.large, arguments.stream, 1)
    with tempfile.TemporaryDirectory() as scratch, _mock() as upstream:
        count = _count(arguments, case, Path(scratch), upstream)
    print(f"{count / arguments.requests:,.0f} instructions per {'stream' if case.stream else 'request'}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.callgrind", description="Instructions per request.")
    parser.add_argument("--stream", action="store_true", help="64 events instead of one answer")
    parser.add_argument("--large", action="store_true", help="a prompt of 100 KB")
    parser.add_argument("--without-cache", action="store_true", help="routes without `cache`")
    parser.add_argument("--without-log", action="store_true", help="no access log, as in bench.proxy")
    parser.add_argument("--requests", type=int, default=300, help="counted (default 300)")
    parser.add_argument("--command", default=f"{sys.executable} -m llmroute", help="the sidecar (default: this one)")
    parser.add_argument("--profile", type=Path, help="keep callgrind's file here, for callgrind_annotate")
    return parser.parse_args()


def _count(arguments: argparse.Namespace, case: Case, scratch: Path, upstream: int) -> int:
    """Instructions of all counted requests together."""
    config = (PEERS_DIRECTORY / "llmroute.yaml").read_text().replace("@upstream@", str(upstream))
    if arguments.without_cache:
        config = "".join(line for line in config.splitlines(keepends=True) if "cache:" not in line)
    (scratch / "route.yaml").write_text(config)
    profile = arguments.profile or scratch / "callgrind.out"
    port = free_port()
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={profile}"]
    command += [*arguments.command.split(), "serve", str(scratch / "route.yaml")]
    command += ["--no-access-log"] if arguments.without_log else []
    command += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{free_port()}"]
    with (scratch / "log").open("wb") as log, _running(command, log.fileno()) as sidecar:
        try:
            with _connected(port) as app:
                _ask(app, case, 0, _WARMUP)
                _instrument(sidecar, "on")
                _ask(app, case, _WARMUP, arguments.requests)
                _instrument(sidecar, "off")
        except OSError as error:
            raise SystemExit(f"bench: {error}\n{(scratch / 'log').read_text()[-2000:]}") from error
    found = re.search(r"^totals: (\d+)", profile.read_text(), re.M)
    assert found is not None
    return int(found[1])


@contextmanager
def _mock() -> Iterator[int]:
    port = free_port()
    with _running([sys.executable, "-m", "bench.proxy.upstream", "--port", str(port)], subprocess.DEVNULL):
        _connected(port).close()
        yield port


@contextmanager
def _running(command: list[str], output: int) -> Iterator[int]:
    """The process, ended with the block; callgrind writes its file then."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, env={**environment, "OPENAI_API_KEY": "bench"}, stdout=output, stderr=output)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _connected(port: int) -> socket.socket:
    for _ in range(int(_STARTS_WITHIN / 0.1)):
        with suppress(OSError):
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        sleep(0.1)
    raise TimeoutError("nothing listens")


def _instrument(process: int, state: str) -> None:
    subprocess.run(["callgrind_control", "-i", state, str(process)], stdout=subprocess.DEVNULL, check=True)


def _ask(app: socket.socket, case: Case, first: int, count: int) -> None:
    """Raises ConnectionError for anything but a whole answer with status 200."""
    before, after = request_body(case, APP_MODEL)
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:4000\r\n" + _HEADERS.replace("\n", "\r\n")
    start = f"{head}content-length: {len(before) + 16 + len(after)}\r\n\r\n".encode() + before
    for number in range(first, first + count):
        app.sendall(b"%b%016x%b" % (start, number, after))
        answer = b""
        while not _whole(answer):
            piece = app.recv(65536)
            if not piece:
                raise ConnectionError(f"the sidecar hung up after {answer[:500]!r}")
            answer += piece
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"the sidecar answered {answer[:500]!r}")


def _whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.I)
    return bool(end) and (len(body) >= int(length[1]) if length else body.endswith(b"\r\n0\r\n\r\n"))


if __name__ == "__main__":
    main()

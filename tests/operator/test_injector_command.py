"""The command `llmroute-injector`: settings from the environment, and its end."""

import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import orjson
import pytest
import trustme
from tests.operator.apiserver import until
from tests.operator.injected_pods import pod
from tests.operator.injector_server import issue, review_of, trusting

from llmroute.errors import ConfigError
from llmroute_operator.injection_settings import from_environment
from llmroute_operator.tuning import Resource

COMMAND = [Path(sys.executable).with_name("llmroute-injector")]
IMAGE = {"LLMROUTE_SIDECAR_IMAGE": "llmroute/sidecar:1"}


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("SIDECAR_IMAGE", "", "an image such as"),
            ("SIDECAR_IMAGE", "a b", "an image such as"),
            ("CPU_REQUEST", "lots", "a quantity"),
            ("CPU_REQUEST", "2", "above the limit 1"),
            ("MEMORY_LIMIT", "1Ki", "from 32Mi to 1Ti"),
            ("IMAGE_PULL_POLICY", "sometimes", "one of Always, IfNotPresent, Never"),
            ("SIDECAR_USER", "0", "a numeric user other than 0"),
            ("SIDECAR_USER", "nobody", "a numeric user other than 0"),
            ("LISTEN", "8443", "HOST:PORT"),
            ("ADMIN", ":99999", "HOST:PORT"),
            ("LOG_LEVEL", "LOUD", "one of debug"),
        ],
    )
    def test_what_is_wrong_is_named(self, name: str, value: str, expected: str) -> None:
        with pytest.raises(ConfigError, match=expected) as error:
            from_environment({**IMAGE, f"LLMROUTE_{name}": value})
        assert f"LLMROUTE_{name}" in str(error.value)

    def test_what_the_chart_may_set(self) -> None:
        settings = from_environment(
            {
                **IMAGE,
                "LLMROUTE_CPU_REQUEST": "100m",
                "LLMROUTE_CPU_LIMIT": "2",
                "LLMROUTE_SIDECAR_USER": "any",
                "LLMROUTE_SIDECAR_LOG_LEVEL": "debug",
                "LLMROUTE_LISTEN": "[::1]:9443",
                "LLMROUTE_OWN_NAMESPACE": "system",
            }
        )
        assert settings.listen == ("::1", 9443)
        assert settings.admin == ("", 8080)
        assert settings.injection.defaults.cpu == Resource("100m", "2")
        assert settings.injection.defaults.log_level == "debug"
        assert settings.injection.user is None
        assert settings.injection.own_namespace == "system"

    def test_the_command_says_it_and_ends(self) -> None:
        ended = subprocess.run(COMMAND, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, timeout=60)
        assert ended.returncode == 2
        assert ended.stderr.startswith("llmroute-injector: LLMROUTE_SIDECAR_IMAGE: expected an image")


def test_told_to_stop_it_answers_on_until_it_is_known_and_ends_well(tmp_path: Path) -> None:
    authority = trustme.CA()
    issue(authority, tmp_path)
    environment = {"LLMROUTE_LISTEN": "127.0.0.1:0", "LLMROUTE_ADMIN": "127.0.0.1:0", **IMAGE}
    log = tmp_path / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            COMMAND, env={**os.environ, **environment, "LLMROUTE_CERTIFICATE_DIR": str(tmp_path)}, stdout=written
        )
    try:
        until(lambda: b"reviews on port" in log.read_bytes(), 60.0)
        found = re.search(rb"reviews on port (\d+), probes and metrics on port (\d+)", log.read_bytes())
        assert found
        port, admin = (int(number) for number in found.groups())
        assert _status(f"http://127.0.0.1:{admin}/readyz") == 200
        process.send_signal(signal.SIGTERM)
        until(lambda: _status(f"http://127.0.0.1:{admin}/readyz") == 503, 20.0)
        assert _reviewed(port, trusting(authority))["allowed"] is True
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    assert [line["outcome"] for line in lines if line["message"] == "reviewed"] == ["injected"]


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _reviewed(port: int, context: ssl.SSLContext) -> dict[str, object]:
    request = urllib.request.Request(f"https://127.0.0.1:{port}/mutate", data=orjson.dumps(review_of(pod())))
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        assert answer.headers["connection"] == "close"
        response: dict[str, object] = orjson.loads(answer.read())["response"]
        return response

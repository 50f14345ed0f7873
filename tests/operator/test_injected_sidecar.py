"""The container that pods get: its rights, resources, mounts and what annotations tune."""

import socket
import subprocess
import sys
import threading
from typing import Any

import pytest
from tests.operator.injected_pods import SETTINGS, app, environment, patched, pod, review, sidecar

from llmroute_operator import names
from llmroute_operator.inject import inject
from llmroute_operator.injection_settings import InjectionSettings
from llmroute_operator.tuning import Tuning


def tuned(**annotations: str) -> tuple[dict[str, Any], list[str]]:
    """The sidecar of a pod with these annotations (`cpu_limit` for llmroute.dev/cpu-limit), and the warnings."""
    given = pod(annotations={f"llmroute.dev/{name.replace('_', '-')}": value for name, value in annotations.items()})
    injected = review(given)
    assert injected.outcome == "injected"
    return sidecar(patched(given, injected)), injected.warnings


DEFAULT: dict[str, Any] = {
    "requests": {"cpu": "50m", "memory": "96Mi"},
    "limits": {"cpu": "1", "memory": "256Mi"},
}


class TestResources:
    def test_all_are_set_without_asking(self) -> None:
        assert tuned()[0]["resources"] == DEFAULT

    def test_annotations_change_them(self) -> None:
        container, warnings = tuned(cpu_request="100m", cpu_limit="2", memory_request="128Mi", memory_limit="1Gi")
        assert warnings == []
        assert container["resources"] == {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "2", "memory": "1Gi"},
        }

    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            ("cpu_request", "lots"),
            ("cpu_request", "-1"),
            ("cpu_request", "0"),
            ("cpu_limit", "0.0001"),
            ("cpu_limit", "1e99"),
            ("memory_request", "96 Mi"),
            ("memory_limit", "256m"),
            ("memory_limit", "8Ei"),
            ("memory_limit", ""),
            ("memory_limit", "٣Gi"),
        ],
    )
    def test_a_value_that_would_get_the_pod_refused_or_killed_is_not_taken(self, annotation: str, value: str) -> None:
        container, (warning,) = tuned(**{annotation: value})
        assert container["resources"] == DEFAULT
        assert f"llmroute.dev/{annotation.replace('_', '-')}" in warning
        assert warning.isascii()

    def test_one_alone_moves_the_other_along(self) -> None:
        assert tuned(cpu_request="3")[0]["resources"]["limits"]["cpu"] == "3"
        assert tuned(memory_limit="64Mi")[0]["resources"]["requests"]["memory"] == "64Mi"

    def test_a_request_above_its_limit_is_not_taken(self) -> None:
        container, (warning,) = tuned(memory_request="1Gi", memory_limit="0.5Gi")
        assert container["resources"] == DEFAULT
        assert "above" in warning

    def test_a_pod_that_declares_resources_as_a_whole_shares_them(self) -> None:
        given = pod(resources={"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}})
        injected = review(given)
        assert sidecar(patched(given, injected))["resources"] == {"requests": {"cpu": "50m"}, "limits": {"cpu": "1"}}
        assert "memory" in injected.warnings[0]


class TestRights:
    def test_the_restricted_standard_is_met_whatever_the_pod_says(self) -> None:
        given = pod(securityContext={"runAsUser": 0, "runAsNonRoot": False, "seccompProfile": {"type": "Unconfined"}})
        assert sidecar(patched(given))["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }

    def test_a_cluster_that_assigns_users_may(self) -> None:
        settings = InjectionSettings(defaults=Tuning(image="x"), user=None)
        given = pod()
        security = sidecar(patched(given, inject(given, "team", settings)))["securityContext"]
        assert "runAsUser" not in security
        assert security["runAsNonRoot"] is True

    def test_no_token_can_be_mounted_where_something_is(self) -> None:
        after = patched(pod())
        mounts = {mount["mountPath"]: mount["name"] for mount in sidecar(after)["volumeMounts"]}
        assert mounts["/var/run/secrets/kubernetes.io/serviceaccount"] == "llmroute-no-token"
        volumes = {volume.pop("name"): volume for volume in after["spec"]["volumes"]}
        assert volumes["llmroute-no-token"] == {"emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}


class TestMounts:
    def test_everything_that_may_come_later_is_optional(self) -> None:
        after = patched(pod())
        volumes = {volume.pop("name"): volume for volume in after["spec"]["volumes"]}
        config, marks = volumes["llmroute-config"]["projected"]["sources"]
        assert config["configMap"] == {
            "name": "llmroute-config",
            "optional": True,
            "items": [{"key": "routes.json", "path": "routes.json"}],
        }
        assert [item["path"] for item in marks["downwardAPI"]["items"]] == ["labels", "annotations"]
        assert volumes["llmroute-fleet"]["secret"]["optional"] is True
        assert volumes["llmroute-secret-0"] == {"secret": {"secretName": "llmroute-credentials", "optional": True}}
        assert volumes["llmroute-state"] == {"emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}

    def test_secrets_that_the_pod_lists_are_mounted_once_each(self) -> None:
        given = pod(annotations={"llmroute.dev/secrets": " team-keys, llmroute-credentials,,team-keys,a.b "})
        after = patched(given)
        mounts = {one["mountPath"] for one in sidecar(after)["volumeMounts"] if "secrets/" in one["mountPath"]}
        assert mounts - {"/var/run/secrets/kubernetes.io/serviceaccount"} == {
            "/etc/llmroute/secrets/llmroute-credentials",
            "/etc/llmroute/secrets/team-keys",
            "/etc/llmroute/secrets/a.b",
        }
        assert review(given).warnings == []

    @pytest.mark.parametrize("name", ["../etc", "UPPER", "a/b", "x" * 254, "llmroute-fleet", "é"])
    def test_what_is_no_secret_for_routes_is_left_out(self, name: str) -> None:
        container, (warning,) = tuned(secrets=f"{name},good")
        paths = [one["mountPath"] for one in container["volumeMounts"]]
        assert "/etc/llmroute/secrets/good" in paths
        assert not any(name in path for path in paths if path != "/etc/llmroute/fleet")
        assert "llmroute.dev/secrets" in warning
        assert len(warning) < 250

    def test_secrets_are_bounded(self) -> None:
        container, warnings = tuned(secrets=",".join(f"s{number}" for number in range(40)))
        assert sum("/etc/llmroute/secrets/" in one["mountPath"] for one in container["volumeMounts"]) == 32
        assert len(warnings) == 9


class TestCommand:
    def test_it_serves_the_pod(self) -> None:
        container, _ = tuned()
        assert container["command"] + container["args"] == [
            *("llmroute", "serve", "--pod", "/etc/llmroute", "--listen", "127.0.0.1:4000", "--admin", ":4001"),
            *("--log-level", "info"),
        ]
        assert container["restartPolicy"] == "Always"
        assert [entry["name"] for entry in container["env"]] == ["POD_NAME", "POD_NAMESPACE", "POD_IP"]

    def test_another_port_moves_the_base_urls_too(self) -> None:
        given = pod(annotations={"llmroute.dev/port": "14000"})
        after = patched(given)
        assert "127.0.0.1:14000" in sidecar(after)["args"]
        assert environment(after)["OPENAI_BASE_URL"] == "http://127.0.0.1:14000/v1"

    @pytest.mark.parametrize("port", ["4001", "80", "70000", "http", "", "-4000", "٤٠٠٠"])
    def test_a_port_that_cannot_be_is_not_taken(self, port: str) -> None:
        container, (warning,) = tuned(port=port)
        assert "127.0.0.1:4000" in container["args"]
        assert "llmroute.dev/port" in warning

    def test_log_level_and_image(self) -> None:
        container, warnings = tuned(log_level="debug", image="registry.example:5000/team/sidecar:2@sha256:" + "0" * 64)
        assert (container["args"][-1], warnings) == ("debug", [])
        assert container["image"].startswith("registry.example:5000/team/sidecar:2@")

    @pytest.mark.parametrize("image", ["", "a b", "UPPER/", "x" * 600, "-", "a" * 80 + "-" * 100 + "!"])
    def test_what_is_no_image_is_not_taken(self, image: str) -> None:
        container, (warning,) = tuned(image=image, log_level="info")
        assert container["image"] == SETTINGS.defaults.image
        assert len(warning) < 250

    def test_a_level_that_does_not_exist_is_not_taken(self) -> None:
        container, (warning,) = tuned(log_level="LOUD")
        assert container["args"][-1] == "info"
        assert "debug, info, warning, error" in warning


@pytest.mark.parametrize(("status", "code"), [("200 OK", 0), ("503 Service Unavailable", 1)])
def test_the_probe_from_inside_a_mesh_asks_the_admin_port(
    status: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            asked.append(connection.recv(1000))
            connection.sendall(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())

    thread = threading.Thread(target=answer)
    thread.start()
    given = pod(initContainers=[app("istio-init")])
    command = sidecar(patched(given))["startupProbe"]["exec"]["command"]
    assert command[0] == "python"
    port = str(server.getsockname()[1])
    command = [sys.executable, *(part.replace(str(names.ADMIN_PORT), port) for part in command[1:])]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (ended.returncode, ended.stderr) == (code, f"HTTP/1.1 {status}\n" if code else "")
    thread.join()
    server.close()
    assert asked[0].startswith(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n")
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), "an event shows one line, not a traceback"

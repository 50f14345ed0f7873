"""What the chart decides for the injector, from environment variables that begin with LLMROUTE_; fixed at start."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from llmroute.errors import ConfigError
from llmroute_operator.settings import LEVELS
from llmroute_operator.tuning import Resource, Tuning, image_reference, quantity

USER = 10001
"""Of the sidecar, as in its image. Not 1337 and not 2102: Istio and Linkerd exempt these from their own proxying."""
PULL_POLICIES = ("Always", "IfNotPresent", "Never")

Parsed = TypeVar("Parsed")


class InjectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """For all sidecars."""

    defaults: Tuning
    pull_policy: str = "IfNotPresent"
    user: int | None = USER
    """None where the cluster assigns users itself (OpenShift)."""
    own_namespace: str = ""


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """For the webhook's server. Hosts: "" is every interface."""

    injection: InjectionSettings
    certificate_dir: Path = Path("/etc/llmroute/tls")
    listen: tuple[str, int] = ("", 8443)
    admin: tuple[str, int] = ("", 8080)
    drain_delay: float = 5.0
    """Seconds that a server that was told to stop keeps answering, until the API server's node knows that it leaves."""
    drain_timeout: float = 15.0
    """Seconds that reviews in progress may then still take."""
    log_level: str = "info"


def from_environment(environment: Mapping[str, str] = os.environ) -> ServerSettings:
    """Settings of this process; ConfigError names the variable that is wrong."""

    def read(name: str, default: str, parse: Callable[[str], Parsed]) -> Parsed:
        text = environment.get(f"LLMROUTE_{name}", "").strip() or default
        try:
            return parse(text)
        except ValueError as error:
            raise ConfigError(f"expected {error}, got {text!r}", where=f"LLMROUTE_{name}") from error

    def resource(kind: str, default: Resource) -> Resource:
        def parse(text: str) -> str:
            quantity(text, kind)
            return text

        request = read(f"{kind.upper()}_REQUEST", default.request, parse)
        limit = read(f"{kind.upper()}_LIMIT", default.limit, parse)
        if quantity(request, kind) > quantity(limit, kind):
            raise ConfigError(f"{request} is above the limit {limit}", where=f"LLMROUTE_{kind.upper()}_REQUEST")
        return Resource(request, limit)

    tuning = Tuning(image=read("SIDECAR_IMAGE", "", image_reference))
    tuning = msgspec.structs.replace(
        tuning,
        cpu=resource("cpu", tuning.cpu),
        memory=resource("memory", tuning.memory),
        log_level=read("SIDECAR_LOG_LEVEL", tuning.log_level, _one_of(LEVELS)),
    )
    return ServerSettings(
        injection=InjectionSettings(
            defaults=tuning,
            pull_policy=read("IMAGE_PULL_POLICY", "IfNotPresent", _one_of(PULL_POLICIES)),
            user=read("SIDECAR_USER", str(USER), _user),
            own_namespace=read("OWN_NAMESPACE", "llmroute", str),
        ),
        certificate_dir=read("CERTIFICATE_DIR", "/etc/llmroute/tls", Path),
        listen=read("LISTEN", ":8443", address),
        admin=read("ADMIN", ":8080", address),
        log_level=read("LOG_LEVEL", "info", _one_of(LEVELS)),
    )


def address(text: str) -> tuple[str, int]:
    """`:8443`, `127.0.0.1:8443` or `[::1]:8443`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError("HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _user(text: str) -> int | None:
    if text == "any":
        return None
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise ValueError('a numeric user other than 0, or "any" where the cluster assigns one')
    return int(text)


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return parse

"""Facts of the operator's process that are fixed at start, from environment variables that begin with LLMROUTE_."""

import os
from collections.abc import Mapping

import msgspec

from llmroute.errors import ConfigError
from llmroute_operator import names

LEVELS = ("debug", "info", "warning", "error")
LONGEST_WINDOW = 3600
"""Seconds that a HorizontalPodAutoscaler can look back."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Set by the chart, once."""

    namespaces: tuple[str, ...] = ()
    """Served namespaces; none means all of the cluster."""
    own_namespace: str = "llmroute"
    identity: str = ""
    """Who we are in the Lease: the pod's name."""
    cluster_domain: str = "cluster.local"
    prometheus_address: str = ""
    nudge: bool = True
    """Whether we may patch annotations of pods; without it kubelet needs one or two minutes for a new configuration."""
    autoscaling: bool = True
    scale_up_after: int = 30
    """Seconds that more replicas must have been wanted for."""
    scale_down_after: int = 300
    """Seconds that fewer must have been wanted for: a replica that went too early costs more than one that stays."""
    webhook_name: str = ""
    """MutatingWebhookConfiguration whose caBundle is ours to set; empty: cert-manager's."""
    certificate_secret: str = names.CERTIFICATE_SECRET
    injector_service: str = names.INJECTOR_SERVICE
    log_level: str = "info"
    kubeconfig: str = ""
    """File to reach the API server by; empty: the pod's ServiceAccount."""
    port: int = 8080
    """Of /livez, /readyz and /metrics."""

    @property
    def clusterwide(self) -> bool:
        """Whether all namespaces are served."""
        return not self.namespaces


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings of this process; ConfigError names the variable that is wrong."""

    def text(name: str, default: str = "") -> str:
        return environment.get(f"LLMROUTE_{name}", "").strip() or default

    return Settings(
        namespaces=tuple(sorted({one.strip() for one in text("NAMESPACES").split(",") if one.strip()})),
        own_namespace=text("OWN_NAMESPACE", "llmroute"),
        identity=environment.get("POD_NAME", "") or f"{environment.get('HOSTNAME', 'operator')}-{os.getpid()}",
        cluster_domain=text("CLUSTER_DOMAIN", "cluster.local"),
        prometheus_address=text("PROMETHEUS_ADDRESS"),
        nudge=_switch("NUDGE", text("NUDGE", "true")),
        autoscaling=_switch("AUTOSCALING", text("AUTOSCALING", "true")),
        scale_up_after=_window("SCALE_UP_SECONDS", text("SCALE_UP_SECONDS", "30")),
        scale_down_after=_window("SCALE_DOWN_SECONDS", text("SCALE_DOWN_SECONDS", "300")),
        webhook_name=text("WEBHOOK_NAME"),
        certificate_secret=text("CERTIFICATE_SECRET", names.CERTIFICATE_SECRET),
        injector_service=text("INJECTOR_SERVICE", names.INJECTOR_SERVICE),
        log_level=_level(text("LOG_LEVEL", "info")),
        kubeconfig=text("KUBECONFIG"),
        port=_port(text("PORT", "8080")),
    )


def _switch(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ConfigError(f"expected true or false, got {value!r}", where=f"LLMROUTE_{name}")
    return value.lower() == "true"


def _level(value: str) -> str:
    if value.lower() not in LEVELS:
        raise ConfigError(f"expected one of {', '.join(LEVELS)}, got {value!r}", where="LLMROUTE_LOG_LEVEL")
    return value.lower()


def _window(name: str, value: str) -> int:
    if not value.isdecimal() or int(value) > LONGEST_WINDOW:
        raise ConfigError(f"expected seconds, at most {LONGEST_WINDOW}, got {value!r}", where=f"LLMROUTE_{name}")
    return int(value)


def _port(value: str) -> int:
    if not value.isdecimal() or not 0 <= int(value) <= 65535:
        raise ConfigError(f"expected a port, got {value!r}", where="LLMROUTE_PORT")
    return int(value)

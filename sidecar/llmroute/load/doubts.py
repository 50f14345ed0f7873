"""What is allowed in an LLMRoute and yet probably not meant."""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from llmroute.rules import Path
from llmroute.spec import LLMRouteSpec, Target

NEAR = (".local", ".localhost", ".internal", ".svc", ".home.arpa", ".lan")
"""Endings of names that no public DNS knows."""


def doubts(spec: LLMRouteSpec) -> Iterator[tuple[Path, str]]:
    """Places in `spec` and what is doubtful there."""
    for index, target in enumerate(spec.targets):
        place: Path = ("targets", index)
        if _key_in_the_open(target):
            yield (*place, "url"), "the key travels unencrypted over http to a public name; use https"
        if target.service is not None:
            yield (*place, "service"), "is served in a cluster only; `llmroute serve` with this file wants its url"
        # Regions and labels are never relaxed.
        regions, required = spec.constraints.regions, spec.constraints.require or {}
        if regions is not None and target.region not in regions:
            yield place, f"is never chosen: constraints.regions allows {', '.join(regions) or 'none'}"
        for label, value in required.items():
            if (target.labels or {}).get(label) != value:
                yield place, f"is never chosen: constraints.require asks for the label {label}: {value}"


def _key_in_the_open(target: Target) -> bool:
    if target.url is None or (target.provider == "openai-compatible" and target.credential is None):
        return False
    url = urlsplit(target.url)
    host = url.hostname or ""
    if url.scheme != "http" or "." not in host.strip("."):
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return not host.endswith((*NEAR, ".cluster.local"))

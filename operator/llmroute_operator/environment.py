"""What an app's container must find in its environment so that its SDK calls the sidecar. Pure.

Only ever adds, but for NO_PROXY, to whose value our addresses are appended.
"""

from collections.abc import Iterator, Mapping
from typing import Any

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
NO_PROXY = ("NO_PROXY", "no_proxy")
LOCAL = ("127.0.0.1", "localhost")
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
PLACEHOLDER = "provided-by-llmroute"
"""SDKs refuse to start without a key; the sidecar sends the real one."""

Operation = dict[str, Any]
"""One operation of a JSON patch (RFC 6902)."""


def environment(container: Mapping[str, Any], path: str, port: int) -> tuple[list[Operation], list[str]]:
    """Operations that complete the environment of the container at `path` (a JSON pointer), and warnings."""
    declared: list[Mapping[str, Any]] = container.get("env") or []
    operations, last, warnings = _past_proxies(declared, f"{path}/env", str(container.get("name")))
    already = {entry.get("name") for entry in declared}
    first = [{"name": name, "value": value} for name, value in _wanted(container, port) if name not in already]
    if not declared:
        return [_add(f"{path}/env", first + last)] if first or last else [], warnings
    # Ours come first, because an entry may refer to those before it: `$(OPENAI_BASE_URL)`.
    operations += [_add(f"{path}/env/0", entry) for entry in reversed(first)]
    operations += [_add(f"{path}/env/-", entry) for entry in last]
    return operations, warnings


def _wanted(container: Mapping[str, Any], port: int) -> Iterator[tuple[str, str]]:
    origin = f"http://127.0.0.1:{port}"
    yield "OPENAI_BASE_URL", f"{origin}/v1"
    yield "ANTHROPIC_BASE_URL", origin
    yield "LLMROUTE_URL", origin
    if not container.get("envFrom"):  # `env` would hide a real key that comes from there
        yield from ((key, PLACEHOLDER) for key in KEYS)


def _past_proxies(
    declared: list[Mapping[str, Any]], path: str, container: str
) -> tuple[list[Operation], list[dict[str, Any]], list[str]]:
    """Calls to the sidecar must not go to a proxy: values to change, entries to append, warnings."""
    if not any(entry.get("name") in PROXIES and _set(entry) for entry in declared):
        return [], [], []
    exceptions = {entry.get("name"): entry for entry in declared if entry.get("name") in NO_PROXY}
    if not exceptions:
        return [], [{"name": name, "value": ",".join(LOCAL)} for name in NO_PROXY], []
    elsewhere = [name for name, entry in exceptions.items() if "valueFrom" in entry]
    if elsewhere == ["NO_PROXY"] and "no_proxy" not in exceptions:
        # Most programs read the lower-case one first, and kubelet puts in the value of one that stands before it.
        return [], [{"name": "no_proxy", "value": ",".join(("$(NO_PROXY)", *LOCAL))}], []
    operations = [
        _add(f"{path}/{index}/value", longer)
        for index, entry in enumerate(declared)
        if entry.get("name") in NO_PROXY and "valueFrom" not in entry
        if (longer := _with_local(entry.get("value") or "")) != (entry.get("value") or "")
    ]
    unreachable = (
        f"container {container} has a proxy and takes no_proxy from elsewhere: it must contain {' and '.join(LOCAL)}"
    )
    return operations, [], [unreachable] if "no_proxy" in elsewhere else []


def _set(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("value")) or "valueFrom" in entry


def _with_local(value: str) -> str:
    known = {part.strip() for part in value.split(",")}
    missing = [host for host in LOCAL if host not in known]
    return value if "*" in known or not missing else ",".join(filter(None, (value.rstrip(", "), *missing)))


def _add(path: str, value: Any) -> Operation:
    return {"op": "add", "path": path, "value": value}

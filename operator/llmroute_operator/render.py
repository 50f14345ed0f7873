"""A namespace's routes → the ConfigMap that its sidecars read. Pure and deterministic: the same routes, the same bytes.

What only a cluster knows becomes plain fields here: a target's `service` becomes its `url`. Everything else stays as
the user wrote it.
"""

import base64
import binascii
import gzip
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from msgspec import Struct

from llmroute_operator import names

Object = Mapping[str, Any]

FORMAT = 1
PLAIN = 256 * 1024
"""Largest payload in bytes that is written as it is, for people to read; a larger one is compressed."""
LARGEST = 768_000
"""Largest payload in bytes after compression. A ConfigMap holds 1 MiB; below this it is no more than that on its way
either, where it travels in base64."""
LARGEST_INFLATED = 8 * 1024 * 1024
"""Largest payload in bytes before compression."""
LEVEL = 6


class Rendered(Struct, frozen=True):
    """The configuration of a namespace."""

    revision: str
    """Stands for the routes: 12 hexadecimal digits."""
    payload: bytes
    """The file, not compressed."""
    left_out: frozenset[str]
    """Uids of the routes that there is no room for."""


def route_entry(body: Object, services: Mapping[str, Object], domain: str) -> dict[str, Any]:
    """A route as sidecars read it. `services`: of the route's namespace, by name; `domain`: the cluster's."""
    metadata, spec = body["metadata"], body["spec"]
    namespace = metadata["namespace"]
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {key: metadata[key] for key in ("name", "namespace", "uid", "generation")},
        "spec": {**spec, "targets": [_target(one, services, namespace, domain) for one in spec["targets"]]},
    }


def _target(target: Object, services: Mapping[str, Object], namespace: str, domain: str) -> Object:
    wanted = target.get("service")
    if not wanted:
        return target
    plain = {key: value for key, value in target.items() if key not in ("service", "url", "endpoints")}
    if wanted.get("endpoints", "virtual") != "virtual":
        plain["endpoints"] = wanted["endpoints"]
    return {**plain, "url": service_url(wanted, services.get(wanted["name"]), namespace, domain)}


def service_url(wanted: Object, service: Object | None, namespace: str, domain: str) -> str:
    """A Service as a URL: by name, so that a change of its endpoints changes nothing here.

    The name of a headless Service stands for its pods, whose port is the `targetPort`. A Service that is not there gets
    the URL that it would have: the target fails until the Service comes, and the others serve.
    """
    spec = (service or {}).get("spec") or {}
    asked = wanted["port"]
    port: Object = next((one for one in spec.get("ports") or () if asked in (one.get("port"), one.get("name"))), {})
    number = port.get("port") or (asked if isinstance(asked, int) else None)
    if spec.get("clusterIP") == "None" and isinstance(port.get("targetPort"), int):
        number = port["targetPort"]
    place = f"{wanted['name']}.{namespace}.svc.{domain}" + (f":{number}" if number else "")
    return f"{wanted.get('scheme', 'http')}://{place}{wanted.get('path', '/v1').rstrip('/')}"


def render(entries: Sequence[Object]) -> Rendered:
    """The configuration that holds the entries; if not all fit, those that come first in `entries`."""
    payload, revision = _file(entries)
    if _fits(payload):
        return Rendered(revision, payload, frozenset())
    kept, left_out = _those_that_fit(entries)
    payload, revision = _file(kept)
    return Rendered(revision, payload, left_out)


def _file(entries: Sequence[Object]) -> tuple[bytes, str]:
    ordered = sorted(entries, key=lambda one: str(one["metadata"]["name"]))
    routes = orjson.dumps(ordered, option=orjson.OPT_SORT_KEYS)
    revision = hashlib.sha256(routes).hexdigest()[:12]
    return b'{"format":%d,"revision":"%s","routes":%s}' % (FORMAT, revision.encode(), routes), revision


def _fits(payload: bytes) -> bool:
    return len(payload) <= PLAIN or (len(payload) <= LARGEST_INFLATED and len(_compressed(payload)) <= LARGEST)


def _those_that_fit(entries: Sequence[Object]) -> tuple[list[Object], frozenset[str]]:
    """Each entry is weighed alone: together they compress better, so what fits by this sum fits."""
    kept: list[Object] = []
    left_out: set[str] = set()
    inflated, deflated = 256, 256
    for entry in entries:
        alone = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
        weight = len(zlib.compress(alone, LEVEL)) + 64
        if inflated + len(alone) + 1 > LARGEST_INFLATED or deflated + weight > LARGEST:
            left_out.add(entry["metadata"]["uid"])
            continue
        kept.append(entry)
        inflated, deflated = inflated + len(alone) + 1, deflated + weight
    return kept, frozenset(left_out)


def _compressed(payload: bytes) -> bytes:
    return gzip.compress(payload, LEVEL, mtime=0)


def config_map(namespace: str, rendered: Rendered, found: Object | None) -> dict[str, Any]:
    """The object to write; `found` is the one that is there, whose other labels and annotations stay."""
    metadata: dict[str, Any] = dict(found["metadata"]) if found else {"name": names.CONFIG, "namespace": namespace}
    metadata.pop("managedFields", None)
    metadata["labels"] = {**(metadata.get("labels") or {}), names.MANAGED_BY: names.MANAGED_BY_VALUE}
    manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    if len(rendered.payload) <= PLAIN:
        return manifest | {"data": {names.CONFIG_KEY: rendered.payload.decode()}}
    packed = base64.b64encode(_compressed(rendered.payload)).decode()
    return manifest | {"binaryData": {names.CONFIG_KEY: packed}}


def holds(found: Object | None, rendered: Rendered) -> bool:
    """Whether a ConfigMap says what was rendered and nothing else. Compression may differ."""
    if found is None:
        return False
    labels = found["metadata"].get("labels") or {}
    keys = [*(found.get("data") or ()), *(found.get("binaryData") or ())]
    return (
        labels.get(names.MANAGED_BY) == names.MANAGED_BY_VALUE
        and keys == [names.CONFIG_KEY]
        and payload_of(found) == rendered.payload
    )


def payload_of(found: Object | None) -> bytes:
    """The file in a ConfigMap, not compressed; empty if there is none or it is damaged."""
    text = ((found or {}).get("data") or {}).get(names.CONFIG_KEY)
    if isinstance(text, str):
        return text.encode()
    packed = ((found or {}).get("binaryData") or {}).get(names.CONFIG_KEY)
    if not isinstance(packed, str):
        return b""
    try:
        raw = base64.b64decode(packed)
        inflater = zlib.decompressobj(wbits=31)
        return inflater.decompress(raw, LARGEST_INFLATED + 1) if raw[:2] == b"\x1f\x8b" else raw
    except (binascii.Error, zlib.error):
        return b""


def entries_of(found: Object | None) -> dict[str, Object]:
    """The routes of a ConfigMap by uid; none if its revision is not that of its routes: somebody edited them."""
    try:
        file = orjson.loads(payload_of(found))
        routes = file["routes"]
        honest = _file(routes)[1] == file["revision"]
        return {route["metadata"]["uid"]: route for route in routes} if honest else {}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}

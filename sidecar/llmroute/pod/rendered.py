"""`routes.json`: the routes of a namespace as the operator renders them. Read tolerantly. Pure.

`{"format": 1, "revision": "<text>", "routes": [LLMRoute, ...]}`, gzipped where it would be large (told by the magic
bytes). Unknown fields are ignored at every level. The format only changes where an old sidecar would misread a new
file; one that is newer than ours is refused as a whole.
"""

import gzip
import re
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, inspect

from llmroute.errors import ConfigError
from llmroute.rules import broken_rules
from llmroute.shapes import shape_of
from llmroute.spec import LLMRoute, decode_written
from llmroute.written import MONEY_PATTERN

FORMAT = 1
FILE = "routes.json"
MAX_BYTES = 2 * 1024 * 1024
"""Largest file; a ConfigMap is at most 1 MiB."""
MAX_TEXT = 16 * 1024 * 1024
"""Largest text, unzipped."""
ZIP_ABOVE = 256 * 1024
MAX_TOLD = 1000
"""Characters of an error about one route."""
GZIP = b"\x1f\x8b"

Plan = dict[str, "Plan"] | tuple["Plan"] | str | None
"""What is known of a type: fields of an object, items of a list, the pattern of a text that msgspec does not check."""


class Route(Struct, frozen=True):
    """One route, and the document that it was read from, without what is not known."""

    declared: LLMRoute
    document: Any


class Rendered(Struct, frozen=True):
    """One file. `routes` and `unreadable` by `namespace/name`; `unreadable` says why."""

    revision: str
    routes: Mapping[str, Route]
    unreadable: Mapping[str, str]


class Unreadable(ConfigError):
    """The file as a whole cannot be used; `revision` is the one that it names, where it does."""

    def __init__(self, message: str, revision: str | None = None) -> None:
        super().__init__(message, where=FILE)
        self.revision = revision


NOTHING = Rendered("none", {}, {})


def read(content: bytes) -> Rendered:
    """What the file says. Raises Unreadable."""
    whole = _parsed(_text(content))
    revision = whole.get("revision")
    if not isinstance(revision, str) or not 0 < len(revision) <= 64 or not revision.isascii():
        raise Unreadable("revision: expected at most 64 characters")
    wanted = whole.get("format")
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise Unreadable("format: expected a whole number from 1", revision)
    if wanted > FORMAT:
        told = f"format {wanted} is newer than {FORMAT}, the newest that this sidecar reads: make the pod anew"
        raise Unreadable(told, revision)
    documents = whole.get("routes")
    if not isinstance(documents, list):
        raise Unreadable("routes: expected a list", revision)
    routes: dict[str, Route] = {}
    unreadable: dict[str, str] = {}
    for index, document in enumerate(documents):
        key = _key_of(document) or f"routes[{index}]"
        try:
            if key in routes or key in unreadable:
                raise ConfigError("is there twice")
            routes[key] = _route(document)
        except (ConfigError, msgspec.ValidationError, RecursionError) as error:
            unreadable.setdefault(key, str(error)[:MAX_TOLD])
    return Rendered(revision, routes, unreadable)


def written(rendered: Rendered) -> bytes:
    """A file that `read` reads as the same, without the unreadable ones."""
    documents = [route.document for route in rendered.routes.values()]
    text = msgspec.json.encode({"format": FORMAT, "revision": rendered.revision, "routes": documents})
    return text if len(text) <= ZIP_ABOVE else gzip.compress(text, compresslevel=1, mtime=0)


def with_last_good(rendered: Rendered, last_good: Rendered) -> Rendered:
    """The same, with the routes that cannot be read as they were when they could."""
    kept = {key: last_good.routes[key] for key in rendered.unreadable if key in last_good.routes}
    return msgspec.structs.replace(rendered, routes={**rendered.routes, **kept}) if kept else rendered


def _text(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise Unreadable(f"is larger than {MAX_BYTES // 1024**2} MiB")
    if not content.startswith(GZIP):
        return content
    unzipping = zlib.decompressobj(wbits=31)
    try:
        text = unzipping.decompress(content, MAX_TEXT + 1)
    except zlib.error as error:
        raise Unreadable(f"is not whole: {error}") from error
    if len(text) > MAX_TEXT:
        raise Unreadable(f"is larger than {MAX_TEXT // 1024**2} MiB when unzipped")
    if not unzipping.eof:
        raise Unreadable("is not whole: the gzipped text is cut off")
    return text


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        whole = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"is not whole: {error}") from error
    if not isinstance(whole, dict):
        raise Unreadable("expected an object")
    return whole


def _key_of(document: object) -> str | None:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict):
        return None
    namespace, name = metadata.get("namespace", "default"), metadata.get("name")
    if not isinstance(namespace, str) or not isinstance(name, str):
        return None
    return f"{namespace[:253]}/{name[:253]}"


def _route(document: object) -> Route:
    known = _known(document, _ROUTE)
    declared = msgspec.convert(known, LLMRoute, dec_hook=decode_written)
    for path, message in broken_rules(declared.spec, ("spec",)):
        raise ConfigError(message, where=".".join(map(str, path)))
    if any(target.service is not None for target in declared.spec.targets):
        raise ConfigError("a target's service has not been made a url")
    return Route(declared, known)


def _plan(kind: inspect.Type) -> Plan:
    inner = shape_of(kind).type
    if isinstance(inner, inspect.StructType):
        return {field.encode_name: _plan(field.type) for field in inner.fields}
    if isinstance(inner, inspect.VarTupleType):
        return (_plan(inner.item_type),)
    return MONEY_PATTERN if isinstance(inner, inspect.DecimalType) else None


def _known(value: Any, plan: Plan) -> Any:
    """The value without fields that are not known. Raises ConfigError for text that no API server lets through."""
    if isinstance(value, dict):
        if isinstance(plan, dict):
            return {name: _known(value[name], child) for name, child in plan.items() if name in value}
        return {_known(name, None): _known(child, None) for name, child in value.items()}
    if isinstance(value, list):
        item = plan[0] if isinstance(plan, tuple) else None
        return [_known(child, item) for child in value]
    if isinstance(value, str):
        if not value.isprintable():  # patterns end in `$`, which lets a line break pass
            raise ConfigError("has a text with control characters")
        if isinstance(plan, str) and re.fullmatch(plan, value) is None:
            raise ConfigError("has an amount of money that is none")
    return value


_ROUTE: Plan = {
    field.encode_name: _plan(field.type)
    for field in inspect.type_info(LLMRoute).fields  # type: ignore[attr-defined]  # msgspec promises a Type only
    if field.name != "status"
}

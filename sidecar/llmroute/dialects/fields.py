"""A body's top-level members, split by msgspec and otherwise undecoded; and where a member's value stands."""

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from llmroute.errors import BadRequest

NULL = Raw(b"null")
"""Default of a member that stays undecoded."""

_members = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode
_text = msgspec.json.Decoder(str)
_ABSENT = (b"null", b"[]", b"{}", b'""', b"false")
_LONGEST_ABSENT = 5
_WHITESPACE = frozenset({b" ", b"\t", b"\r", b"\n"})
_KEY = re.compile(rb'"(?:[^"\\]|\\.)*"', re.S)
_PATH = re.compile(r" - at `\$\.?(.*?)`$")
_T = TypeVar("_T")


def split(body: bytes) -> dict[str, Raw]:
    """The members of the object `body` in their order. Raises BadRequest for anything but a JSON object in UTF-8."""
    try:
        if not body.isascii():
            body.decode()
        return _members.decode(body)
    except msgspec.ValidationError as error:
        raise BadRequest("the body must be a JSON object") from error
    except msgspec.DecodeError as error:
        detail = str(error) if body else "it is empty"
        raise BadRequest(f"the body is not valid JSON: {detail}") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not valid UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise BadRequest("the body is nested too deeply") from error


def is_null(member: Raw) -> bool:
    """Whether an undecoded member is null, or was absent and has `NULL` for its default."""
    return bytes(member) == b"null"


def raw(fields: dict[str, Raw], name: str) -> bytes:
    """A member's undecoded value; `null` where it is absent."""
    return bytes(fields[name]) if name in fields else b"null"


def is_set(fields: dict[str, Raw], name: str) -> bool:
    """Whether a member says anything: present, and neither null, false nor empty."""
    if name not in fields:
        return False
    member = memoryview(fields[name])
    return member.nbytes > _LONGEST_ABSENT or bytes(member) not in _ABSENT


def value(fields: dict[str, Raw], name: str) -> Any:
    """A member's decoded value, None where it is absent. Raises BadRequest for broken text inside it."""
    try:
        return msgspec.json.decode(raw(fields, name))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"`{name}` is not valid JSON: {error}", param=name) from error


def decode(decoder: msgspec.json.Decoder[_T], body: bytes | Raw, within: str = "") -> _T:
    """A body, or what stands `within` it, as a type. Raises BadRequest naming the field that is not of it."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        path = _PATH.search(str(error))
        where = ".".join(filter(None, (within, path.group(1) if path else ""))).replace(".[", "[")
        reason = _PATH.sub("", str(error))
        raise BadRequest(f"`{where}`: {reason}" if where else reason, param=where or None) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from error


def text(fields: dict[str, Raw], name: str) -> str:
    """A member that must be a string with something in it. Raises BadRequest."""
    if name not in fields:
        raise BadRequest(f"`{name}` is missing", param=name)
    try:
        decoded = _text.decode(fields[name])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"`{name}` must be a string", param=name) from error
    if not decoded:
        raise BadRequest(f"`{name}` must not be empty", param=name)
    return decoded


def flag(fields: dict[str, Raw], name: str) -> bool:
    """A member that must be true or false; absent and null are false. Raises BadRequest."""
    if name not in fields:
        return False
    member = bytes(fields[name])
    if member == b"true":
        return True
    if member not in (b"false", b"null"):
        raise BadRequest(f"`{name}` must be true or false", param=name)
    return False


def measure(body: bytes, fields: dict[str, Raw], prompt: frozenset[str]) -> tuple[int, int]:
    """Offset of the value of `model`, and the bytes of the members named by `prompt` together.

    A compact body, which most are, and one as Python's json writes it are measured instead of walked through.
    Raises BadRequest for a member that is given twice.
    """
    # Whitespace, escaped names and repeated members are lost when the members are put together again.
    if _encode(fields) == body:
        return _measure_compact(fields, prompt)
    at, size = 1, 0
    for name, member in fields.items():
        length = memoryview(member).nbytes
        at += len(name) + length + 4
        if name in prompt:
            size += length
    if at + 2 * len(fields) - 1 == len(body):
        model = _model_spaced(body, fields)
        if model:
            return model, size
    return member_at(body, fields, "model"), size


def _measure_compact(fields: dict[str, Raw], prompt: frozenset[str]) -> tuple[int, int]:
    """The same without white space; names of `prompt` are written without escapes."""
    at, model, size = 1, 0, 0
    for name, member in fields.items():
        if name == "model":
            model = at + 8
        elif name in prompt:
            length = memoryview(member).nbytes
            size += length
            at += len(name) + length + 4
        elif not model:
            at += len(_encode(name)) + memoryview(member).nbytes + 2
    return model, size


def _model_spaced(body: bytes, fields: dict[str, Raw]) -> int:
    """Offset of the value of `model` if there is one space after each colon and comma, as Python writes it; else 0."""
    at = 1
    model = 0
    for name, member in fields.items():
        if not body.startswith(b'"%b": ' % name.encode(), at):
            return 0
        at += len(name) + 4
        if name == "model":
            model = at
        at += memoryview(member).nbytes + 2
    return model


def member_at(body: bytes, fields: dict[str, Raw], wanted: str) -> int:
    """Offset of the value of the top-level member `wanted`; `fields` are the members of `body` in their order.

    Raises BadRequest for a member that is given twice: two readers of such a body may see two different requests.
    """
    found = 0
    at = _skip(body, _skip(body, 0) + 1)
    for name, member in fields.items():
        at = _skip(body, _skip(body, _key_end(body, at, name)) + 1)
        if name == wanted:
            found = at
        at = _skip(body, at + memoryview(member).nbytes)
        if body[at : at + 1] == b",":
            at = _skip(body, at + 1)
    # With every member's one value measured, what is left can only be a member that was measured before.
    if body[at : at + 1] != b"}":
        raise BadRequest("a member is given twice", param=_key(body, at))
    return found


def _skip(body: bytes, at: int) -> int:
    while body[at : at + 1] in _WHITESPACE:
        at += 1
    return at


def _key_end(body: bytes, at: int, name: str) -> int:
    """Where the key at `at` ends. Raises BadRequest if it is not `name`: then an earlier member was repeated."""
    key = b'"%b"' % name.encode()
    if body.startswith(key, at):
        return at + len(key)
    escaped = _KEY.match(body, at)
    if escaped is None or _key(body, at) != name:
        raise BadRequest("a member is given twice", param=_key(body, at) or name)
    return escaped.end()


def _key(body: bytes, at: int) -> str | None:
    key = _KEY.match(body, at)
    return _text.decode(key.group()) if key else None

"""A body's top-level members, split by msgspec and otherwise undecoded; and where a member's value stands."""

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from llmroute.errors import BadRequest

NULL = Raw(b"null")
"""Default of a member that stays undecoded."""

_members = msgspec.json.Decoder(dict[str, Raw])
_text = msgspec.json.Decoder(str)
_ABSENT = (b"null", b"[]", b"{}", b'""', b"false")
_LONGEST_ABSENT = 5
_WHITESPACE = re.compile(rb"[ \t\r\n]*")
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


def decode(decoder: msgspec.json.Decoder[_T], body: bytes | Raw) -> _T:
    """A body as a type. Raises BadRequest naming the field that is not of it."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        path = _PATH.search(str(error))
        where = path.group(1) if path else ""
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


def model_at(body: bytes, fields: dict[str, Raw]) -> int:
    """Offset of the value of `model`. A compact body, which most are, is measured instead of walked through.

    Raises BadRequest for a member that is given twice.
    """
    at = 1
    found = 0
    for name, member in fields.items():
        at += len(name) + 3
        if name == "model":
            found = at
        at += memoryview(member).nbytes + 1
    # Whitespace, escaped or non-ASCII names and repeated members all make the body longer than this sum.
    return found if at == len(body) else member_at(body, fields, "model")


def member_at(body: bytes, fields: dict[str, Raw], wanted: str) -> int:
    """Offset of the value of the top-level member `wanted`; `fields` are the members of `body` in their order.

    Raises BadRequest for a member that is given twice: two readers of such a body may see two different requests.
    """
    at = _skip(body, _skip(body, 0) + 1)
    found = 0
    for name, member in fields.items():
        key = _KEY.match(body, at)
        at = _skip(body, _skip(body, key.end()) + 1) if key else at
        content = bytes(member)
        if key is None or _text.decode(key.group()) != name or not body.startswith(content, at):
            raise BadRequest(f"`{name}` is given twice", param=name)
        if name == wanted:
            found = at
        at = _skip(body, at + len(content))
        if body.startswith(b",", at):
            at = _skip(body, at + 1)
    if not body.startswith(b"}", at):
        again = _KEY.match(body, at)
        name = _text.decode(again.group()) if again else wanted
        raise BadRequest(f"`{name}` is given twice", param=name)
    return found


def _skip(body: bytes, at: int) -> int:
    space = _WHITESPACE.match(body, at)
    return space.end() if space else at

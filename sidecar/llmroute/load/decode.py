"""A tree of YAML nodes → plain values of a declared type, with everything that is wrong with it.

msgspec stops at the first error and knows no lines, so the types are walked here first, by `msgspec.inspect`; what
passes is what msgspec takes (a test proves it).
"""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from msgspec import inspect

from llmroute.load.nodes import Fields, Items, Meaning, Node, Problems, Scalar, meaning
from llmroute.rules import Path
from llmroute.shapes import Shape, in_words, shape_of, text_bounds
from llmroute.spec import LLMRoute, Metadata, Port

LONGEST_SHOWN = 24
"""Longest value that an error repeats. Keys of providers are longer, and they get pasted into the wrong fields."""

IGNORED: Mapping[type, frozenset[str]] = {
    LLMRoute: frozenset({"status"}),
    Metadata: frozenset(
        {
            "annotations", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers",
            "generateName", "labels", "managedFields", "ownerReferences", "resourceVersion", "selfLink",
        }
    ),
}  # fmt: skip
"""Fields that are Kubernetes' own: allowed, and not read."""


def dotted(path: Path) -> str:
    """`spec.targets[0].labels["a b"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


def closest(name: str, known: Collection[str]) -> str | None:
    """The known name that was probably meant; case and `_` do not count."""
    folded = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower().replace("_", ""), folded, 1)
    return folded[found[0]] if found else None


def suggestion(name: str, known: Collection[str], what: str) -> str:
    """`did you mean 'url'?`, or the list of what is known."""
    meant = closest(name, known)
    return f"did you mean {meant!r}?" if meant else f"known {what}: {', '.join(known)}"


class _Wrong:
    """Stands for a value that was wrong; the problem has been noted."""


WRONG = _Wrong()


class Decoder:
    """Walks nodes along types; collects problems."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def decode(self, node: Node, kind: inspect.Type, path: Path) -> Any:
        """The value as msgspec takes it, or WRONG."""
        shape = shape_of(kind)
        if isinstance(node, Scalar) and meaning(node) is Meaning.NULL:
            return None if shape.nullable else self._wrong(node, path, f"expected {in_words(shape)}, got nothing")
        kind = shape.type
        if isinstance(kind, inspect.StructType):
            return self._struct(node, kind, path)
        if isinstance(kind, inspect.VarTupleType):
            return self._list(node, kind, shape.extra.get("x-kubernetes-list-type"), path)
        if isinstance(kind, inspect.DictType):
            return self._map(node, kind, path)
        if not isinstance(node, Scalar):
            return self._wrong(node, path, f"expected {in_words(shape)}, got {_form(node)}")
        if isinstance(kind, inspect.IntType | inspect.FloatType):
            return self._number(node, kind, f"expected {in_words(shape)}, got {_shown(node)}", path)
        if isinstance(kind, inspect.BoolType):
            return self._boolean(node, path)
        if isinstance(kind, inspect.LiteralType):
            return self._choice(node, kind, f"expected {in_words(shape)}, got {_shown(node)}", path)
        if isinstance(kind, inspect.CustomType) and kind.cls is Port:
            return self._port(node, f"expected {in_words(shape)}, got {_shown(node)}", path)
        return self._text(node, shape, path)

    def _wrong(self, node: Node, path: Path, message: str) -> _Wrong:
        self._problems.add(message, line=node.line, path=dotted(path))
        return WRONG

    def _struct(self, node: Node, kind: inspect.StructType, path: Path) -> Any:
        if not isinstance(node, Fields):
            return self._wrong(node, path, f"expected an object, got {_form(node)}")
        known = {field.encode_name: field for field in kind.fields}
        ignored = IGNORED.get(kind.cls, frozenset())
        values = {}
        for name, (at, value) in node.fields.items():
            if name in ignored:
                continue
            field = known.get(name)
            if field is None:
                self._wrong(at, (*path, name), f"unknown field {name!r}; {suggestion(name, known, 'fields')}")
            else:
                values[name] = self.decode(value, field.type, (*path, name))
        for name, field in known.items():
            if field.required and name not in node.fields:
                self._wrong(node, path, f"missing field {name!r}")
                values[name] = WRONG
        return WRONG if WRONG in values.values() else values

    def _list(self, node: Node, kind: inspect.VarTupleType, list_type: str | None, path: Path) -> Any:
        if not isinstance(node, Items):
            hint = "; write it as [value]" if isinstance(node, Scalar) else ""
            return self._wrong(node, path, f"expected a list, got {_form(node)}{hint}")
        if not self._within(node, kind, len(node.items), "items", path):
            return WRONG
        values = [self.decode(item, kind.item_type, (*path, index)) for index, item in enumerate(node.items)]
        if list_type in ("map", "set"):
            values += self._repeated(node, by_name=list_type == "map", path=path)
        return WRONG if WRONG in values else values

    def _repeated(self, node: Items, by_name: bool, path: Path) -> Iterator[_Wrong]:
        seen: dict[str, Node] = {}
        for index, item in enumerate(node.items):
            place: Path = (*path, index)
            if by_name:
                item, place = node_at(item, ("name",)), (*place, "name")
            if not isinstance(item, Scalar):
                continue
            if item.text in seen:
                line = seen[item.text].line
                first = f"; first on line {line}" if line else ""  # what is no file has no lines
                yield self._wrong(item, place, f"{_shown(item)} is there twice{first}")
            seen.setdefault(item.text, item)

    def _map(self, node: Node, kind: inspect.DictType, path: Path) -> Any:
        if not isinstance(node, Fields):
            return self._wrong(node, path, f"expected an object, got {_form(node)}")
        if not self._within(node, kind, len(node.fields), "entries", path):
            return WRONG
        values = {}
        for name, (at, value) in node.fields.items():
            spelled = Scalar(at.line, name, plain=False)
            if self.decode(spelled, kind.key_type, (*path, name)) is not WRONG:
                values[name] = self.decode(value, kind.value_type, (*path, name))
        return WRONG if WRONG in values.values() or len(values) < len(node.fields) else values

    def _within(
        self,
        node: Node,
        kind: inspect.VarTupleType | inspect.DictType | inspect.StrType,
        size: int,
        unit: str,
        path: Path,
    ) -> bool:
        if kind.min_length is not None and size < kind.min_length:
            wanted = "must not be empty" if kind.min_length == 1 else f"needs at least {kind.min_length} {unit}"
            self._wrong(node, path, wanted)
        elif kind.max_length is not None and size > kind.max_length:
            self._wrong(node, path, f"has {size} {unit}; at most {kind.max_length} are allowed")
        else:
            return True
        return False

    def _number(self, node: Scalar, kind: inspect.IntType | inspect.FloatType, told: str, path: Path) -> Any:
        if meaning(node) is Meaning.ODD_NUMBER:
            return self._wrong(node, path, f"{told}: write it in plain digits")
        if meaning(node) is not Meaning.NUMBER:
            quoted = not node.plain and meaning(Scalar(node.line, node.text, plain=True)) is Meaning.NUMBER
            return self._wrong(node, path, f"{told} in quotes: take them away" if quoted else told)
        whole = isinstance(kind, inspect.IntType)
        if whole and not re.fullmatch("-?[0-9]{1,18}", node.text):
            return self._wrong(node, path, f"{told}: write it in plain digits")
        value = int(node.text) if whole else float(node.text)
        inside = (
            (kind.ge is None or value >= kind.ge)
            and (kind.gt is None or value > kind.gt)
            and (kind.le is None or value <= kind.le)
            and (kind.lt is None or value < kind.lt)
        )
        return value if inside else self._wrong(node, path, told)

    def _port(self, node: Scalar, told: str, path: Path) -> Any:
        number = meaning(node) is Meaning.NUMBER and re.fullmatch("[0-9]{1,5}", node.text) is not None
        if not number and meaning(node) is not Meaning.TEXT:
            return self._wrong(node, path, told)
        written = int(node.text) if number else node.text
        try:
            Port.parse(written)
        except ValueError:
            return self._wrong(node, path, f"{told} in quotes: take them away" if node.text.isdigit() else told)
        return written

    def _boolean(self, node: Scalar, path: Path) -> Any:
        if meaning(node) is not Meaning.BOOLEAN:
            return self._wrong(node, path, f"expected true or false (without quotes), got {_shown(node)}")
        return node.text.lower() == "true"

    def _choice(self, node: Scalar, kind: inspect.LiteralType, told: str, path: Path) -> Any:
        if meaning(node) is Meaning.TEXT and node.text in kind.values:
            return node.text
        meant = closest(node.text, [str(value) for value in kind.values])
        return self._wrong(node, path, f"{told}; did you mean {meant!r}?" if meant else told)

    def _text(self, node: Scalar, shape: Shape, path: Path) -> Any:
        pattern, limit = text_bounds(shape)
        free = isinstance(shape.type, inspect.StrType)
        fits = len(node.text) <= limit and (pattern is None or re.fullmatch(pattern, node.text) is not None)
        if meaning(node) is not Meaning.TEXT and (fits or free):
            return self._wrong(node, path, f'{_shown(node)} is {meaning(node).value}: put it in quotes ("...")')
        if isinstance(shape.type, inspect.StrType) and not self._within(
            node, shape.type, len(node.text), "characters", path
        ):
            return WRONG
        if not fits:
            got = "" if free else f", got {_shown(node)}"
            return self._wrong(node, path, f"expected {in_words(shape)}{got}")
        return node.text


def node_at(node: Node, path: Path) -> Node:
    """The node at a path, or the deepest one on the way to it."""
    for part in path:
        if isinstance(part, str) and isinstance(node, Fields) and part in node.fields:
            node = node.fields[part][1]
        elif isinstance(part, int) and isinstance(node, Items) and part < len(node.items):
            node = node.items[part]
        else:
            break
    return node


def _form(node: Node) -> str:
    return "text" if isinstance(node, Scalar) else "a list" if isinstance(node, Items) else "an object"


def _shown(node: Scalar) -> str:
    return repr(node.text) if len(node.text) <= LONGEST_SHOWN else "a longer text"

"""YAML text → a tree of nodes that know their lines. Composed from the parser's events, so that everything is bounded.

PyYAML's own loaders resolve by YAML 1.1 (`no` is a boolean, `1e3` is text), keep the last of two equal keys and
follow aliases without end; kubectl's parser resolves differently again. Here a scalar stays text until its field's type
is known, and what the parsers disagree on is an error.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import NoReturn

import msgspec
import yaml

from llmroute.errors import ConfigError

MAX_BYTES = 4 * 1024 * 1024
"""Largest file; an LLMRoute in a cluster is at most about 1.5 MiB (etcd's limit)."""
MAX_NODES = 200_000
"""Most values of a file, those that aliases repeat included."""
MAX_DEPTH = 40
MAX_PROBLEMS = 100

_NodeEvent = yaml.AliasEvent | yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML was built with it."""


class Scalar(msgspec.Struct, gc=False):
    """One value, as written. `plain`: without quotes, so that other parsers give it a type by its looks."""

    line: int
    text: str
    plain: bool


class Items(msgspec.Struct):
    """A list."""

    line: int
    items: list["Node"]


class Fields(msgspec.Struct):
    """An object: name → where the name stands, value."""

    line: int
    fields: dict[str, tuple[Scalar, "Node"]]


Node = Scalar | Items | Fields


class Meaning(Enum):
    """What a scalar is."""

    TEXT = "text"
    NULL = "null"
    BOOLEAN = "a boolean"
    NUMBER = "a number"
    ODD_BOOLEAN = "a boolean to many YAML parsers"
    ODD_NUMBER = "a number to many YAML parsers"


_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), Meaning.NULL),
    **dict.fromkeys(("true", "True", "TRUE", "false", "False", "FALSE"), Meaning.BOOLEAN),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"), Meaning.ODD_BOOLEAN),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF"), Meaning.ODD_BOOLEAN),
}
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_ODD_NUMBER = re.compile(
    r"[-+]?(0[xXoObB][0-9a-fA-F_]+|([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))"
    r"|\.(nan|NaN|NAN)"
)


def meaning(scalar: Scalar) -> Meaning:
    """What a scalar is, by its looks."""
    if not scalar.plain:
        return Meaning.TEXT
    word = _WORDS.get(scalar.text)
    if word is not None:
        return word
    if _NUMBER.fullmatch(scalar.text):
        return Meaning.NUMBER
    return Meaning.ODD_NUMBER if _ODD_NUMBER.fullmatch(scalar.text) else Meaning.TEXT


class Problems:
    """Collects what is wrong with one file."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._found: list[tuple[int, ConfigError]] = []

    @property
    def errors(self) -> list[ConfigError]:
        """In the order of their lines."""
        return [error for _, error in sorted(self._found, key=lambda found: found[0])]

    def add(self, message: str, *, line: int | None = None, column: int | None = None, path: str = "") -> None:
        """Note a problem; beyond 100 only the first ones are told."""
        if len(self._found) < MAX_PROBLEMS:
            place = ":".join(str(part) for part in (self.source, line, column) if part is not None)
            self._found.append((line or 0, ConfigError(message, where=f"{place}: {path}" if path else place)))


class _Hopeless(Exception):
    """Reading on makes no sense; the problem has been noted."""


def compose(text: str, problems: Problems) -> list[Node]:
    """The documents of a YAML text, empty ones left out. Malformed YAML ends the list early and is a problem."""
    documents: list[Node] = []
    composer = _Composer(text, problems)
    try:
        documents.extend(composer.documents())
    except _Hopeless:
        pass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        problems.add(_explained(error, text), line=line, column=column)
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        problems.add("malformed YAML: a control character is not allowed", line=line)
    return documents


def _explained(error: yaml.MarkedYAMLError, text: str) -> str:
    told = f"malformed YAML: {error.problem}"
    begun = error.context_mark
    if error.problem_mark is not None:
        lines = text.splitlines()[: error.problem_mark.line + 1]
        if lines and len(lines) == error.problem_mark.line + 1 and re.match(r" *\t", lines[-1]):
            return f"{told}; indent with spaces, not with tabs"
    if error.context and begun is not None and (error.problem_mark is None or begun.line != error.problem_mark.line):
        told += f" ({error.context}, begun on line {begun.line + 1})"
    return told


class _Composer:
    def __init__(self, text: str, problems: Problems) -> None:
        self._events = _Loader(text)
        self._problems = problems
        self._nodes = 0
        self._anchors: dict[str, tuple[Node, int] | None] = {}

    def documents(self) -> Iterator[Node]:
        while not isinstance(event := self._events.get_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                node = self._node(self._events.get_event(), 0)
                if not (isinstance(node, Scalar) and meaning(node) is Meaning.NULL):
                    yield node

    def _node(self, event: _NodeEvent, depth: int) -> Node:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, line)
        self._count(1, line)
        if depth > MAX_DEPTH:
            self._give_up(f"nested more than {MAX_DEPTH} deep", line)
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self._problems.add("tags (!...) are not allowed", line=line)
        before = self._nodes
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(line, event.value, plain=not event.style and event.tag is None)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._items(line, depth)
        else:
            node = self._fields(line, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._nodes - before + 1)
        return node

    def _items(self, line: int, depth: int) -> Items:
        items = []
        while not isinstance(event := self._events.get_event(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Items(line, items)

    def _fields(self, line: int, depth: int) -> Fields:
        fields: dict[str, tuple[Scalar, Node]] = {}
        merged: list[Node] = []
        while not isinstance(event := self._events.get_event(), yaml.MappingEndEvent):
            name = self._node(event, depth + 1)
            value = self._node(self._events.get_event(), depth + 1)
            if not isinstance(name, Scalar):
                self._problems.add("the name of a field must be text", line=name.line)
            elif name.plain and name.text == "<<":
                merged += value.items if isinstance(value, Items) else [value]
            elif name.text in fields:
                first = fields[name.text][0].line
                self._problems.add(f"field {name.text!r} is there twice; first on line {first}", line=name.line)
            else:
                if meaning(name) is not Meaning.TEXT:
                    self._problems.add(f"{name.text!r} is {meaning(name).value}: put it in quotes", line=name.line)
                fields[name.text] = (name, value)
        for other in merged:
            if isinstance(other, Fields):
                fields = {**other.fields, **fields}
            else:
                self._problems.add("'<<' takes an object or a list of objects", line=other.line)
        return Fields(line, fields)

    def _alias(self, event: yaml.AliasEvent, line: int) -> Node:
        if event.anchor not in self._anchors:
            self._give_up("unknown alias: no such anchor (&...) before it; text that begins with * needs quotes", line)
        target = self._anchors[event.anchor]
        if target is None:
            self._give_up("an alias inside of its own anchor", line)
        node, size = target
        self._count(size, line)
        return node

    def _count(self, nodes: int, line: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._give_up(f"more than {MAX_NODES} values, those that aliases repeat included", line)

    def _give_up(self, message: str, line: int) -> NoReturn:
        self._problems.add(message, line=line)
        raise _Hopeless

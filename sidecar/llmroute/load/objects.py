"""An LLMRoute as the API server gives it → our types, as strictly and in the same words as a file."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import inspect

from llmroute.errors import ConfigError, ConfigErrors
from llmroute.load.decode import WRONG, Decoder, dotted
from llmroute.load.nodes import MAX_PROBLEMS, Fields, Items, Node, Problems, Scalar
from llmroute.rules import broken_rules
from llmroute.spec import LLMRoute, Metadata, decode_written

_ROUTE_TYPE = inspect.type_info(LLMRoute)
_METADATA = frozenset(Metadata.__struct_encode_fields__)


class _Unplaced(Problems):
    """Problems of what stands in no file: they have a path and no line."""

    def __init__(self) -> None:
        super().__init__("")
        self._told: list[ConfigError] = []

    @property
    def errors(self) -> list[ConfigError]:
        return self._told

    def add(self, message: str, *, line: int | None = None, column: int | None = None, path: str = "") -> None:
        if len(self._told) < MAX_PROBLEMS:
            self._told.append(ConfigError(message, where=path))


def read_object(body: Mapping[str, Any]) -> LLMRoute:
    """Of `metadata` only what we read is looked at; whatever is unknown elsewhere is an error.

    Raises ConfigErrors with all that is wrong, each with its path.
    """
    metadata = {name: value for name, value in (body.get("metadata") or {}).items() if name in _METADATA}
    problems = _Unplaced()
    values = Decoder(problems).decode(_node({**body, "metadata": metadata}), _ROUTE_TYPE, ())
    if values is not WRONG:
        route = msgspec.convert(values, LLMRoute, dec_hook=decode_written)
        for path, message in broken_rules(route.spec, ("spec",)):
            problems.add(message, path=dotted(path))
        if not problems.errors:
            return route
    raise ConfigErrors(problems.errors)


def _node(value: Any) -> Node:
    """A JSON value as the tree of nodes that YAML becomes; numbers in plain digits: JSON's `1e3` is no mistake."""
    if isinstance(value, Mapping):
        return Fields(0, {name: (Scalar(0, name, plain=False), _node(each)) for name, each in value.items()})
    if isinstance(value, list):
        return Items(0, [_node(each) for each in value])
    if isinstance(value, str):
        return Scalar(0, value, plain=False)
    if value is None or isinstance(value, bool):
        return Scalar(0, "null" if value is None else str(value).lower(), plain=True)
    return Scalar(0, f"{Decimal(repr(value)):f}", plain=True)

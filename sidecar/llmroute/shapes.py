"""The declared types as trees: what `msgspec.inspect` tells, without its wrappers. For all that is made from the types:
the decoder of local files, the CRD, the reference.
"""

import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from msgspec import NODEFAULT, Struct, inspect

from llmroute.written import (
    DURATION_MAX_LENGTH,
    DURATION_PATTERN,
    PORT_MAX_LENGTH,
    PORT_PATTERN,
    QUANTITY_MAX_LENGTH,
    QUANTITY_PATTERN,
    WRITTEN,
    Duration,
    Port,
    Quantity,
)

_WRITTEN: Mapping[type, tuple[str, int]] = {
    Duration: (DURATION_PATTERN, DURATION_MAX_LENGTH),
    Quantity: (QUANTITY_PATTERN, QUANTITY_MAX_LENGTH),
    Port: (PORT_PATTERN, PORT_MAX_LENGTH),
}


class Shape(Struct, frozen=True):
    """A type without wrappers. `extra`: its description and Kubernetes' extensions. `nullable`: null is allowed."""

    type: inspect.Type
    extra: Mapping[str, Any]
    nullable: bool


def shape_of(kind: inspect.Type) -> Shape:
    """Unwraps annotations and `X | None`."""
    extra: dict[str, Any] = {}
    nullable = False
    while True:
        if isinstance(kind, inspect.Metadata):
            extra = {**(kind.extra_json_schema or {}), **extra}
            kind = kind.type
        elif isinstance(kind, inspect.UnionType):
            nullable = kind.includes_none
            (kind,) = (one for one in kind.types if not isinstance(one, inspect.NoneType))
        else:
            # The API server never finds null in an enum, not even where it stands there.
            return Shape(kind, extra, nullable and not isinstance(kind, inspect.LiteralType))


def text_bounds(shape: Shape) -> tuple[str | None, int]:
    """Pattern and greatest length of a type whose values are text."""
    kind = shape.type
    if isinstance(kind, inspect.CustomType):
        return _WRITTEN[kind.cls]
    if isinstance(kind, inspect.StrType):
        return kind.pattern, sys.maxsize if kind.max_length is None else kind.max_length
    return shape.extra["pattern"], shape.extra["maxLength"]


def in_words(shape: Shape) -> str:
    """What is expected, for errors and the reference: `a whole number from 1 to 5`."""
    kind = shape.type
    match kind:
        case inspect.LiteralType(values):
            return f"one of {', '.join(map(str, values))}" if len(values) > 1 else str(values[0])
        case inspect.IntType() | inspect.FloatType():
            noun = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            return noun + "".join(_range(kind))
        case inspect.StructType() | inspect.DictType():
            return "an object"
        case inspect.VarTupleType():
            return "a list"
        case inspect.BoolType():
            return "true or false"
    pattern, _ = text_bounds(shape)
    return WRITTEN[pattern] if pattern else "text"


def _range(kind: inspect.IntType | inspect.FloatType) -> Iterator[str]:
    if kind.gt is not None:
        yield f" above {kind.gt:g}"
    if kind.ge is not None:
        yield f" from {kind.ge:g}"
    if kind.le is not None:
        yield f" to {kind.le:.0f}" if kind.ge is not None else f", at most {kind.le:.0f}"


def default_of(field: inspect.Field) -> str | None:
    """The default as it would be written; None where there is none worth telling (absent, empty, an object)."""
    default = field.default
    if default is NODEFAULT or default is None or default == () or isinstance(default, Struct):
        return None
    if isinstance(default, Duration | Quantity):
        return default.written()
    if isinstance(default, tuple):
        return f"[{', '.join(map(str, default))}]"
    if isinstance(default, bool):
        return str(default).lower()
    return (
        f'"{default}"'
        if isinstance(default, Decimal)
        else f"{default:g}"
        if isinstance(default, float)
        else str(default)
    )

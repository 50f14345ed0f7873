"""The words that declared types are made of: how they are written in YAML, and values with their bounds."""

from typing import Annotated

from msgspec import Meta, Struct

from llmroute.written import (
    LABEL_NAME_PATTERN,
    LABEL_PATTERN,
    LABEL_VALUE_PATTERN,
    NAME_PATTERN,
    RESOURCE_PATTERN,
)

UNIQUE = {"x-kubernetes-list-type": "set"}
UNIQUE_NAMES = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
ORDERED = {"x-kubernetes-list-type": "atomic"}

Name = Annotated[str, Meta(min_length=1, max_length=63, pattern=NAME_PATTERN)]
ResourceName = Annotated[str, Meta(min_length=1, max_length=253, pattern=RESOURCE_PATTERN)]
Label = Annotated[str, Meta(min_length=1, max_length=63, pattern=LABEL_PATTERN)]
"""Our own labels, regions and tenants."""
LabelName = Annotated[str, Meta(min_length=1, max_length=317, pattern=LABEL_NAME_PATTERN)]
"""Kubernetes' labels."""
LabelValue = Annotated[str, Meta(max_length=63, pattern=LABEL_VALUE_PATTERN)]


class Declared(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What all declared types share: frozen, camelCase in YAML, and strict."""

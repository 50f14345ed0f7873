"""Files → documents → resources, and what must hold among them."""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath

import msgspec
from msgspec import Struct, inspect

from llmroute.errors import ConfigErrors
from llmroute.load.decode import WRONG, Decoder, dotted, node_at, suggestion
from llmroute.load.doubts import doubts
from llmroute.load.nodes import MAX_BYTES, Fields, Items, Meaning, Node, Problems, Scalar, compose, meaning
from llmroute.rules import Path, broken_rules
from llmroute.spec import GROUP, KIND, VERSION, LLMRoute, Metadata, decode_written

ROUTE_TYPE = inspect.type_info(LLMRoute)
METADATA_TYPE = inspect.type_info(Metadata)
KINDS = {KIND: f"{GROUP}/{VERSION}", "Secret": "v1", "List": "v1"}
SECRET_FIELDS = ("apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData")


class SecretValues(Mapping[str, bytes]):
    """The values of one Secret by key. Its repr tells the keys only."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> bytes:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<SecretValues {', '.join(self._values)}>"


class Loaded(Struct, frozen=True):
    """What some files declare. `secrets`: (namespace, name) → key → value.

    `doubts`: what is allowed and yet probably not meant, each with file, line and path.
    """

    routes: tuple[LLMRoute, ...]
    secrets: Mapping[tuple[str, str], Mapping[str, bytes]]
    doubts: tuple[str, ...] = ()


def load(paths: Iterable[str | FilePath]) -> Loaded:
    """Read YAML files, each with any number of documents.

    Raises ConfigErrors with all that is wrong, in the order of the files.
    """
    texts: dict[str, str] = {}
    reader = _Reader()
    for path in map(FilePath, paths):
        problems = reader.problems_of(str(path))
        try:
            content = path.read_bytes()
            texts[str(path)] = content.decode("utf-8-sig")
        except OSError as error:
            problems.add(f"cannot be read: {error.strerror or type(error).__name__}")
        except UnicodeDecodeError as error:
            problems.add("is not UTF-8 text", line=content.count(b"\n", 0, error.start) + 1)
    return reader.read(texts)


def load_texts(texts: Mapping[str, str]) -> Loaded:
    """Like `load`, for texts that were read already, by the name to tell in errors."""
    return _Reader().read(texts)


class _Place(Struct, frozen=True):
    """Where a resource stands."""

    problems: Problems
    node: Node
    path: Path

    def add(self, message: str, path: Path = ()) -> None:
        self.problems.add(message, line=node_at(self.node, path).line, path=dotted((*self.path, *path)))

    def at(self, path: Path) -> str:
        return f"{self.problems.source}:{node_at(self.node, path).line}: {dotted((*self.path, *path))}"

    def __str__(self) -> str:
        return f"{self.problems.source}:{self.node.line}"


class _Reader:
    def __init__(self) -> None:
        self._problems: dict[str, Problems] = {}
        self._routes: list[tuple[LLMRoute, _Place]] = []
        self._secrets: dict[tuple[str, str], tuple[SecretValues, _Place]] = {}

    def problems_of(self, source: str) -> Problems:
        return self._problems.setdefault(source, Problems(source))

    def read(self, texts: Mapping[str, str]) -> Loaded:
        for source, text in texts.items():
            problems = self.problems_of(source)
            if len(text) > MAX_BYTES:
                problems.add(f"is larger than {MAX_BYTES // 1024**2} MiB")
                continue
            documents = compose(text, problems)
            if not documents and not problems.errors:
                problems.add(f"declares nothing: expected YAML documents of kind {KIND} or Secret")
            for document in documents:
                self._resource(_Place(problems, document, ()))
        self._check_names()
        self._check_keys()
        errors = [error for problems in self._problems.values() for error in problems.errors]
        if errors:
            raise ConfigErrors(errors)
        return Loaded(
            tuple(route for route, _ in self._routes),
            {name: values for name, (values, _) in self._secrets.items()},
            tuple(self._doubts()),
        )

    def _doubts(self) -> Iterator[str]:
        for route, place in self._routes:
            for path, message in doubts(route.spec):
                yield f"{place.at(('spec', *path))}: {message}"

    def _resource(self, place: _Place) -> None:
        node = place.node
        if not isinstance(node, Fields):
            place.add(f"expected an object with apiVersion and kind {KIND}, Secret or List")
            return
        kind = _text_of(node, "kind")
        if kind is None:
            place.add(f"missing field 'kind': {', '.join(KINDS)}")
        elif kind not in KINDS:
            place.add(f"kind {kind[:63]!r} is not read here; {suggestion(kind, KINDS, 'kinds')}", ("kind",))
        elif (version := _text_of(node, "apiVersion")) != KINDS[kind]:
            what = "missing field 'apiVersion'" if version is None else f"unknown version {version[:63]!r} of {kind}"
            place.add(f"{what}: expected {KINDS[kind]}", ("apiVersion",))
        elif kind == "List":
            self._list(node, place)
        elif kind == "Secret":
            self._secret(node, place)
        else:
            self._route(node, place)

    def _list(self, node: Fields, place: _Place) -> None:
        items = node.fields["items"][1] if "items" in node.fields else None
        if not isinstance(items, Items):
            place.add("expected a list of resources", ("items",))
            return
        for index, item in enumerate(items.items):
            self._resource(_Place(place.problems, item, (*place.path, "items", index)))

    def _route(self, node: Fields, place: _Place) -> None:
        values = Decoder(place.problems).decode(node, ROUTE_TYPE, place.path)
        if values is WRONG:
            return
        route = msgspec.convert(values, LLMRoute, dec_hook=decode_written)
        for path, message in broken_rules(route.spec, ("spec",)):
            place.add(message, path)
        self._routes.append((route, place))

    def _secret(self, node: Fields, place: _Place) -> None:
        for name in node.fields:
            if name not in SECRET_FIELDS:
                place.add(f"unknown field {name!r}; {suggestion(name, SECRET_FIELDS, 'fields')}", (name,))
        if "metadata" not in node.fields:
            place.add("missing field 'metadata'")
            return
        metadata = Decoder(place.problems).decode(node.fields["metadata"][1], METADATA_TYPE, (*place.path, "metadata"))
        values = {**self._secret_part(node, "data", place), **self._secret_part(node, "stringData", place)}
        if metadata is WRONG:
            return
        identity = (metadata.get("namespace", "default"), metadata["name"])
        if identity in self._secrets:
            place.add(f"Secret {'/'.join(identity)} is declared twice; first at {self._secrets[identity][1]}")
            return
        self._secrets[identity] = (SecretValues(values), place)

    def _secret_part(self, node: Fields, part: str, place: _Place) -> dict[str, bytes]:
        values: dict[str, bytes] = {}
        if part not in node.fields:
            return values
        entries = node.fields[part][1]
        if not isinstance(entries, Fields):
            place.add("expected an object of keys and values", (part,))
            return values
        for key, (_, value) in entries.fields.items():
            if not isinstance(value, Scalar):
                place.add("expected text", (part, key))
            elif meaning(value) is not Meaning.TEXT:
                place.add(f'the value is {meaning(value).value}: put it in quotes ("...")', (part, key))
            elif part == "stringData":
                values[key] = value.text.encode()
            else:
                try:
                    values[key] = base64.b64decode("".join(value.text.split()), validate=True)
                except (binascii.Error, ValueError):
                    place.add("the value is not base64; plain text goes under stringData", (part, key))
        return values

    def _check_names(self) -> None:
        """Model names are unique over all namespaces: one process serves all that its files declare on one port."""
        routes: dict[str, _Place] = {}
        models: dict[str, tuple[str, _Place]] = {}
        for route, place in self._routes:
            first = routes.setdefault(route.key, place)
            if first is not place:
                place.add(f"{KIND} {route.key} is declared twice; first at {first}", ("metadata", "name"))
                continue
            for index, model in enumerate(route.models):
                rival, there = models.setdefault(model, (route.key, place))
                if there is not place:
                    path: Path = ("spec", "models", index) if route.spec.models else ("metadata", "name")
                    place.add(f"the model {model!r} is already served by {rival} at {there}", path)

    def _check_keys(self) -> None:
        for route, place in self._routes:
            for index, target in enumerate(route.spec.targets):
                if target.credential is None:
                    continue
                reference = target.credential.secret_ref
                found = self._secrets.get((route.metadata.namespace, reference.name))
                if found is not None and reference.key not in found[0]:
                    keys = ", ".join(found[0]) or "none"
                    path = ("spec", "targets", index, "credential", "secretRef", "key")
                    place.add(f"the Secret {reference.name!r} at {found[1]} has no such key; it has: {keys}", path)


def _text_of(node: Fields, name: str) -> str | None:
    value = node.fields[name][1] if name in node.fields else None
    return value.text if isinstance(value, Scalar) and meaning(value) is not Meaning.NULL else None

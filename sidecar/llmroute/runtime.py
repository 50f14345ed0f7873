"""Compile what users declared into live parts, and swap them at once.

Three kinds of things with three lives: the spec is frozen; a Runtime is compiled from it by one function and replaced
as a whole; what was learned (`Learned`) outlives both, kept as long as route, target name, provider, model and URL
stay the same.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Protocol

import msgspec

from llmroute import dialects
from llmroute.cache import SingleFlight, Store
from llmroute.credentials import Credential, EnvironmentSource, FileSource, LiteralSource, Source
from llmroute.endpoints import spread
from llmroute.errors import ConfigError, UnknownModel
from llmroute.latency import Lengths
from llmroute.owners import Owners
from llmroute.request import Dialect, InferenceRequest, Operation, Wishes
from llmroute.routing import Ask, Candidates, Policy
from llmroute.slots import Line
from llmroute.spec import LLMRoute, Target
from llmroute.target import Learned, LiveTarget
from llmroute.upstream import Origin, Upstream

Secrets = Mapping[tuple[str, str], Mapping[str, bytes]]
"""Secrets that stand in the loaded files: `(namespace, name)` → key → value."""

DEFAULT_SECRET = "llmroute-credentials"


class LearnedRoute:
    """What answers taught us about one route; outlives reloads."""

    __slots__ = ("lengths", "line", "owners")

    def __init__(self) -> None:
        self.lengths = Lengths()
        self.owners = Owners()
        self.line = Line()
        """Requests that wait for a slot at any of the targets."""


def _answered_by(declared: LLMRoute) -> str:
    """Route and everything declared that decides who answers, as one name: answers with another name are not the
    same. How many requests a target takes, and how fast it is believed to be at first, decide nothing."""
    spec = declared.spec
    replace = msgspec.structs.replace
    targets = [replace(target, prior=None, max_concurrency=None, warm_connections=0) for target in spec.targets]
    decides = repr((targets, spec.fallback_targets, spec.constraints, spec.objective))
    return f"{declared.metadata.name} {hashlib.sha256(decides.encode()).hexdigest()}"


class LiveRoute:
    """A route ready to serve."""

    __slots__ = (
        "_unspoken",
        "answered_by",
        "cache",
        "candidates",
        "declared",
        "flights",
        "key",
        "lengths",
        "line",
        "name",
        "namespace",
        "owners",
        "passthrough",
        "targets",
    )

    def __init__(
        self, declared: LLMRoute, targets: Iterable[LiveTarget], cache: Store | None, learned: LearnedRoute
    ) -> None:
        spec = declared.spec
        self.declared = declared
        self.key = declared.key
        self.name = declared.metadata.name
        self.namespace = declared.metadata.namespace
        self.answered_by = _answered_by(declared)
        self.targets = {target.name: target for target in targets}
        self.candidates = Candidates(Policy(spec), tuple(target.candidate for target in self.targets.values()))
        self.cache = cache
        self.lengths = learned.lengths
        self.owners = learned.owners
        self.line = learned.line
        for target in self.targets.values():
            target.lengths = learned.lengths
        self.flights = SingleFlight()
        self.passthrough = self.targets[spec.passthrough] if spec.passthrough else None
        self._unspoken = {
            operation.label: {
                target.name: operation.path
                for target in self.targets.values()
                if operation not in target.profile.operations
            }
            for operation in Operation
        }

    def ask(self, request: InferenceRequest) -> Ask:
        """The request as choosing sees it. That a target of the other dialect cannot express it comes to light when
        the target is picked: see `ask_without`, and `ask_in_full`."""
        peek, wishes, operation = request.peek, request.wishes, request.operation
        if peek.stateful and wishes.target is None:
            wishes = self._with_owner(request)
        return Ask(
            operation=operation,
            stream=peek.stream,
            prompt_tokens=peek.prompt_tokens,
            output_tokens=self.lengths.expected(operation, peek.max_output_tokens, wishes.expected_tokens),
            needs=peek.needs,
            wishes=wishes,
            max_output_tokens=peek.max_output_tokens,
            inexpressible=self._unspoken[operation.label],
        )

    def _with_owner(self, request: InferenceRequest) -> Wishes:
        """A request that goes on from an answer wants the target that made it, and no other."""
        previous = dialects.goes_on_from(request)
        owner = self.owners.of(previous) if previous is not None else None
        if owner is None or owner not in self.targets:
            return request.wishes
        return msgspec.structs.replace(request.wishes, target=owner)

    def ask_without(self, ask: Ask, profile: dialects.Profile, field: str) -> Ask:
        """The same, now that it is known that targets of this profile cannot express the field."""
        names = [target.name for target in self.targets.values() if target.profile is profile]
        return msgspec.structs.replace(ask, inexpressible={**ask.inexpressible, **dict.fromkeys(names, field)})

    def ask_in_full(self, request: InferenceRequest) -> Ask:
        """As `ask`, with every target asked whether it can express the request: for explanations."""
        ask = self.ask(request)
        for profile in {id(target.profile): target.profile for target in self.targets.values()}.values():
            field = dialects.missing_for(profile, request)
            if field is not None:
                ask = self.ask_without(ask, profile, field)
        return ask

    def speaks(self, dialect: Dialect) -> bool:
        """Whether any target speaks the dialect."""
        return any(target.profile.dialect is dialect for target in self.targets.values())


class Runtime:
    """All routes that this process serves, compiled. Never changed, only replaced."""

    __slots__ = ("_place", "models", "revision", "routes")

    def __init__(self, routes: tuple[LiveRoute, ...], revision: str, place: str = "") -> None:
        self._place = place
        self.routes = routes
        self.revision = revision
        self.models = {model: route for route in routes for model in route.declared.models}

    def route_for(self, model: str) -> LiveRoute:
        """The route that serves the model. Raises UnknownModel, which lists the known ones."""
        route = self.models.get(model)
        if route is None:
            known = ", ".join(sorted(self.models)[:64]) or "none: no route is loaded"
            told = f"no route{self._place} serves the model {model!r}; known models: {known}"
            raise UnknownModel(told, param="model")
        return route

    def targets(self) -> Iterator[LiveTarget]:
        """Every target of every route."""
        for route in self.routes:
            yield from route.targets.values()


EMPTY = Runtime((), revision="none")


class KeySources(Protocol):
    """Where a target's key may be, in the order to look."""

    def __call__(self, namespace: str, target: Target) -> tuple[Source, ...]:
        """Sources of the target's key; empty where it needs none."""


def key_of(target: Target) -> tuple[str, str] | None:
    """Secret and key of the target's key; None where it needs none."""
    if target.credential is not None:
        return target.credential.secret_ref.name, target.credential.secret_ref.key
    key = dialects.PROFILES[target.provider].key_env
    return None if key is None else (DEFAULT_SECRET, key)


def local_key_sources(secrets: Secrets, secrets_dir: Path | None) -> KeySources:
    """Secrets of the same file first, then `<secrets dir>/<name>/<key>`, then the environment variable `<key>`."""

    def sources(namespace: str, target: Target) -> tuple[Source, ...]:
        reference = key_of(target)
        if reference is None:
            return ()
        name, key = reference
        found: list[Source] = []
        value = secrets.get((namespace, name), {}).get(key)
        if value is not None:
            found.append(LiteralSource(value, f"{name}/{key}"))
        if secrets_dir is not None:
            found.append(FileSource(secrets_dir / name / key))
        found.append(EnvironmentSource(key))
        return tuple(found)

    return sources


class Kept:
    """What outlives a swap, by what must stay the same for it to be kept."""

    def __init__(self) -> None:
        self.targets: dict[tuple[str, str, str, str, str], Learned] = {}
        self.routes: dict[str, LearnedRoute] = {}
        self.caches: dict[str, Store] = {}
        self.followed: dict[Origin, frozenset[str]] = {}
        """Addresses that targets were made of."""


class Compiler:
    """Builds Runtimes, one after the other, from what is declared and what was learned before."""

    def __init__(self, upstream: Upstream, rng: Random) -> None:
        self._upstream = upstream
        self._seed = rng.randbytes(16)
        self._kept = Kept()

    def build(
        self, declared: tuple[LLMRoute, ...], keys: KeySources, now: float, revision: str | None = None, place: str = ""
    ) -> Runtime:
        """A new Runtime; nothing that serves now is touched if it fails. Raises ConfigError.

        `revision`: its name, made from what is declared where there is none. `place`: where the routes are from.
        """
        kept = Kept()
        routes = tuple(self._route(route, keys, kept) for route in declared)
        runtime = Runtime(routes, revision or revision_of(declared), place)
        self._kept = kept
        self._upstream.retain({target.pool.origin for target in runtime.targets()})
        for target in runtime.targets():
            target.pool.warm = 0
        for target in runtime.targets():
            target.take_over(now)
        return runtime

    def moved(self) -> bool:
        """Whether a name whose addresses are targets stands for others now."""
        return any(self._upstream.addresses(origin) != used for origin, used in self._kept.followed.items())

    def _route(self, declared: LLMRoute, keys: KeySources, kept: Kept) -> LiveRoute:
        key, targets = declared.key, []
        kept_route = kept.routes[key] = self._kept.routes.get(key) or LearnedRoute()

        def addresses(target: Target) -> frozenset[str]:
            _, origin = _place_of(target, key)
            kept.followed[origin] = self._upstream.addresses(origin)
            return kept.followed[origin]

        serving, endpoints = spread(declared, addresses, self._seed)
        for target in serving.spec.targets:
            url, origin = _place_of(target, key)
            endpoint = endpoints.get(target.name)
            if endpoint is not None:
                origin = msgspec.structs.replace(origin, address=endpoint.address)
            profile = dialects.profile_for(target.provider, target.url)
            identity = (key, target.name, target.provider, target.model, url)
            learned = kept.targets[identity] = self._kept.targets.get(identity) or Learned(target.name, kept_route.line)
            sources = keys(declared.metadata.namespace, target)
            credential = Credential(profile.auth_header, profile.auth_prefix, sources)
            live = LiveTarget(key, target, credential, learned, self._upstream.pool(origin))
            if endpoint is not None:
                live.candidate.declared_as = endpoint.of
            targets.append(live)
        route = LiveRoute(serving, targets, self._cache(declared, kept), kept_route)
        route.answered_by = _answered_by(declared)  # whichever address it was
        return route

    def _cache(self, declared: LLMRoute, kept: Kept) -> Store | None:
        cache = declared.spec.cache
        if cache is None:
            return None
        store = self._kept.caches.get(declared.key)
        if store is None or store.max_bytes != cache.max_bytes or store.ttl != cache.ttl:
            store = Store(max_bytes=cache.max_bytes, ttl=cache.ttl)
        kept.caches[declared.key] = store
        return store


def _place_of(target: Target, key: str) -> tuple[str, Origin]:
    """A target's URL, and where that leads. Raises ConfigError."""
    if target.service is not None:
        told = "service: is known in a cluster only, where the operator makes a url of it; write the url here"
        raise ConfigError(told, where=f"{key}: target {target.name}")
    try:
        url = target.url or dialects.profile_for(target.provider, target.url).default_url or ""
        return url, Origin.of(url)
    except ValueError as error:
        raise ConfigError(f"url: {error}", where=f"{key}: target {target.name}") from error


def revision_of(declared: Iterable[LLMRoute]) -> str:
    """A short name for exactly this configuration: 12 hex digits of a hash over what was declared."""
    digest = hashlib.sha256()
    for route in declared:
        digest.update(repr(route).encode())
    return digest.hexdigest()[:12]

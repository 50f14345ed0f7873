"""What sidecars say of themselves: `GET /status` of their admin port, as values that are at least of their type.

The pod's network is not trusted: what answers may not be a sidecar at all. Everything has a type and a bound, unknown
members are ignored (a newer sidecar may say more), and nothing here says that a report is true. Pure.
"""

import sys
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

LARGEST = 2 * 1024 * 1024
"""Bytes of a report; one of 200 targets is about 250 KiB."""

Text = Annotated[str, Meta(max_length=4096)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Whole = Annotated[int, Meta(ge=0, le=2**53)]


class Quantiles(Struct, frozen=True, gc=False):
    """Of one part of the latency over the last five minutes, in seconds."""

    count: Annotated[int, Meta(ge=1, le=1_000_000)]
    p50: Seconds
    p95: Seconds
    p99: Seconds


class Latency(Struct, frozen=True, gc=False):
    """The parts that are read."""

    ttft: Quantiles | None = None


class TargetReport(Struct, frozen=True, gc=False):
    """One target of a route, as one sidecar sees it."""

    name: Text
    state: Text
    reason: Text = ""
    credential: Text = "available"
    attempts: Whole = 0
    latency: Latency = Latency()
    declared_as: Text = msgspec.field(default="", name="declaredAs")
    """The target's name in the spec: another than its own for an address of `endpoints: each`."""


class RouteReport(Struct, frozen=True, gc=False):
    """One route that a sidecar runs."""

    uid: Text
    generation: Whole
    targets: Annotated[tuple[TargetReport, ...], Meta(max_length=4096)] = ()


class Rejection(Struct, frozen=True, gc=False):
    """A configuration that the sidecar could not use; it runs the one before."""

    error: Text
    revision: Text | None = None


class Report(Struct, frozen=True, gc=False):
    """All that one sidecar says."""

    revision: Text
    routes: Annotated[tuple[RouteReport, ...], Meta(max_length=4096)] = ()
    rejected: Rejection | None = None

    def generation_of(self, uid: str) -> int | None:
        """The generation of a route that this sidecar runs; None if it does not run it."""
        return next((route.generation for route in self.routes if route.uid == uid), None)

    def targets_of(self, uid: str) -> tuple[TargetReport, ...]:
        """What it says of a route's targets."""
        return next((route.targets for route in self.routes if route.uid == uid), ())

    def stripped(self) -> "Report":
        """Without targets: which generations run, and no more."""
        routes = tuple(RouteReport(route.uid, route.generation) for route in self.routes)
        return Report(self.revision, routes, self.rejected)

    def alike(self, other: "Report | None") -> bool:
        """Whether they say the same but for numbers."""
        return other is not None and self._words() == other._words()

    def _words(self) -> object:
        return (
            self.revision,
            self.rejected,
            [
                (route.uid, route.generation, [(each.name, each.state, each.credential) for each in route.targets])
                for route in self.routes
            ],
        )


class Contact(Struct, frozen=True, gc=False):
    """What is known of one pod's sidecar."""

    report: Report | None = None
    """The last one; None if none has come yet."""
    before: Report | None = None
    """An earlier one, about five minutes older where there is one: what has happened since is the difference."""
    age: float = 0.0
    """Seconds since `report` came."""
    silent: float = 0.0
    """Seconds since the first of those requests that were not answered, since the last one that was; 0 if none."""
    error: str = ""
    """What was wrong with the last answer, if there was none that could be used."""


_DECODER = msgspec.json.Decoder(Report)
_KEPT = 256
"""Characters of a text that are kept."""


def decode(body: bytes) -> Report:
    """Raises ValueError, which tells the place and never what stood there."""
    try:
        return _small(_DECODER.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"the answer is no report: {error}") from error


def _small(report: Report) -> Report:
    """Thousands of sidecars say the same words: each is kept once, and no long one at all."""
    routes = tuple(
        RouteReport(_kept(route.uid), route.generation, tuple(map(_small_target, route.targets)))
        for route in report.routes
    )
    rejected = report.rejected
    if rejected is not None:
        rejected = Rejection(sys.intern(rejected.error), _kept(rejected.revision or ""))
    return Report(_kept(report.revision), routes, rejected)


def _small_target(target: TargetReport) -> TargetReport:
    return TargetReport(
        _kept(target.name),
        _kept(target.state),
        _kept(target.reason),
        _kept(target.credential),
        target.attempts,
        target.latency,
        _kept(target.declared_as or target.name),
    )


def _kept(text: str) -> str:
    return sys.intern(text[:_KEPT])

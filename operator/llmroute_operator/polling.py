"""Which sidecars to ask for their status, and when: those that have not confirmed what they should run soon and again,
of the others a sample. Pure: `now` is the monotonic clock.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from llmroute_operator.pods import Pod
from llmroute_operator.reports import Contact, Report

FIRST = 0.3
"""Seconds until a sidecar is asked for the first time after something changed: a nudge takes about as long."""
AGAIN = 1.0
"""Seconds until a sidecar that has not confirmed is asked again; doubles each time."""
SLOWEST = 10.0
"""The most that it doubles to."""
SLOWEST_SILENT = 60.0
"""The same for those that have been silent for longer than SILENT."""
SILENT = 30.0
"""Seconds after which a sidecar that does not answer is said to be unreachable."""
SAMPLE = 6.0
"""Seconds between two samples of a route: 10 a minute."""
BEFORE = 300.0
"""Seconds that a report is kept for, to tell what has happened since."""
MOST_KEPT = 32 * 1024 * 1024
"""Bytes of reports, as they came, that are kept of one namespace: what runs there may lie at any length."""
NUMBERS = 60.0
"""Seconds between two times that it is worth telling that only numbers have changed."""


class Expected(Struct, frozen=True):
    """What the sidecars of one namespace should run. `routes`: uid → uids of the pods that it is for."""

    revision: str
    key: str
    """The fleet key, which the sidecars ask for."""
    pods: Sequence[Pod]
    routes: Mapping[str, frozenset[str]]

    def __repr__(self) -> str:
        return f"<Expected {self.revision}: {len(self.pods)} pods, {len(self.routes)} routes>"


class _Known:
    """One pod's sidecar."""

    __slots__ = (
        "_before",
        "_before_heard",
        "asked",
        "busy",
        "due",
        "error",
        "heard",
        "pod",
        "report",
        "silent_since",
        "size",
        "tries",
        "unreachable",
    )

    def __init__(self, pod: Pod, due: float) -> None:
        self.pod = pod
        self.due = due
        """When to ask while it has not confirmed; infinite once it has."""
        self.asked = -math.inf
        self.heard = -math.inf
        self.busy = False
        self.tries = 0
        """Requests since it was expected to change."""
        self.report: Report | None = None
        self.size = 0
        self._before: Report | None = None
        self._before_heard = -math.inf
        self.silent_since: float | None = None
        self.unreachable = False
        """That it is has been told."""
        self.error = ""

    def contact(self, now: float) -> Contact:
        silent = 0.0 if self.silent_since is None else now - self.silent_since
        age = now - self.heard if self.report is not None else 0.0
        return Contact(self.report, self._before, age, silent, self.error)

    def told(self, now: float, report: Report, size: int) -> None:
        if now - self._before_heard >= BEFORE:
            self._before, self._before_heard = self.report, self.heard
        self.report, self.heard, self.size = report, now, size

    def strip(self) -> None:
        """Keep no more than what runs."""
        self._before, self.size = None, 0
        if self.report is not None:
            self.report = self.report.stripped()

    def interest(self, now: float) -> float:
        """Who is sampled first: the one asked longest ago, and three times as often who misses a key, since somebody
        may be mending that."""
        routes = self.report.routes if self.report is not None else ()
        lacks = any(target.credential != "available" for route in routes for target in route.targets)
        return (now - self.asked) * (3.0 if lacks else 1.0)


class Polls:
    """The sidecars of one namespace."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        """By the pod's uid: a StatefulSet's pod comes back under its name."""
        self._routes_of: dict[str, list[str]] = {}
        """Pod's uid → uids of the routes that are for it."""
        self._sampled: dict[str, float] = {}
        """Route's uid → when one of its pods was sampled last."""
        self.revision = ""
        self._numbers_told = -math.inf
        self.key = ""

    def expect(self, now: float, expected: Expected) -> None:
        """What should run from now on; pods that are not in it are forgotten."""
        changed = expected.revision != self.revision
        self.revision, self.key = expected.revision, expected.key
        known: dict[str, _Known] = {}
        for pod in expected.pods:
            one = known[pod.uid] = self._known.get(pod.uid) or _Known(pod, now + FIRST)
            one.pod = pod
            if changed and not self._confirmed(one):
                one.tries, one.due = 0, now + FIRST
        self._known = known
        self._routes_of = {}
        for route, uids in expected.routes.items():
            for uid in uids & known.keys():
                self._routes_of.setdefault(uid, []).append(route)
        self._sampled = {route: self._sampled.get(route, now) for route in expected.routes}

    def _confirmed(self, one: _Known) -> bool:
        return one.report is not None and one.report.revision == self.revision and one.silent_since is None

    def due(self, now: float, at_most: int) -> list[Pod]:
        """The pods to ask now, longest due first; they count as being asked until `answered` or `failed`."""
        waiting = [one for one in self._known.values() if one.due <= now and not one.busy]
        waiting.sort(key=lambda one: one.due)
        chosen = waiting[:at_most]
        for one in chosen:
            one.busy, one.asked = True, now
        for one in self._sample(now):
            if len(chosen) >= at_most:
                break
            one.busy, one.asked = True, now
            for route in self._routes_of[one.pod.uid]:
                self._sampled[route] = now
            chosen.append(one)
        return [one.pod for one in chosen]

    def _sample(self, now: float) -> Iterator[_Known]:
        """One pod of each route whose turn it is. A pod that serves several routes is a sample of all of them, so it is
        taken when it is the turn of all; those that are early wait for the others, or it would never be taken."""
        turn = {route for route, at in self._sampled.items() if now - at >= SAMPLE}
        if not turn:
            return
        resting = [one for one in self._known.values() if one.due == math.inf and not one.busy]
        resting.sort(key=lambda one: one.interest(now), reverse=True)
        for one in resting:
            routes = self._routes_of.get(one.pod.uid, ())
            if routes and turn.issuperset(routes):
                yield one
            turn.difference_update(routes)

    def answered(self, now: float, uid: str, report: Report, size: int) -> bool:
        """A report of so many bytes has come. True if it is worth a look: it says something new."""
        one = self._known.get(uid)
        if one is None:
            return False
        before = one.report
        one.told(now, report, size)
        self._bound()
        new = one.silent_since is not None or not report.alike(before)
        one.busy, one.silent_since, one.unreachable, one.error = False, None, False, ""
        if self._confirmed(one):
            one.tries, one.due = 0, math.inf
        else:
            self._again(now, one, SLOWEST)
        if not new and now - self._numbers_told >= NUMBERS:
            new = True
        if new:
            self._numbers_told = now
        return new

    def _bound(self) -> None:
        kept = sum(one.size for one in self._known.values())
        if kept > MOST_KEPT:  # old ones tell of what was before; numbers and states are made of new ones
            for one in sorted(self._known.values(), key=lambda one: one.heard):
                kept -= one.size
                one.strip()
                if kept <= MOST_KEPT:
                    break

    def failed(self, now: float, uid: str, error: str) -> bool:
        """No usable answer has come. True if the sidecar counts as unreachable from now on."""
        one = self._known.get(uid)
        if one is None:
            return False
        one.busy, one.error = False, error
        if one.silent_since is None:
            one.silent_since = one.asked
            one.tries = 0
        silent = now - one.silent_since >= SILENT
        self._again(now, one, SLOWEST_SILENT if silent else SLOWEST)
        told, one.unreachable = one.unreachable, silent
        return silent and not told

    def _again(self, now: float, one: _Known, slowest: float) -> None:
        one.due = now + min(slowest, AGAIN * 2.0 ** min(one.tries, 10))
        one.tries += 1

    def contacts(self, now: float) -> dict[str, Contact]:
        """What is known of each pod's sidecar, by the pod's name."""
        return {one.pod.name: one.contact(now) for one in self._known.values()}

"""When to touch which pod, so that kubelet refreshes its configuration now instead of in a minute or two. Pure.

A nudge patches the annotations `revision` and `region`. It can race kubelet's own watch of the ConfigMap: a pod whose
sidecar does not confirm the revision is nudged again after 2, 10 and 60 s, and then left to kubelet's own pace.
"""

import heapq
from collections.abc import Collection

import msgspec

from llmroute_operator import names
from llmroute_operator.pods import Pod

AGAIN = (2.0, 10.0, 60.0)
"""Seconds from one nudge to the next, while the sidecar has not confirmed."""
RATE = 50.0
"""Nudges a second, over all pods."""

RUNNING = "Running"
ENDED = ("Succeeded", "Failed")

Key = tuple[str, str]
"""Namespace and name of a pod."""


class Bucket:
    """A token bucket that holds one token: `rate` a second and never a burst."""

    def __init__(self, rate: float) -> None:
        self._gap = 1.0 / rate
        self._free = 0.0

    def take(self, now: float) -> float:
        """0 if it is our turn, else the seconds until it is."""
        if now < self._free:
            return self._free - now
        self._free = now + self._gap
        return 0.0


class Nudge(msgspec.Struct, frozen=True):
    """One patch to send."""

    namespace: str
    pod: str
    annotations: dict[str, str]


class Wanted(msgspec.Struct, frozen=True):
    """What a pod should be told."""

    revision: str
    region: str
    """Of its node; empty: not known."""
    written: bool
    """The configuration was written just now."""


class _Pod(msgspec.Struct):
    uid: str
    revision: str
    step: int
    """Nudges sent so far for this revision."""
    due: float | None = None
    """When to nudge for the revision; None: not now."""
    settled: bool = False
    """Nothing more to do for this revision: it is confirmed, or all steps were made."""
    region: str = ""
    """The region that the pod is to be told; empty: none."""
    region_due: float | None = None
    region_told: str = ""
    """The region of the last nudge: the pod's own may be older than that."""


class Schedule:
    """All pods that may need a nudge."""

    def __init__(self) -> None:
        self._pods: dict[Key, _Pod] = {}
        # Of many pods that cannot confirm, none may hold up one whose configuration is new.
        self._first: list[tuple[float, Key]] = []
        self._again: list[tuple[float, Key]] = []

    def __len__(self) -> int:
        return sum(1 for pod in self._pods.values() if pod.due is not None or pod.region_due is not None)

    def want(self, pod: Pod, wanted: Wanted, *, confirmed: bool, now: float) -> None:
        """What a pod's annotations should say. `confirmed`: its sidecar says that it runs the revision.

        A pod that is new to us and was never nudged read its configuration when it started. It is left alone until it
        serves, and then gets the time of the first step to confirm.
        """
        key = (pod.namespace, pod.name)
        if pod.terminating or pod.phase in ENDED:
            self._pods.pop(key, None)
            return
        known = self._pods.get(key)
        if known is None or known.uid != pod.uid or known.revision != wanted.revision:
            known = self._begin(key, pod, wanted, now)
        if confirmed:
            known.due, known.settled = None, True
        elif known.due is None and not known.settled and pod.serves:
            self._nudge_at(key, known, now + AGAIN[0])
        if wanted.region and wanted.region not in (pod.region, known.region_told) and known.region_due is None:
            known.region, known.region_due = wanted.region, now
            heapq.heappush(self._first, (now, key))

    def _begin(self, key: Key, pod: Pod, wanted: Wanted, now: float) -> _Pod:
        before = self._pods.get(key)
        same = before is not None and before.uid == pod.uid
        told = pod.revision.partition(".")[0] == wanted.revision
        known = _Pod(
            pod.uid, wanted.revision, 1 if told else 0, region_told=before.region_told if before and same else ""
        )
        self._pods[key] = known
        changed = same or bool(pod.revision) or wanted.written
        if changed and not told and pod.phase == RUNNING:
            self._nudge_at(key, known, now)
        return known

    def keep(self, namespace: str, pods: Collection[str]) -> None:
        """Forget the pods of a namespace that are not among `pods`."""
        for key in [key for key in self._pods if key[0] == namespace and key[1] not in pods]:
            del self._pods[key]

    def next(self, now: float) -> Nudge | float | None:
        """The nudge that is due, or the seconds until one is, or None if there is none at all."""
        waits = []
        for heap in (self._first, self._again):
            if (due := self._top(heap)) is None:
                continue
            if due <= now:
                key = heapq.heappop(heap)[1]
                return self._nudge(key, self._pods[key], now)
            waits.append(due - now)
        return min(waits, default=None)

    def _top(self, heap: list[tuple[float, Key]]) -> float | None:
        """When the first is due that still stands."""
        while heap:
            due, key = heap[0]
            pod = self._pods.get(key)
            if pod is not None and due in (pod.due, pod.region_due):
                return due
            heapq.heappop(heap)
        return None

    def _nudge(self, key: Key, pod: _Pod, now: float) -> Nudge:
        annotations = {names.REGION: pod.region} if pod.region else {}
        pod.region_due, pod.region_told = None, pod.region
        if pod.due is not None and pod.due <= now:
            # The same value again would be no change, and no event for kubelet.
            annotations[names.REVISION] = pod.revision if pod.step == 0 else f"{pod.revision}.{pod.step}"
            pod.step += 1
            if pod.step <= len(AGAIN):
                self._nudge_at(key, pod, now + AGAIN[pod.step - 1])
            else:
                pod.due, pod.settled = None, True
        return Nudge(*key, annotations)

    def _nudge_at(self, key: Key, pod: _Pod, due: float) -> None:
        pod.due = due
        heapq.heappush(self._first if pod.step == 0 else self._again, (due, key))

"""The mounts of the pod as one configuration that changes.

<directory>/config/routes.json            the operator's ConfigMap
<directory>/config/{labels,annotations}   the pod's own (downward API)
<directory>/secrets/<name>/<key>          Secrets that the pod's owner lists
<directory>/state/routes.json             memory of the pod: the last good routes
"""

import logging
from pathlib import Path

from llmroute.configuration import Found, Refusal, Stamp, stamp_of
from llmroute.credentials import Source
from llmroute.pod import rendered
from llmroute.pod.downward import pairs
from llmroute.pod.kept import LastGood
from llmroute.pod.keys import SECRETS_ANNOTATION, Mounted, listed
from llmroute.pod.rendered import Rendered
from llmroute.runtime import key_of
from llmroute.spec import KIND, Target

log = logging.getLogger("llmroute")

REGION_ANNOTATION = "llmroute.dev/region"
MOST_TOLD = 10
"""Routes whose errors are told."""
MAX_FACTS = 1024 * 1024
"""Largest file of labels or annotations; a pod's annotations are at most 256 KiB, and quoting doubles them at worst."""


class PodMounts:
    """What the mounts say now. A file that is missing or broken takes nothing away from what serves."""

    def __init__(self, directory: Path, namespace: str) -> None:
        config = directory / "config"
        self._routes, self._labels_file, self._annotations_file = (
            config / name for name in (rendered.FILE, "labels", "annotations")
        )
        self._place = f" of the namespace {namespace}" if namespace else " of this namespace"
        self._labels: dict[str, str] = {}
        self._annotations: dict[str, str] = {}
        self._mounted = Mounted(directory / "secrets")
        self._kept = LastGood(directory / "state" / rendered.FILE)
        self._good = self._kept.load() or rendered.NOTHING
        self._latest = self._good

    def look(self) -> Stamp:
        """Changes when a file does."""
        return tuple(map(stamp_of, (self._routes, self._labels_file, self._annotations_file)))

    def read(self) -> Found:
        """The routes that are meant for this pod. Raises nothing: what is wrong is told beside the last good."""
        self._labels = _facts(self._labels_file, self._labels)
        self._annotations = _facts(self._annotations_file, self._annotations)
        self._mounted.listed = listed(self._annotations.get(SECRETS_ANNOTATION, ""))
        self._latest, refused = self._good, None
        try:
            content = _content(self._routes, rendered.MAX_BYTES)
            self._latest = rendered.with_last_good(rendered.read(content), self._good)
            refused = _refusal(self._latest)
        except FileNotFoundError:
            pass  # the ConfigMap is not there (yet, or any more): what was good stays so
        except rendered.Unreadable as error:
            refused = Refusal(str(error), error.revision)
        except OSError as error:
            refused = Refusal(f"{rendered.FILE}: cannot be read: {error.strerror}")
        return self._found(self._latest, refused)

    def in_force(self) -> None:
        """What was read last serves now: it is the last good from here on."""
        self._good = self._latest
        self._kept.save(self._good)

    def last_good(self) -> Found:
        """What served last, be it in an earlier container."""
        return self._found(self._good, None)

    def _found(self, routes: Rendered, refused: Refusal | None) -> Found:
        declared = (route.declared for route in routes.routes.values())
        return Found(
            routes=tuple(route for route in declared if route.spec.workloads.selects(self._labels)),
            keys=self._sources,
            revision=routes.revision,
            refused=refused,
            place=self._place,
            region=self._annotations.get(REGION_ANNOTATION) or None,
        )

    def _sources(self, namespace: str, target: Target) -> tuple[Source, ...]:
        reference = key_of(target)
        return () if reference is None else (self._mounted.key(*reference),)


def _refusal(routes: Rendered) -> Refusal | None:
    told = [f"{KIND} {key}: {why}" for key, why in routes.unreadable.items()]
    if len(told) > MOST_TOLD:
        told[MOST_TOLD:] = [f"and {len(told) - MOST_TOLD} more"]
    return Refusal("\n".join(told), routes.revision) if told else None


def _content(file: Path, limit: int) -> bytes:
    """At most one byte more than the limit."""
    with file.open("rb") as opened:
        return opened.read(limit + 1)


def _facts(file: Path, before: dict[str, str]) -> dict[str, str]:
    try:
        return pairs(_content(file, MAX_FACTS).decode("utf-8", "replace"))
    except FileNotFoundError:
        return before
    except OSError as error:
        log.warning("%s cannot be read, what was known of the pod stays: %s", file.name, error.strerror)
        return before

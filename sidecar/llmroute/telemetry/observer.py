"""One observer of all that happens: counts it, and logs what people should see."""

import logging
from collections.abc import Callable, Iterable

from llmroute.errors import ConfigError
from llmroute.health import State, Transition
from llmroute.request import Observation, Outcome, RequestEnded
from llmroute.telemetry.access import AccessLog
from llmroute.telemetry.events import Logging
from llmroute.telemetry.exposition import CONTENT_TYPE, Exposition
from llmroute.telemetry.meter import Meter, MeteredRoute
from llmroute.telemetry.writer import STDOUT, Writer

log = logging.getLogger("llmroute")

_MUST_ACT = frozenset({Outcome.AUTHENTICATION.word, Outcome.BILLING.word, Outcome.MODEL_NOT_FOUND.word})


class Telemetry:
    """Metrics, access log and event log of one process. `now` is the monotonic clock of all events."""

    content_type = CONTENT_TYPE.encode()

    def __init__(
        self,
        now: Callable[[], float],
        *,
        version: str,
        access_log: bool = True,
        log_level: str = "info",
        descriptor: int = STDOUT,
    ) -> None:
        self._meter = meter = Meter()
        self.chosen = meter.chosen
        """`(route, target, reason)`: a target was chosen for an attempt."""
        self.attempt_ended = meter.attempt
        """`(route, observation)`: exactly once for each attempt."""
        self._exposition = Exposition(self._meter, version, now)
        self._writer = Writer(descriptor)
        self._logging = Logging(self._writer, log_level)
        self._access = AccessLog(self._writer) if access_log else None

    def exposition(self) -> bytes:
        """What `/metrics` answers."""
        return self._exposition.text()

    def request_ended(self, ended: RequestEnded) -> None:
        """Exactly once for each request of an app."""
        self._meter.request(ended)
        if self._access is not None:
            self._access.record(ended)

    def failed_over(self, route: str, failed: Observation, target: str) -> None:
        """After the failed attempt, another is made at the target."""
        self._meter.failover(route, failed.target, target, failed.outcome.word)

    def state_changed(self, route: str, change: Transition) -> None:
        """A target was ejected, limited, or came back."""
        level = logging.INFO
        if change.after is State.EJECTED:
            level = logging.ERROR if change.reason in _MUST_ACT else logging.WARNING
        elif change.after is State.LIMITED:
            level = logging.WARNING
        fields = {
            "event": "target-state",
            "route": route,
            "target": change.target,
            "before": change.before.value,
            "after": change.after.value,
            "reason": change.reason,
            "seconds": round(change.seconds, 3),
        }
        log.log(
            level,
            "target %s of %s: %s -> %s (%s)",
            change.target,
            route,
            change.before.value,
            change.after.value,
            change.reason,
            extra={"fields": fields},
        )

    def reloaded(self, routes: Iterable[MeteredRoute], revision: str) -> None:
        """A configuration is in force."""
        self._meter.applied(routes, revision)
        log.info("configuration %s is in force", revision, extra={"fields": {"event": "reload", "revision": revision}})

    def retargeted(self, routes: Iterable[MeteredRoute]) -> None:
        """The addresses behind a name have changed, and with them the targets; the configuration is the same."""
        self._meter.serves(routes)
        log.info("the targets follow addresses that have changed", extra={"fields": {"event": "endpoints"}})

    def rejected(self, error: ConfigError) -> None:
        """A configuration was wrong; the last good one stays."""
        self._meter.rejected()
        log.error("configuration rejected, the last good one stays: %s", error, extra={"fields": {"event": "reload"}})

    def credential_changed(self, route: str, target: str, available: bool) -> None:
        """A target's key is another one now, or gone."""
        fields = {"event": "credential", "route": route, "target": target, "available": available}
        level = logging.INFO if available else logging.ERROR
        log.log(
            level,
            "key of target %s of %s %s",
            target,
            route,
            "changed" if available else "is missing",
            extra={"fields": fields},
        )

    def close(self) -> None:
        """Write what is left."""
        self._logging.close()
        self._writer.close()

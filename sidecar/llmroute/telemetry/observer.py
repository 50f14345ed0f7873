"""One observer of all that happens: counts it, and logs what people should see."""

import logging
from collections.abc import Callable

from llmroute.errors import ConfigError
from llmroute.health import State, Transition
from llmroute.request import Decision, Observation, Outcome, RequestEnded
from llmroute.telemetry.access import AccessLog
from llmroute.telemetry.events import Logging
from llmroute.telemetry.exposition import CONTENT_TYPE, Exposition
from llmroute.telemetry.meter import Meter, MeteredRuntime, MeteredTarget
from llmroute.telemetry.writer import STDOUT, Writer

log = logging.getLogger("llmroute")

_MUST_ACT = frozenset({Outcome.AUTHENTICATION.value, Outcome.BILLING.value, Outcome.MODEL_NOT_FOUND.value})


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
        self._meter = Meter()
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

    def chosen(self, target: MeteredTarget, decision: Decision) -> None:
        """A target was chosen for an attempt."""
        self._meter.chosen(target.route, target.name, decision.reason)

    def failed_over(self, target: MeteredTarget, failed: str, outcome: Outcome) -> None:
        """After the attempt at the target named `failed`, another one is made at this."""
        self._meter.failover(target.route, failed, target.name, outcome.value)

    def attempt_ended(self, target: MeteredTarget, observation: Observation) -> None:
        """Exactly once for each attempt."""
        self._meter.attempt(target.route, observation)

    def state_changed(self, target: MeteredTarget, change: Transition) -> None:
        """A target was ejected, limited, or came back."""
        fields = {
            "event": "target-state",
            "route": target.route,
            "target": target.name,
            "before": change.before.value,
            "after": change.after.value,
            "reason": change.reason,
            "seconds": round(change.seconds, 3),
        }
        message = f"target {target.name} of {target.route}: {change.before} -> {change.after} ({change.reason})"
        log.log(_loudness(change), message, extra={"fields": fields})

    def reloaded(self, runtime: MeteredRuntime) -> None:
        """A configuration is in force."""
        self._meter.applied(runtime.routes)
        fields = {"event": "reload", "revision": runtime.revision, "routes": len(runtime.routes)}
        log.info("configuration %s is in force", runtime.revision, extra={"fields": fields})

    def rejected(self, error: ConfigError) -> None:
        """A configuration was wrong; the last good one stays."""
        self._meter.rejected()
        log.error("configuration rejected, the last good one stays: %s", error, extra={"fields": {"event": "reload"}})

    def credential_changed(self, target: MeteredTarget) -> None:
        """A target's key is another one now, or gone."""
        missing = target.candidate.keyless
        fields = {"event": "credential", "route": target.route, "target": target.name, "available": not missing}
        message = f"key of target {target.name} of {target.route} {'is missing' if missing else 'changed'}"
        log.log(logging.ERROR if missing else logging.INFO, message, extra={"fields": fields})

    def close(self) -> None:
        """Write what is left."""
        self._logging.close()
        self._writer.close()


def _loudness(change: Transition) -> int:
    """What only a person can mend is an error."""
    if change.after is State.EJECTED:
        return logging.ERROR if change.reason in _MUST_ACT else logging.WARNING
    return logging.WARNING if change.after is State.LIMITED else logging.INFO

"""What the operator counts of itself, and how it is told: GET /metrics. Names are a contract with dashboards."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """All counters of one operator."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self.leader = Gauge("llmroute_operator_leader", "1 while this replica holds the Lease.", registry=registry)
        self.reconciles = Counter(
            "llmroute_operator_reconciles",
            "Looks at a namespace, by result: ok or error.",
            ["result"],
            registry=registry,
        )
        self.duration = Histogram(
            "llmroute_operator_reconcile_duration_seconds",
            "Time that one look at a namespace takes.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.waited = Histogram(
            "llmroute_operator_queue_seconds",
            "Time that a namespace waits for its turn once it is due.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.depth = Gauge(
            "llmroute_operator_queue_depth", "Namespaces that are due and wait for their turn.", registry=registry
        )
        self.errors = Counter("llmroute_operator_errors", "Failed steps, by step.", ["step"], registry=registry)
        self.calls = Counter(
            "llmroute_operator_api_calls",
            "Answers of the API server; code 0: none came.",
            ["verb", "resource", "code"],
            registry=registry,
        )
        self.writes = Counter(
            "llmroute_operator_config_writes", "Times that a ConfigMap was written.", registry=registry
        )
        self.nudges = Counter(
            "llmroute_operator_nudges", "Annotations of pods patched, by result.", ["result"], registry=registry
        )
        self.pending = Gauge(
            "llmroute_operator_nudges_pending", "Pods that are to be nudged, now or later.", registry=registry
        )
        self.sidecars = Gauge(
            "llmroute_operator_sidecars",
            "Sidecars by state: current, stale, unreachable, unknown.",
            ["state"],
            registry=registry,
        )
        self.missing = Gauge(
            "llmroute_operator_pods_without_sidecar", "Pods that asked for a sidecar and have none.", registry=registry
        )
        self.routes = Gauge(
            "llmroute_operator_routes", "LLMRoutes by whether they are accepted.", ["accepted"], registry=registry
        )
        self.missed = Counter(
            "llmroute_operator_watch_missed",
            "Times that a list showed a change in a namespace that no watch had told of.",
            registry=registry,
        )
        self.certificate = Gauge(
            "llmroute_operator_certificate_expiry_timestamp_seconds",
            "When the injector's certificate ends; 0: not ours.",
            registry=registry,
        )

    def called(self, verb: str, resource: str, status: int) -> None:
        """One answer of the API server."""
        self.calls.labels(verb, resource, str(status)).inc()

    def counted(self, sidecars: Mapping[str, int]) -> None:
        """Sidecars by state."""
        for state, count in sidecars.items():
            self.sidecars.labels(state).set(count)

    def found(self, accepted: int, rejected: int, missing: int) -> None:
        """Routes by whether they are accepted, and pods without a sidecar."""
        self.routes.labels("true").set(accepted)
        self.routes.labels("false").set(rejected)
        self.missing.set(missing)

    def exposition(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)

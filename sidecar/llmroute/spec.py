"""What users declare: the types of an LLMRoute. Frozen; each field with its type, default, bounds and description.

The CRD (`crds/llmroutes.yaml`), the reference (`docs/reference.md`) and the decoder of local files are generated from
these types, so a field is written once. What a type alone cannot say stands in `rules.py`: in CEL for the API server
and as its twin in Python for everybody else. Nothing here opens a file; reading YAML is `load`'s job.

Everything has a bound, since the API server estimates the cost of CEL by the largest object that the schema allows.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from llmroute.declared import ORDERED, UNIQUE, UNIQUE_NAMES, Declared, Label, Name, ResourceName
from llmroute.workloads import Autoscaling, LabelSelector
from llmroute.written import (
    KEY_PATTERN,
    MODEL_PATTERN,
    MONEY_MAX_LENGTH,
    MONEY_PATTERN,
    PATH_PATTERN,
    URL_PATTERN,
)
from llmroute.written import Duration as Duration
from llmroute.written import Port as Port
from llmroute.written import Quantity as Quantity
from llmroute.written import decode_written as decode_written

GROUP = "llmroute.dev"
VERSION = "v1alpha1"
KIND = "LLMRoute"

ModelName = Annotated[str, Meta(min_length=1, max_length=256, pattern=MODEL_PATTERN)]
Url = Annotated[str, Meta(min_length=1, max_length=2048, pattern=URL_PATTERN)]
Money = Annotated[
    Decimal, Meta(extra_json_schema={"type": "string", "pattern": MONEY_PATTERN, "maxLength": MONEY_MAX_LENGTH})
]
Weight = Annotated[float, Meta(ge=0, le=1)]
Provider = Literal["openai", "azure-openai", "anthropic", "openrouter", "gemini", "openai-compatible"]
Endpoints = Literal["virtual", "each"]
Capability = Literal["tools", "vision", "json", "streaming", "embeddings", "audio", "reasoning"]


class SecretRef(Declared, frozen=True):
    """A key of a Secret of the same namespace (locally: a file under --secrets-dir, or a Secret of the same file)."""

    name: Annotated[ResourceName, Meta(description="Name of the Secret.")]
    key: Annotated[
        str,
        Meta(min_length=1, max_length=253, pattern=KEY_PATTERN, description="Key within the Secret."),
    ]


class Credential(Declared, frozen=True):
    """Where the provider's key is."""

    secret_ref: Annotated[SecretRef, Meta(description="The Secret and the key within it.")]


class Cost(Declared, frozen=True):
    """Price in US dollars per million tokens, as decimal strings."""

    input_per_million: Annotated[Money, Meta(description="Dollars per million input tokens.")]
    output_per_million: Annotated[Money, Meta(description="Dollars per million output tokens.")] = Decimal(0)


class Prior(Declared, frozen=True):
    """What to believe of a target before the first observation."""

    ttft: Annotated[Duration | None, Meta(description="Expected time to first token.")] = None
    tokens_per_second: Annotated[
        Annotated[float, Meta(gt=0, le=100_000)] | None, Meta(description="Expected speed of generation.")
    ] = None


class Service(Declared, frozen=True):
    """A Service of the route's namespace; the operator makes a url of it."""

    name: Annotated[Name, Meta(description="Name of the Service.")]
    port: Annotated[Port, Meta(description="Number or name of the Service's port.")]
    scheme: Annotated[Literal["http", "https"], Meta(description="How to speak to it.")] = "http"
    path: Annotated[
        Annotated[str, Meta(min_length=1, max_length=512, pattern=PATH_PATTERN)],
        Meta(description="What the paths of the API stand below."),
    ] = "/v1"
    endpoints: Annotated[
        Endpoints,
        Meta(
            description=(
                "virtual: one target. each: a headless Service's addresses are targets of their own, named "
                "<target>-<address>, at most 64; they come and go with the name's DNS answer."
            )
        ),
    ] = "virtual"


class Target(Declared, frozen=True):
    """One place that can answer: provider + model + endpoint."""

    name: Annotated[Name, Meta(description="Unique within the route; appears in metrics and headers.")]
    provider: Annotated[Provider, Meta(description="Wire format and way of authentication.")]
    model: Annotated[ModelName, Meta(description="What the target calls the model (Azure: the deployment).")]
    url: Annotated[
        Url | None,
        Meta(
            description=(
                "Base URL, such as https://api.openai.com/v1. Default: the provider's own; required for "
                "azure-openai and openai-compatible, unless there is a service."
            )
        ),
    ] = None
    service: Annotated[Service | None, Meta(description="A Service of the cluster instead of a url.")] = None
    endpoints: Annotated[
        Endpoints,
        Meta(
            description=(
                "As service.endpoints, for a url: each makes every address that its host name has a target of its own."
            )
        ),
    ] = "virtual"
    credential: Annotated[
        Credential | None,
        Meta(
            description=(
                "Where the key is. Default: <PROVIDER>_API_KEY of the Secret llmroute-credentials (locally: "
                "of the environment); openai-compatible: none."
            )
        ),
    ] = None
    region: Annotated[Label | None, Meta(description="Where the target runs; constraints.regions selects on it.")] = (
        None
    )
    capabilities: Annotated[
        Annotated[tuple[Capability, ...], Meta(max_length=16, extra_json_schema=UNIQUE)] | None,
        Meta(description="What the target can do. Default: everything its wire format can express."),
    ] = None
    quality_tier: Annotated[Annotated[int, Meta(ge=1, le=5)], Meta(description="Quality from 1 to 5.")] = 3
    context_window: Annotated[
        Annotated[int, Meta(ge=1, le=100_000_000)] | None,
        Meta(description="Most tokens of prompt and answer together."),
    ] = None
    cost: Annotated[Cost | None, Meta(description="Price; unknown when absent.")] = None
    max_concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        Meta(
            description=(
                "Most requests in flight to the target (with endpoints: each, to each address) from one sidecar; "
                "more wait in a bounded queue."
            )
        ),
    ] = None
    max_output_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)],
        Meta(description="Anthropic's max_tokens when the caller gave none."),
    ] = 4096
    reasoning: Annotated[
        bool,
        Meta(
            description="The model thinks in silence before its first token: no adaptive timeout shortens firstToken."
        ),
    ] = False
    warm_connections: Annotated[
        Annotated[int, Meta(ge=0, le=64)],
        Meta(
            description=(
                "Ready connections kept open after the first use, so that a quiet pod pays no DNS, TCP and "
                "TLS in its TTFT."
            )
        ),
    ] = 1
    prior: Annotated[Prior | None, Meta(description="What to believe before the first observation.")] = None
    tenants: Annotated[
        Annotated[tuple[Label, ...], Meta(max_length=64, extra_json_schema=UNIQUE)] | None,
        Meta(description="Who may use the target. Default: all."),
    ] = None
    labels: Annotated[
        Annotated[dict[Label, Label], Meta(max_length=16)] | None,
        Meta(description="Free labels for constraints.require."),
    ] = None


class Weights(Declared, frozen=True):
    """How much latency, cost and quality count; normalised to a sum of 1."""

    latency: Annotated[Weight, Meta(description="Weight of the predicted latency.")] = 0.0
    cost: Annotated[Weight, Meta(description="Weight of the price.")] = 0.0
    quality: Annotated[Weight, Meta(description="Weight of the quality tier.")] = 0.0


class Objective(Declared, frozen=True):
    """What "best" means."""

    priority: Annotated[
        Literal["speed", "balanced", "cost", "quality"] | None,
        Meta(
            description=(
                "Ready-made weights: balanced is 0.4/0.3/0.3 of latency/cost/quality. Default: speed, or "
                "balanced where a target declares cost or quality."
            )
        ),
    ] = None
    weights: Annotated[Weights | None, Meta(description="Own weights instead of a priority.")] = None
    latency: Annotated[
        Literal["auto", "ttft", "total", "throughput"],
        Meta(
            description="Which latency: auto is TTFT for streams and total otherwise; throughput is tokens per second."
        ),
    ] = "auto"
    percentile: Annotated[
        Annotated[int, Meta(ge=1, le=99)],
        Meta(description="Percentile of the predicted latency that targets are compared by."),
    ] = 50


class Constraints(Declared, frozen=True):
    """Limits that a target must keep to be chosen."""

    max_ttft: Annotated[Duration | None, Meta(description="Largest predicted time to first token.")] = field(
        default=None, name="maxTTFT"
    )
    max_latency: Annotated[Duration | None, Meta(description="Largest predicted total time.")] = None
    min_quality_tier: Annotated[Annotated[int, Meta(ge=1, le=5)] | None, Meta(description="Least quality tier.")] = None
    max_cost_per_request: Annotated[
        Money | None, Meta(description="Most dollars that a request may be predicted to cost.")
    ] = None
    regions: Annotated[
        Annotated[tuple[Label, ...], Meta(max_length=32, extra_json_schema=UNIQUE)] | None,
        Meta(description="Regions that targets must be in."),
    ] = None
    require: Annotated[
        Annotated[dict[Label, Label], Meta(max_length=16)] | None,
        Meta(description="Labels that targets must have."),
    ] = None
    on_constraint: Annotated[
        Literal["relax", "reject"],
        Meta(
            description=(
                "When no target keeps the latency, cost and quality limits: use the best anyway, or answer "
                "503. Regions, labels and tenants are never relaxed."
            )
        ),
    ] = "relax"


class Timeouts(Declared, frozen=True):
    """Longest waits of one attempt."""

    connect: Annotated[Duration, Meta(description="DNS, TCP and TLS together.")] = Duration(2)
    first_token: Annotated[Duration, Meta(description="Streams: request written to first content.")] = Duration(30)
    between_tokens: Annotated[
        Duration, Meta(description="Streams: silence after first content; any byte resets it.")
    ] = Duration(120)
    total: Annotated[Duration, Meta(description="Non-streams to their end, streams to their first content.")] = (
        Duration(600)
    )


class Failover(Declared, frozen=True):
    """What happens when an attempt fails before the first content has reached the app."""

    max_attempts: Annotated[
        Annotated[int, Meta(ge=1, le=10)],
        Meta(description="Attempts a request may cause, the first included."),
    ] = 3
    timeouts: Annotated[Timeouts, Meta(description="Longest waits of one attempt.")] = Timeouts()


class Cache(Declared, frozen=True):
    """Exact-match cache of complete answers in the sidecar's memory. Off when absent."""

    ttl: Annotated[Duration, Meta(description="How long an answer may be served.")] = Duration(600)
    max_bytes: Annotated[
        Quantity,
        Meta(description="Bound of the route's cache in memory; the least recently used goes first."),
    ] = Quantity(64 * 1024**2)
    isolate_by: Annotated[
        Annotated[tuple[Literal["tenant", "credential"], ...], Meta(max_length=2, extra_json_schema=UNIQUE)],
        Meta(description="Callers that differ in these never share an answer."),
    ] = ("tenant", "credential")


class LLMRouteSpec(Declared, frozen=True):
    """What the route serves and how it chooses."""

    targets: Annotated[
        Annotated[tuple[Target, ...], Meta(min_length=1, max_length=200, extra_json_schema=UNIQUE_NAMES)],
        Meta(description="The places that can answer."),
    ]
    models: Annotated[
        Annotated[tuple[ModelName, ...], Meta(min_length=1, max_length=64, extra_json_schema=UNIQUE)] | None,
        Meta(description="Model names that apps may ask for. Default: the route's name."),
    ] = None
    workloads: Annotated[
        LabelSelector,
        Meta(
            description=(
                "Which injected pods of the namespace get the route, by their labels. Default: all. Not asked by "
                "`llmroute serve` with files."
            )
        ),
    ] = LabelSelector()
    objective: Annotated[Objective, Meta(description="What best means.")] = Objective()
    constraints: Annotated[Constraints, Meta(description="Limits that a target must keep.")] = Constraints()
    fallback_targets: Annotated[
        Annotated[tuple[Name, ...], Meta(max_length=200, extra_json_schema=ORDERED)],
        Meta(description="Targets outside the normal candidates, tried last, in this order."),
    ] = ()
    passthrough: Annotated[
        Name | None,
        Meta(description="Target that other /v1/* paths go to. Default: the first of the caller's dialect."),
    ] = None
    failover: Annotated[Failover, Meta(description="Attempts and timeouts.")] = Failover()
    cache: Annotated[Cache | None, Meta(description="Exact-match cache; off when absent.")] = None
    autoscaling: Annotated[
        Autoscaling | None, Meta(description="Replicas by load and latency, in a cluster; off when absent.")
    ] = None


class Metadata(Struct, frozen=True, kw_only=True):
    """The part of Kubernetes' ObjectMeta that we read; the rest is Kubernetes' own and ignored."""

    name: ResourceName
    namespace: Name = "default"
    uid: str = ""
    generation: int = 0


class LLMRoute(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One route: model names in, the fastest healthy target out."""

    api_version: Literal["llmroute.dev/v1alpha1"]
    kind: Literal["LLMRoute"]
    metadata: Metadata
    spec: LLMRouteSpec
    status: msgspec.Raw | None = None
    """Written by the operator; a file made by `kubectl get -o yaml` may carry it, and it is ignored."""

    @property
    def models(self) -> tuple[str, ...]:
        """Names that apps may ask for."""
        return self.spec.models or (self.metadata.name,)

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

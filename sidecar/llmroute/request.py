"""Immutable values that move during a request: what was asked, what may answer, what was chosen, what was learned.

No behaviour beyond derived properties, no I/O, no clock. Durations are seconds, instants are seconds on the
monotonic clock (`time.monotonic()`; uvloop's `loop.time()` is the same clock, but stands still within an
iteration and counts whole milliseconds).
"""

from enum import Enum, StrEnum

import msgspec

NOTHING_NEEDED: frozenset[str] = frozenset()


class Dialect(StrEnum):
    """A wire format."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class Operation(Enum):
    """What the app asks for: `(name in our metrics, path, dialect of the path, OpenTelemetry operation name)`."""

    CHAT = ("chat", "/v1/chat/completions", Dialect.OPENAI, "chat")
    COMPLETIONS = ("completions", "/v1/completions", Dialect.OPENAI, "text_completion")
    EMBEDDINGS = ("embeddings", "/v1/embeddings", Dialect.OPENAI, "embeddings")
    RESPONSES = ("responses", "/v1/responses", Dialect.OPENAI, "chat")
    MESSAGES = ("messages", "/v1/messages", Dialect.ANTHROPIC, "chat")
    COUNT_TOKENS = ("count_tokens", "/v1/messages/count_tokens", Dialect.ANTHROPIC, "count_tokens")

    def __init__(self, label: str, path: str, dialect: Dialect, otel_name: str) -> None:
        self.label = label
        self.path = path
        self.dialect = dialect
        self.otel_name = otel_name

    __hash__ = object.__hash__  # Enum's own is a Python function


class Wishes(msgspec.Struct, frozen=True):
    """What the app's `x-llmroute-*` headers ask for; None where it said nothing. Durations in seconds."""

    priority: str | None = None
    objective: str | None = None
    max_latency: float | None = None
    max_ttft: float | None = None
    min_quality: int | None = None
    expected_tokens: int | None = None
    tenant: str | None = None
    target: str | None = None
    no_store: bool = False
    refresh: bool = False
    dry_run: bool = False


NO_WISHES = Wishes()


class Peek(msgspec.Struct, frozen=True):
    """What routing needs to know of a body; the rest of the body stays as it came.

    `fields` are the body's top-level members in their order, values undecoded.
    `needs` names capabilities that a target must have: tools, vision, json, audio, ...
    `stateful`: the answer depends on state at one provider (previous_response_id, background, server-side tools).
    """

    model: str
    stream: bool
    fields: dict[str, msgspec.Raw]
    prompt_tokens: int
    max_output_tokens: int | None = None
    needs: frozenset[str] = NOTHING_NEEDED
    stateful: bool = False
    include_usage: bool = False
    model_at: int = 0
    """Offset of the value of `model` in the body."""


class InferenceRequest(msgspec.Struct, frozen=True):
    """One request of the app, once its header, path and body have been understood."""

    id: str
    operation: Operation
    peek: Peek
    body: bytes
    wishes: Wishes
    arrived: float
    deadline: float | None = None
    created: int = 0
    """Unix time in whole seconds: what a translated answer says where its target did not say when it was made."""
    credential_hash: bytes = b""
    """Of the credential that the app sent; empty where nothing needs to tell callers apart."""
    headers: bytes = b""
    """Header lines of the app that go to any target: `name: value\\r\\n` each, names in lower case."""
    dialect_headers: bytes = b""
    """Header lines that only a target of the same dialect understands: anthropic-*, openai-beta."""

    @property
    def stream(self) -> bool:
        """Whether the app asked for a stream."""
        return self.peek.stream


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the provider billed them. `input` includes cached ones. Zero is a number that was reported."""

    input: int
    output: int
    cached_input: int = 0
    cache_written: int = 0


_BLAMELESS = frozenset({"ok", "client-error", "context-too-long", "cancelled"})


class Outcome(StrEnum):
    """How an attempt ended; a metric label and a word of `x-llmroute-attempts`.

    What is asked of it for each request stands in plain attributes: `.value` is a Python function, and to reach
    `Outcome.OK` takes ten times as long as to reach a name of a module.
    """

    OK = "ok"
    CONNECT_FAILED = "connect-failed"
    CONNECT_TIMEOUT = "connect-timeout"
    FIRST_TOKEN_TIMEOUT = "first-token-timeout"
    BETWEEN_TOKENS_TIMEOUT = "between-tokens-timeout"
    TOTAL_TIMEOUT = "total-timeout"
    RATE_LIMITED = "rate-limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server-error"
    AUTHENTICATION = "authentication"
    BILLING = "billing"
    MODEL_NOT_FOUND = "model-not-found"
    CONTEXT_TOO_LONG = "context-too-long"
    CLIENT_ERROR = "client-error"
    BROKEN = "broken"
    CREDENTIAL_MISSING = "credential-missing"
    CANCELLED = "cancelled"

    def __init__(self, word: str) -> None:
        self.word = word
        self.is_ok = word == "ok"
        self.is_failure = word not in _BLAMELESS
        """Whether the target is to blame (the app's own errors and cancellations are not failures)."""


class Timings(msgspec.Struct, frozen=True):
    """The parts of one attempt's latency, in seconds; None for a part that was not reached.

    `queue`: waiting in the sidecar for a slot. `connect`: DNS + TCP + TLS, 0 on a ready connection.
    `headers`, `ttft`, `total` run from the request written. `generation`: first content to the end, without
    the time that the app's back-pressure took.
    """

    queue: float = 0.0
    connect: float = 0.0
    headers: float | None = None
    ttft: float | None = None
    generation: float | None = None
    total: float | None = None


class FirstContent(msgspec.Struct, frozen=True):
    """An attempt's first content arrived; at most one an attempt."""

    target: str
    operation: Operation
    stream: bool
    prompt_tokens: int
    ttft: float
    at: float


class Observation(msgspec.Struct, frozen=True):
    """What an attempt taught us: exactly one an attempt, at its end, cancelled ones included."""

    target: str
    operation: Operation
    stream: bool
    prompt_tokens: int
    outcome: Outcome
    timings: Timings
    at: float
    usage: Usage | None = None
    output_tokens: int = 0
    """From `usage` where the provider gave it, else counted content frames."""
    waited: float = 0.0
    """Seconds from the request written to the end of the attempt, whatever the outcome: censored evidence."""
    retry_after: float | None = None
    status: int = 0
    refused: bool = False
    """The target's own words named key, billing or model: no attempt can succeed until somebody mends that."""


class Estimate(msgspec.Struct, frozen=True):
    """Predicted seconds of a target for one request, at the route's percentile; `samples` is the evidence's weight."""

    ttft: float
    total: float
    tokens_per_second: float
    samples: float


class Considered(msgspec.Struct, frozen=True):
    """One target in a decision's explanation: why it was dropped, or how it scored."""

    target: str
    dropped_by: str | None = None
    estimate: Estimate | None = None
    score: float | None = None


class Decision(msgspec.Struct, frozen=True):
    """Which target, and why. `reason` is short and goes into a header and a metric label."""

    target: str
    reason: str
    considered: tuple[Considered, ...] = ()


class RequestEnded(msgspec.Struct, frozen=True):
    """One request of the app, at its end: what telemetry counts and the access log says. Durations in seconds."""

    id: str
    at: float
    total: float
    status: int
    """HTTP status that the app got; 499 if it hung up."""
    route: str = ""
    model: str = ""
    operation: Operation | None = None
    stream: bool = False
    target: str = ""
    reason: str = ""
    attempts: str = ""
    error: str = ""
    """Code of the error tree, empty for an answer."""
    cache: str = ""
    """hit, miss or coalesced; empty where the route has no cache."""
    ttft: float | None = None
    overhead: float | None = None
    usage: Usage | None = None
    saved: int = 0
    """Tokens that no target had to be asked for, since the cache had the answer."""

"""What a simulated fleet is: the types of the YAML file, strict, frozen; and the one function that reads it.

All times are durations (`400ms`, `2s`, or a plain number of seconds); windows `t0`..`t1` count from the
start of the fleet.
"""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml
from msgspec import Meta, Struct

from llmroute.errors import ConfigError

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s)){1,4}")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

Factor = Annotated[float, Meta(gt=0, le=10_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Sigma = Annotated[float, Meta(ge=0, le=4)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]
Dialect = Literal["openai", "anthropic"]
_Declaration = TypeVar("_Declaration")


class Duration(float):
    """Seconds; written as `500ms`, `2s`, `1m30s` or as a number of seconds."""

    @classmethod
    def parse(cls, value: object) -> "Duration":
        """Raises ValueError for anything but the written forms."""
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        if isinstance(value, str) and _DURATION.fullmatch(value):
            return cls(sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(value)))
        raise ValueError(f"expected a duration such as 500ms, 2s or 1m30s, got {value!r}")


class Declared(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What all declared types share: frozen, camelCase in YAML, and strict."""


class Ttft(Declared, frozen=True, kw_only=True):
    """Time to first token: (median + perThousandTokens x prompt / 1000) x LogN(0, sigma)."""

    median: Duration = Duration(0)
    per_thousand_tokens: Duration = Duration(0)
    sigma: Sigma = 0.0


class Speed(Declared, frozen=True, kw_only=True):
    """Tokens per second: median x LogN(0, sigma)."""

    median: Annotated[float, Meta(gt=0, le=1_000_000)]
    sigma: Sigma = 0.0


class Length(Declared, frozen=True, kw_only=True):
    """Length of an answer in tokens: median x LogN(0, sigma), at least 1, at most what the request allows."""

    median: Annotated[int, Meta(ge=1, le=1_000_000)] = 32
    sigma: Sigma = 0.0


class Batch(Declared, frozen=True, kw_only=True):
    """A self-hosted engine: `slots` requests share it, the rest wait in a FIFO queue.

    Each request is served at tokensPerSecond / (1 + (n - 1) / knee) while n are; its first token comes after
    (baseWork + prefillWorkPerToken x prompt) x LogN(0, sigma) token-units of service.
    """

    slots: Annotated[int, Meta(ge=1, le=10_000)]
    knee: Annotated[float, Meta(gt=0, le=10_000)] = 16.0
    base_work: Annotated[float, Meta(ge=0, le=10_000)] = 3.0
    prefill_work_per_token: Annotated[float, Meta(ge=0, le=100)] = 0.008
    sigma: Sigma = 0.0


class RateLimit(Declared, frozen=True, kw_only=True):
    """A token bucket; beyond it 429, with Retry-After in one of its three forms or without."""

    rps: Annotated[float, Meta(gt=0, le=1_000_000)]
    burst: Annotated[float, Meta(ge=1, le=1_000_000)] = 1.0
    retry_after: Duration | None = None
    retry_after_form: Literal["seconds", "date", "milliseconds"] = "seconds"


class Reasoning(Declared, frozen=True, kw_only=True):
    """Tokens thought before the answer. Shown as `reasoning_content` (OpenAI dialect), or silent and only counted.

    The Anthropic dialect shows them as thinking blocks when the request asks for thinking, and else does not think.
    """

    tokens: Annotated[int, Meta(ge=1, le=1_000_000)] = 16
    shown: bool = True


class Window(Declared, frozen=True, kw_only=True):
    """From t0 until t1, counted from the start of the fleet (through the control endpoint: from now)."""

    t0: Duration = Duration(0)
    t1: Duration | None = None


class Step(Window, frozen=True, kw_only=True, tag_field="type", tag="step"):
    """Latency x factor in the window, for a share of the requests; `slotsFactor` scales the batch slots."""

    factor: Factor = 1.0
    share: Share = 1.0
    slots_factor: Factor = 1.0


class Ramp(Declared, frozen=True, kw_only=True, tag_field="type", tag="ramp"):
    """Latency x factor ** clamp((t - t0) / (t1 - t0)): grows until t1 and stays."""

    t0: Duration = Duration(0)
    t1: Duration
    factor: Factor


class Sine(Declared, frozen=True, kw_only=True, tag_field="type", tag="sine"):
    """Latency x exp(logAmplitude x sin(2 pi (t / period + phase)))."""

    period: Duration
    log_amplitude: Annotated[float, Meta(ge=0, le=5)]
    phase: float = 0.0


class Flap(Window, frozen=True, kw_only=True, tag_field="type", tag="flap"):
    """Latency x factor while ((t - t0) mod period) < duty x period, in the window."""

    period: Duration
    duty: Share = 0.5
    factor: Factor


Shift = Step | Ramp | Sine | Flap


class Refused(Window, frozen=True, kw_only=True, tag_field="type", tag="refused"):
    """The listener is closed and idle connections with it. `kill` resets those in use too, as a crash would."""

    kill: bool = False


class Chance(Window, frozen=True, kw_only=True):
    """A fault of single requests: each request in the window is hit with this probability."""

    probability: Share = 1.0


class BlackHole(Chance, frozen=True, kw_only=True, tag_field="type", tag="black-hole"):
    """Takes the request and never answers."""


class Reset(Chance, frozen=True, kw_only=True, tag_field="type", tag="reset"):
    """RST: before any byte of the answer, or after so many tokens (0: after the head of a stream)."""

    after_tokens: Count | None = None


class Status(Chance, frozen=True, kw_only=True, tag_field="type", tag="status"):
    """An error status with the body that the dialect gives it."""

    status: Annotated[int, Meta(ge=400, le=599)]
    delay: Duration = Duration(0)
    message: str | None = None
    retry_after: Duration | None = None
    retry_after_form: Literal["seconds", "date", "milliseconds"] = "seconds"


class CreditTooLow(Chance, frozen=True, kw_only=True, tag_field="type", tag="credit-too-low"):
    """The account has no money left: 400 in the Anthropic dialect, 429 insufficient_quota in OpenAI's."""


class ContextTooLong(Chance, frozen=True, kw_only=True, tag_field="type", tag="context-too-long"):
    """400: the prompt is longer than the model's context."""


class ErrorEvent(Chance, frozen=True, kw_only=True, tag_field="type", tag="error-event"):
    """An error event inside a 200 stream, after so many tokens; an error body inside a 200 for a non-stream."""

    after_tokens: Count = 0
    status: Annotated[int, Meta(ge=400, le=599)] = 500


class Stall(Chance, frozen=True, kw_only=True, tag_field="type", tag="stall"):
    """Silence after so many tokens (non-streams: half-way through the body), the connection stays open."""

    after_tokens: Count = 1


class Truncate(Chance, frozen=True, kw_only=True, tag_field="type", tag="truncate"):
    """The answer ends after so many tokens (non-streams: half-way) without its end mark.

    `clean` ends the HTTP message properly, so that only the missing [DONE] or message_stop tells.
    """

    after_tokens: Count = 1
    clean: bool = False


class Malformed(Chance, frozen=True, kw_only=True, tag_field="type", tag="malformed"):
    """Invalid JSON: one frame of a stream after so many tokens, or the whole body."""

    after_tokens: Count = 0


class Drip(Chance, frozen=True, kw_only=True, tag_field="type", tag="drip"):
    """The bytes of the answer trickle: so many bytes each interval."""

    bytes: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    interval: Duration = Duration(0.01)


Fault = (
    Refused
    | BlackHole
    | Reset
    | Status
    | CreditTooLow
    | ContextTooLong
    | ErrorEvent
    | Stall
    | Truncate
    | Malformed
    | Drip
)


class ProviderSpec(Declared, frozen=True, kw_only=True):
    """One simulated provider: an address, a dialect, a temper."""

    name: Annotated[str, Meta(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    dialect: Dialect = "openai"
    host: Annotated[str, Meta(min_length=1, max_length=253)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    models: Annotated[tuple[str, ...], Meta(max_length=64)] | None = None
    """The only models known, listed by GET /models. Default: every model is."""
    api_key: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    """The key that requests must carry; 401 otherwise. Default: none is asked for."""
    round_trip: Duration = Duration(0)
    ttft: Ttft = Ttft()
    tokens_per_second: Speed | None = None
    """Default: all tokens are there at once."""
    output_tokens: Length = Length()
    reasoning: Reasoning | None = None
    cached_share: Share = 0.0
    """Share of the prompt's tokens reported as read from the provider's cache."""
    context_window: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    batch: Batch | None = None
    rate_limit: RateLimit | None = None
    early_opening: bool = False
    """The head and the opening events of a stream are sent on arrival, long before the first token."""
    appears_at: Duration = Duration(0)
    """Connections are refused before."""
    shifts: Annotated[tuple[Shift, ...], Meta(max_length=64)] = ()
    faults: Annotated[tuple[Fault, ...], Meta(max_length=64)] = ()


class FleetSpec(Declared, frozen=True, kw_only=True):
    """The file: all providers of a fleet and the seed of all that is random."""

    seed: int = 0
    providers: Annotated[tuple[ProviderSpec, ...], Meta(min_length=1, max_length=200)]


def load(text: str, where: str = "") -> FleetSpec:
    """Reads a fleet from YAML. Raises ConfigError with the line or the field's path; `where` is the file's name."""
    try:
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"not YAML: {error.problem}", where=f"{where}{line}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=where) from error
    spec = convert(document, FleetSpec, where)
    _check(spec, where)
    return spec


def convert(document: object, kind: type[_Declaration], where: str = "") -> _Declaration:
    """Turns plain values into a declared type. Raises ConfigError that names the field."""
    try:
        return msgspec.convert(document, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise ConfigError(message, where=_join(where, path.rstrip("`").lstrip("."))) from error


def _decode(kind: type, value: Any) -> Any:
    if kind is Duration:
        return Duration.parse(value)
    raise NotImplementedError(kind)


def _join(where: str, path: str) -> str:
    return f"{where}: {path}" if where and path else where or path


def _check(spec: FleetSpec, where: str) -> None:
    names: set[str] = set()
    ports: set[tuple[str, int]] = set()
    for number, provider in enumerate(spec.providers):
        path = f"providers[{number}]"
        if provider.name in names:
            raise ConfigError(f"another provider is called {provider.name!r}", where=_join(where, f"{path}.name"))
        if provider.port and (provider.host, provider.port) in ports:
            raise ConfigError("another provider has this port", where=_join(where, f"{path}.port"))
        names.add(provider.name)
        ports.add((provider.host, provider.port))
        if provider.batch is None:
            continue
        if provider.tokens_per_second is None:
            raise ConfigError("a batch needs tokensPerSecond", where=_join(where, path))
        if provider.ttft != Ttft():
            raise ConfigError("a batch has its TTFT from its work, not from ttft", where=_join(where, f"{path}.ttft"))
        for position, shift in enumerate(provider.shifts):
            if isinstance(shift, Step) and shift.share < 1:
                raise ConfigError(
                    "a batch slows down as a whole: share must be 1",
                    where=_join(where, f"{path}.shifts[{position}].share"),
                )

"""One target that can be called, and what was learned of it."""

from llmroute import dialects
from llmroute.credentials import Credential
from llmroute.health import Health
from llmroute.latency import Latency, Lengths, Window
from llmroute.learning import Tally
from llmroute.request import InferenceRequest
from llmroute.routing import Candidate
from llmroute.slots import Line, Slots
from llmroute.spec import Target
from llmroute.upstream import Origin, Pool, build_head
from llmroute.watch import Watch

IDENTITY = (("accept-encoding", "identity"),)


class Learned:
    """What attempts taught us about one target, and what is in flight to it; outlives reloads."""

    __slots__ = ("credential", "health", "latency", "slots", "tally", "window")

    def __init__(self, name: str, line: Line) -> None:
        self.latency = Latency(None, None)
        self.health = Health(name)
        self.credential: Credential | None = None
        """The one that it was learned with last."""
        self.window = Window()
        self.slots = Slots(line)
        self.tally = Tally()


class LiveTarget:
    """A target ready to be called: its pool, its request heads, its key, and what was learned of it."""

    __slots__ = (
        "_always",
        "_heads",
        "_host",
        "_url",
        "candidate",
        "credential",
        "learned",
        "lengths",
        "name",
        "pool",
        "profile",
        "route",
        "slots",
        "spec",
        "watch",
    )

    def __init__(self, route: str, spec: Target, credential: Credential, learned: Learned, pool: Pool) -> None:
        self.route = route
        self.name = spec.name
        self.spec = spec
        self.profile = dialects.profile_for(spec.provider, spec.url)
        self.credential = credential
        self.learned = learned
        self.lengths = Lengths()
        """Shared by the targets of a route, which sets it."""
        self.slots = learned.slots
        self.pool = pool
        self.watch = Watch()
        """Ends attempts that take too long."""
        self.candidate = Candidate(spec, learned.latency, learned.health, learned.slots)
        self.candidate.missing_key = credential.missing
        self._url = spec.url or self.profile.default_url or ""
        self._host = Origin.of(self._url).authority
        self._heads: dict[str, bytes] = {}
        self._always = [(f"{n}: ".encode(), f"{n}: {v}\r\n".encode()) for n, v in self.profile.always]

    def take_over(self, now: float) -> None:
        """This target serves from now on: its bounds, priors and key hold for what it shares with the one before."""
        prior, learned = self.spec.prior, self.learned
        learned.latency.declare(prior.ttft if prior else None, prior.tokens_per_second if prior else None)
        if learned.credential is not None and not learned.credential.says_the_same_as(self.credential):
            learned.health.reprieve(now)
        learned.credential = self.credential
        self.slots.limit = self.spec.max_concurrency
        self.slots.wake()
        self.pool.warm = max(self.pool.warm, self.spec.warm_connections)

    def head(self, request: InferenceRequest) -> bytes:
        """The request head, as `Pool.send` wants it. Raises CredentialMissing."""
        operation = request.operation
        head = self._heads.get(operation.label)
        if head is None:
            path = dialects.url_path(self.profile, self._url, self.spec.model, operation)
            head = build_head("POST", path, self._host, (("content-type", "application/json"), *IDENTITY))
            self._heads[operation.label] = head = head + self.credential.line
        extra = request.headers
        if operation.dialect is self.profile.dialect:
            extra += request.dialect_headers
        for name, line in self._always:
            if name not in extra:
                extra += line
        return head + extra

    def passthrough_head(self, method: str, path: str, headers: bytes) -> bytes:
        """The request head of another `/v1/*` path; `headers` are whole lines."""
        path = dialects.passthrough_path(self.profile, self._url, path)
        head = build_head(method, path, self._host, IDENTITY) + self.credential.line
        return head + headers

    def refresh_credential(self, now: float) -> bool:
        """Read the key again; True if it changed. A new key ends an ejection for the old one."""
        changed = self.credential.refresh()
        self.candidate.missing_key = self.credential.missing
        if changed:
            self._heads.clear()
            self.learned.health.reprieve(now)
        return changed

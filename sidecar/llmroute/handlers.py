"""One request of an app, from its head to its last byte: a table of contents of the data path."""

import asyncio
import logging
from collections.abc import Coroutine
from itertools import count
from random import Random
from time import monotonic, time  # noqa: TID251 - OpenAI answers say in wall time when they were made
from typing import Any

import msgspec

from llmroute import dialects, passthrough
from llmroute.admission import Gate, Head, read_body, require_json, take_body
from llmroute.attempts import Attempts
from llmroute.buffers import BufferBudget, Share
from llmroute.cache import Entry
from llmroute.cached import CachedVisit
from llmroute.errors import Internal, MethodNotAllowed, NotFound, Rejected, RequestError
from llmroute.exchange import Exchange
from llmroute.health import RetryBudget
from llmroute.inbound import Arrival
from llmroute.learning import Learner
from llmroute.lines import for_what_is_asked_ahead, identified, line, measured, refused, routed, upstream_lines
from llmroute.relay import EVENT_STREAM, JSON, OWN_ERROR, Audience, Relay, send_bodiless, send_whole
from llmroute.reload import Cell
from llmroute.request import Dialect, InferenceRequest, Operation, RequestEnded, Usage
from llmroute.routing import choose, explain
from llmroute.runtime import LiveRoute
from llmroute.settings import Settings
from llmroute.telemetry import Telemetry

_OPENAI, _ANTHROPIC, _COUNT_TOKENS = Dialect.OPENAI, Dialect.ANTHROPIC, Operation.COUNT_TOKENS
OPERATIONS = {path: operation for operation in Operation for path in (operation.path, operation.path + "/")}
MODELS = "/v1/models"
HUNG_UP = 499
_NOTHING_SAID = Head()
_NOBODY = ("", "")

log = logging.getLogger("llmroute")


class Proxy:
    """What all requests share."""

    def __init__(self, settings: Settings, cell: Cell, learner: Learner, telemetry: Telemetry, rng: Random) -> None:
        self.settings = settings
        self.cell = cell
        self.learner = learner
        self.telemetry = telemetry
        self.rng = rng
        self.gate = Gate(settings)
        self.buffers = BufferBudget(settings.max_buffer)
        self.retries = RetryBudget()
        self._ids = count(rng.getrandbits(127))

    def new_id(self) -> str:
        """A request id: 32 hexadecimal digits, from a random beginning upwards."""
        return next(self._ids).to_bytes(16, "big").hex()

    def refused(self, status: int, code: str, seconds: float) -> str:
        """What could not be read as a request counts as one as well; see inbound.Refused."""
        name = self.new_id()
        self.telemetry.request_ended(RequestEnded(id=name, at=monotonic(), total=seconds, status=status, error=code))
        return name

    def handle(self, arrival: Arrival) -> Coroutine[Any, Any, None]:
        """The server's entry: one Visit per request."""
        return Visit(self, arrival).answer()


class Visit:
    """One request of an app. `answer()` is the way through; everything else is a stage of it."""

    __slots__ = (
        "_arrived",
        "_by",
        "_dialect",
        "_error",
        "_head",
        "_id",
        "_operation",
        "_overhead",
        "_proxy",
        "_route",
        "_saved",
        "_status",
        "_upload",
        "_wanted",
        "arrival",
        "attempts",
        "cache",
        "share",
    )

    def __init__(self, proxy: Proxy, arrival: Arrival) -> None:
        self._proxy = proxy
        self.arrival = arrival
        self._arrived = monotonic()
        self._head = _NOTHING_SAID
        self._id = ""
        self._operation: Operation | None = None
        self._dialect = _OPENAI
        self._route: LiveRoute | None = None
        self._wanted: InferenceRequest | None = None
        self.attempts: Attempts | None = None
        """The attempts at targets, once there are any."""
        self.share = Share(proxy.buffers)
        """What this request has taken of the buffers."""
        self._upload = 0.0
        self._overhead: float | None = None
        self.cache = ""
        """What the cache had to say: hit, miss or coalesced."""
        self._saved = 0
        self._by = _NOBODY
        self._error = ""
        self._status = 200

    async def answer(self) -> None:
        """Every way out of a request passes here, so that it is counted once and gives its bytes back."""
        try:
            try:
                work = self._dispatch()
                if work is not None:
                    await work
            except RequestError as error:
                self._refuse(error)
            except (ConnectionError, asyncio.CancelledError):
                raise
            except Exception:
                log.exception("request %s failed in the sidecar itself", self._id)
                if self.attempts is not None:
                    self.attempts.give_up()
                self._refuse(Internal(OWN_ERROR))
            if self.arrival.connection.full:
                await self.arrival.drained()
        except BaseException:
            self._status = HUNG_UP
            raise
        finally:
            self.share.give_all()
            self._proxy.telemetry.request_ended(self._ended())

    def _dispatch(self) -> Coroutine[Any, Any, None] | None:
        """What is to be awaited; None if the answer is written."""
        arrival, proxy = self.arrival, self._proxy
        opening = arrival.opening
        path = opening.path
        self._operation = operation = OPERATIONS.get(path)
        if operation is not None:
            self._dialect = operation.dialect
        self._head = head = opening.head or proxy.gate.admit(opening)
        self._id = head.request_id or proxy.new_id()
        if operation is not None and opening.method == "POST":
            return self._infer(operation)
        if head.asks_ahead and head.origin and opening.method == "OPTIONS":
            self._status = 204
            send_bodiless(arrival, 204, JSON, for_what_is_asked_ahead(head.asks_headers))
            return None
        if operation is not None:
            raise MethodNotAllowed(f"{path} takes POST, not {opening.method}")
        if head.speaks_anthropic:
            self._dialect = _ANTHROPIC
        if path == MODELS or path.startswith(MODELS + "/"):
            self._models(path)
            return None
        if path.startswith("/v1/"):
            return self._pass_through()
        raise NotFound(f"unknown path {path[:200]!r}; the API is below /v1/")

    async def _infer(self, operation: Operation) -> None:
        """Understand the request, then answer it from the cache or from a target."""
        proxy, head, settings = self._proxy, self._head, self._proxy.settings
        require_json(head.content_type)
        arrival, share = self.arrival, self.share
        if arrival.body is None:
            body = take_body(arrival.whole, settings.max_body, share)
        else:
            reading = monotonic()
            body = await read_body(arrival, arrival.body, settings, share)
            self._upload = monotonic() - reading
        peek = dialects.peek(operation, body)
        self._route = route = proxy.cell.runtime.route_for(peek.model)
        wishes = head.wishes
        self._wanted = wanted = InferenceRequest(
            id=self._id,
            operation=operation,
            peek=peek,
            body=body,
            wishes=wishes,
            arrived=self._arrived,
            deadline=None if wishes.max_latency is None else self._arrived + wishes.max_latency,
            created=int(time()),
            credential_hash=head.credential_hash() if route.cache is not None else b"",
            headers=head.forward,
            dialect_headers=head.dialect,
        )
        if wishes.dry_run:
            return self._explain(wanted, route)
        if operation is _COUNT_TOKENS and not route.speaks(_ANTHROPIC):
            estimate = dialects.estimate_input_tokens(wanted)
            return self._send(200, JSON, line(b"x-llmroute-estimate", b"true"), estimate)
        if route.cache is not None and not peek.stateful and operation is not _COUNT_TOKENS:
            return await CachedVisit(self, wanted, route, route.cache).answer()
        return await self.from_target(wanted, route)

    async def from_target(self, wanted: InferenceRequest, route: LiveRoute, audience: Audience | None = None) -> None:
        """Answer from the best target, to the app and to an audience."""
        proxy = self._proxy
        self.attempts = attempts = Attempts(wanted, route, proxy.learner, proxy.retries, self.share, proxy.rng)
        try:
            first = await attempts.begin()
        except Rejected as error:
            if not attempts.is_apps_own(error):
                raise
            return self._hand_back(error, attempts.committed)
        exchange = attempts.committed
        made = dialects.answer_id(wanted, first)
        if made is not None:
            route.owners.note(made, exchange.target.name)
        headers = self._headers(exchange)
        if exchange.complete and not wanted.stream:
            if audience is not None:
                audience.take(first)
            return self._send(200, JSON, headers, first)
        content_type = EVENT_STREAM if wanted.stream else JSON
        return await Relay(self.arrival, exchange, audience).run(content_type, headers, first)

    def _headers(self, exchange: Exchange) -> bytes:
        """Our own header lines and those of the target that the app may see."""
        attempts, response = self.attempts, exchange.response
        assert attempts is not None and attempts.decision is not None and response is not None
        waited = response.last_byte_at - response.written_at + exchange.queued + response.connect + self._upload
        for failed in attempts.failed:
            waited += failed.elapsed
        self._overhead = overhead = max(0.0, monotonic() - self._arrived - waited)
        target, reason = exchange.target, attempts.decision.reason
        by_target = target.profile.dialect is _ANTHROPIC  # its answers carry a request-id themselves
        return b"%b%b%b%b" % (
            identified(self._id, self._dialect, by_target),
            routed(target.name, reason, attempts.trail),
            measured(overhead, self.cache),
            upstream_lines(response.headers),
        )

    def from_cache(self, entry: Entry, body: bytes, how: str) -> None:
        """Serve a kept answer; `body` is what the app gets of it."""
        wanted = self._wanted
        assert wanted is not None
        self.cache = how
        self._saved = entry.usage.input + entry.usage.output if entry.usage is not None else 0
        self._by = by = (entry.target, "cache")
        self._overhead = max(0.0, monotonic() - self._arrived - self._upload)
        headers = identified(self._id, self._dialect) + routed(*by) + measured(self._overhead, how)
        return self._send(200, EVENT_STREAM if wanted.stream else JSON, headers, body)

    def _hand_back(self, error: Rejected, exchange: Exchange) -> None:
        """The target's verdict on the app's own request: unchanged, or in the app's dialect."""
        body = dialects.translate_error(self._dialect, exchange.target.profile, error.upstream_status, error.body)
        headers = self._headers(exchange) + b"x-should-retry: false\r\n"
        return self._send(error.upstream_status or 400, JSON, headers, body)

    def _explain(self, wanted: InferenceRequest, route: LiveRoute) -> None:
        """`x-llmroute-dry-run`: the decision in full, and nothing sent to a target."""
        proxy = self._proxy
        ask, now = route.ask_in_full(wanted), monotonic()
        decision = choose(route.candidates, ask, now, proxy.rng)
        explained = msgspec.structs.replace(decision, considered=explain(route.candidates, ask, now))
        return self._send(200, JSON, line(b"x-request-id", self._id.encode()), msgspec.json.encode(explained))

    def _models(self, path: str) -> None:
        method = self.arrival.opening.method
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"{path} takes GET, not {method}")
        runtime = self._proxy.cell.runtime
        if path == MODELS:
            body = dialects.model_list(self._dialect, sorted(runtime.models))
        else:
            name = path[len(MODELS) + 1 :]
            runtime.route_for(name)
            body = dialects.model_entry(self._dialect, name)
        return self._send(200, JSON, identified(self._id, self._dialect), body)

    async def _pass_through(self) -> None:
        """Other paths of the API: streamed unmodified to one target, without retry, cache or learning."""
        runtime, path = self._proxy.cell.runtime, self.arrival.opening.path
        self._route, target = passthrough.choose_target(runtime, self._dialect, path, self._head.wishes)
        self._by = by = (target.name, "passthrough")
        own = identified(self._id, self._dialect, target.profile.dialect is _ANTHROPIC) + routed(*by)
        settings = self._proxy.settings
        self._status = await passthrough.relay(self.arrival, self._head, own, target, self._route, settings)

    def _send(self, status: int, content_type: bytes, headers: bytes, body: bytes) -> None:
        self._status = status
        send_whole(self.arrival, status, content_type, headers, body)

    def _refuse(self, error: RequestError) -> None:
        """An error made by us: marked as such, in the caller's dialect, and not to be retried by the SDK, because
        what could be retried has been. An answer that has begun is cut instead: the connection closes without its
        last chunk."""
        self._error = error.code
        arrival = self.arrival
        if arrival.begun:
            self._status, arrival.stays = arrival.begun, False
            return
        self._id = self._id or self._proxy.new_id()
        self._status = status = 429 if isinstance(error, Rejected) and error.upstream_status == 429 else error.status
        trail = self.attempts.trail if self.attempts is not None and self.attempts.failed else ""
        allow = "POST" if self._operation is not None else "GET, HEAD"
        headers = refused(error, trail, allow if isinstance(error, MethodNotAllowed) else "")
        body = dialects.error_body(self._dialect, error)
        send_whole(arrival, status, JSON, identified(self._id, self._dialect) + headers, body)

    def _ended(self) -> RequestEnded:
        """For telemetry; without what only the access log tells if there is none."""
        wanted, attempts, now = self._wanted, self.attempts, monotonic()
        (target, reason), trail = self._by, ""
        ttft: float | None = None
        usage: Usage | None = None
        error = self._error
        exchange = attempts.exchange if attempts is not None else None
        if attempts is not None and exchange is not None and attempts.decision is not None:
            first_at, observation = exchange.first_content_at, exchange.observation
            if first_at is not None:
                ttft = first_at - self._arrived
            if observation is not None and not error and observation.outcome.is_failure:
                error = observation.outcome.word  # broken after its commit point
            if self._proxy.settings.access_log:
                target, reason, trail = exchange.target.name, attempts.decision.reason, attempts.trail
                usage = observation.usage if observation is not None else None
        # By position: CPython makes a dict for calls with more than fifteen keywords, and each one costs its share.
        return RequestEnded(
            self._id,
            now,
            now - self._arrived,
            self._status,
            self._route.key if self._route is not None else "",
            wanted.peek.model if wanted is not None else "",
            self._operation,
            wanted is not None and wanted.peek.stream,
            target,
            reason,
            trail,
            error,
            self.cache,
            ttft,
            self._overhead,
            usage,
            self._saved,
        )

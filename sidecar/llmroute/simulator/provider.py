"""One simulated provider: takes requests, decides what becomes of each, and lets the answer be played."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from llmroute.simulator import anthropic, faults, openai
from llmroute.simulator.answers import BadAsk, Problem
from llmroute.simulator.capacity import Bucket, Engine
from llmroute.simulator.connection import KEPT_BODY, Connection, Headers, Request
from llmroute.simulator.draws import Draw, lognormal
from llmroute.simulator.pace import FreePace, Pace, SharedEngine
from llmroute.simulator.play import Stream, play_whole, silence
from llmroute.simulator.records import Records
from llmroute.simulator.spec import BlackHole, Fault, ProviderSpec, Reset, Status
from llmroute.simulator.temper import Temper
from llmroute.simulator.wire import Outcome, Wire

_WIRES: dict[str, Wire] = {"openai": openai.WIRE, "anthropic": anthropic.WIRE}


class Provider:
    """The Handler of all connections of one provider. `temper` says what its state is at a moment."""

    def __init__(self, spec: ProviderSpec, seed: int, temper: Temper, loop: asyncio.AbstractEventLoop) -> None:
        self.spec = spec
        self.records = Records()
        self.connections: set[Connection] = set()
        self._temper = temper
        self._seed = seed
        self._loop = loop
        self._wire = _WIRES[spec.dialect]
        self._bucket = Bucket(spec.rate_limit, loop.time()) if spec.rate_limit is not None else None
        self._engine: SharedEngine | None = None
        if spec.batch is not None and spec.tokens_per_second is not None:
            engine = Engine(spec.batch, spec.tokens_per_second.median, loop.time())
            self._engine = SharedEngine(loop, engine, self._engine_factors)

    # Handler of connections.

    def opened(self, connection: Connection) -> None:
        """Part of Handler."""
        self.connections.add(connection)
        self.records.stats.connections_opened += 1
        self.records.stats.connections_open += 1

    def closed(self, connection: Connection) -> None:
        """Part of Handler."""
        self.connections.discard(connection)
        self.records.stats.connections_open -= 1

    def handle(self, connection: Connection, request: Request) -> Coroutine[Any, Any, None]:
        """Part of Handler."""
        self.records.arrived(request)
        index = request.header(b"x-simulator-index") or str(self.records.stats.requests - 1)
        return self._answer(connection, request, Draw(self._seed, self.spec.name, index))

    def count_engine(self) -> None:
        """Brings the counters of the batch engine up to this moment."""
        if self._engine is not None:
            self.records.stats.serving = self._engine.engine.serving
            self.records.stats.queued = self._engine.engine.queued

    def stop(self) -> None:
        """Hangs up on everyone."""
        if self._engine is not None:
            self._engine.close()
        for connection in list(self.connections):
            connection.reset()

    async def deserted(self) -> None:
        """Waits until no connection is left."""
        while self.connections or self.records.stats.in_flight:  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)

    async def _answer(self, connection: Connection, request: Request, draw: Draw) -> None:
        stats = self.records.stats
        stats.in_flight += 1
        try:
            await self._play(connection, request, draw, self._loop.time())
        except asyncio.CancelledError:
            stats.cancelled += 1
            raise
        finally:
            stats.in_flight -= 1

    async def _play(self, connection: Connection, request: Request, draw: Draw, arrived: float) -> None:
        fault = self._temper.fault(arrived, draw)
        if isinstance(fault, BlackHole):
            await silence()
        verdict = self._judge(request, fault, draw, arrived)
        if self.spec.round_trip:
            await asyncio.sleep(self.spec.round_trip)
        if isinstance(fault, Reset) and fault.after_tokens is None:
            connection.reset()
        elif isinstance(verdict, Problem):
            if isinstance(fault, Status) and fault.delay:
                await asyncio.sleep(fault.delay)
            self._reject(connection, verdict, fault, draw)
        else:
            await self._reply(connection, verdict, fault, draw)

    def _judge(self, request: Request, fault: Fault | None, draw: Draw, now: float) -> Outcome | Problem:
        """Checks as a provider makes them, in its order: key, limit, path, headers, body."""
        wire = self._wire
        if self.spec.api_key is not None and wire.credential(request) != self.spec.api_key:
            return wire.problems["unauthorized"]("")
        if self._bucket is not None and not self._bucket.take(now):
            return Problem(429)
        found = wire.find(request)
        if found is None:
            return Problem(404, f"Unknown request URL: {request.method} {request.path}.")
        if (malady := wire.malady(request)) is not None:
            return malady
        operation, model = found
        if request.size > KEPT_BODY and operation.reads_body:
            return Problem(413)
        try:
            outcome = operation.perform(request, model, self.spec, draw)
        except BadAsk as error:
            return Problem(400, error.message, param=error.param)
        return self._objection(outcome) or faults.problem(fault, wire, outcome.prompt_tokens or 0) or outcome

    def _objection(self, outcome: Outcome) -> Problem | None:
        if outcome.model is not None and self.spec.models is not None and outcome.model not in self.spec.models:
            return self._wire.problems["unknown-model"](outcome.model)
        if self.spec.context_window is not None and (outcome.prompt_tokens or 0) > self.spec.context_window:
            return self._wire.problems["context-too-long"](str(outcome.prompt_tokens))
        return None

    def _reject(self, connection: Connection, problem: Problem, fault: Fault | None, draw: Draw) -> None:
        wall_now = time.time()  # noqa: TID251 - Retry-After may be a date
        headers = self._headers("application/json", draw)
        if isinstance(fault, Status) and fault.status == problem.status:
            headers += faults.retry_after(fault.retry_after, fault.retry_after_form, wall_now)
        elif problem.status == 429 and self.spec.rate_limit is not None:
            limit = self.spec.rate_limit
            headers += faults.retry_after(limit.retry_after, limit.retry_after_form, wall_now)
        self.records.began(problem.status)
        connection.send(problem.status, headers, self._wire.error_body(problem, _request_id(draw)))

    async def _reply(self, connection: Connection, outcome: Outcome, fault: Fault | None, draw: Draw) -> None:
        reply = outcome.reply
        headers = self._headers(reply.content_type, draw)
        self.records.began(200)
        pace = self._pace(outcome.prompt_tokens, draw)
        try:
            if reply.frames or reply.closing:
                stream = Stream(connection, reply, fault)
                await stream.play(pace, headers, early_opening=self.spec.early_opening)
            else:
                await pace.ready(reply.tokens + 1)
                await play_whole(connection, self._wire, reply, headers, fault)
        finally:
            pace.leave()

    def _pace(self, prompt_tokens: int | None, draw: Draw) -> Pace:
        spec, now = self.spec, self._loop.time()
        if prompt_tokens is None:
            return FreePace(self._loop, now, None)
        if self._engine is not None and spec.batch is not None:
            work = spec.batch.base_work + spec.batch.prefill_work_per_token * prompt_tokens
            return self._engine.join(work * lognormal(spec.batch.sigma, draw.ttft))
        ttft = spec.ttft.median + spec.ttft.per_thousand_tokens * prompt_tokens / 1000
        ttft *= lognormal(spec.ttft.sigma, draw.ttft) * self._temper.latency_factor(now, draw)
        speed = None
        if spec.tokens_per_second is not None:
            speed = spec.tokens_per_second.median * lognormal(spec.tokens_per_second.sigma, draw.speed)
        return FreePace(self._loop, now + ttft, speed)

    def _engine_factors(self) -> tuple[float, float]:
        now = self._loop.time()
        return self._temper.latency_factor(now), self._temper.slots_factor(now)

    def _headers(self, content_type: str, draw: Draw) -> Headers:
        headers: Headers = (("content-type", content_type), (self._wire.request_id, _request_id(draw)))
        if self._bucket is not None and self.spec.rate_limit is not None:
            headers += self._wire.rate_headers(round(self.spec.rate_limit.burst), self._bucket.remaining)
        return headers


def _request_id(draw: Draw) -> str:
    return f"req_{draw.number:016x}"

"""Routes with targets as telemetry sees them, and a pipe to read what it writes."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import orjson
from prometheus_client.parser import text_string_to_metric_families

from llmroute.health import Health
from llmroute.latency import Latency
from llmroute.request import Observation, Operation, Outcome, RequestEnded, Timings, Usage
from llmroute.routing import Candidate
from llmroute.spec import Cost, Target
from llmroute.telemetry import Telemetry

Sample = tuple[str, dict[str, str]]


class Queue:
    def __init__(self) -> None:
        self.in_flight = 0
        self.full = False


class Profile:
    otel_name = "openai"


class Live:
    """A target as the runtime has it."""

    def __init__(self, route: str, name: str, *, model: str = "gpt", priced: bool = True) -> None:
        cost = Cost(input_per_million=Decimal(1), output_per_million=Decimal(2)) if priced else None
        self.route = route
        self.name = name
        self.spec = Target(name=name, provider="openai", model=model, cost=cost)
        self.profile = Profile()
        self.queue = Queue()
        self.candidate = Candidate(self.spec, Latency(None, None), Health(name), self.queue)


class Route:
    """A route as the runtime has it."""

    def __init__(self, key: str, *targets: Live) -> None:
        self.key = key
        self.targets = {target.name: target for target in targets}


class Reader:
    """Telemetry that writes into a pipe, and what comes out of it."""

    def __init__(self, telemetry: Telemetry, descriptor: int) -> None:
        self.telemetry = telemetry
        self._descriptor = descriptor

    def lines(self) -> list[dict[str, object]]:
        """Everything logged, after closing."""
        self.telemetry.close()
        content = b""
        os.set_blocking(self._descriptor, False)
        while chunk := _read(self._descriptor):
            content += chunk
        return [orjson.loads(line) for line in content.splitlines()]

    def samples(self) -> dict[str, float]:
        """Every sample of the exposition: `name{label="value",...}` with labels sorted, to its value."""
        found = {}
        for family in text_string_to_metric_families(self.telemetry.exposition().decode()):
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}"] = sample.value
        return found


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 20)
    except BlockingIOError:
        return b""


@contextmanager
def telemetry(*routes: Route, access_log: bool = True, log_level: str = "info") -> Iterator[Reader]:
    read, write = os.pipe()
    observer = Telemetry(time.monotonic, version="1.2.3", access_log=access_log, log_level=log_level, descriptor=write)
    observer.reloaded(routes, "abc")
    try:
        yield Reader(observer, read)
    finally:
        observer.close()
        os.close(write)
        os.close(read)


def attempt(
    target: str, outcome: Outcome = Outcome.OK, *, stream: bool = True, usage: Usage | None = None
) -> Observation:
    good = outcome is Outcome.OK
    return Observation(
        target=target,
        operation=Operation.CHAT,
        stream=stream,
        prompt_tokens=10,
        outcome=outcome,
        timings=Timings(queue=0.002, headers=0.2, ttft=0.3, generation=1.0, total=1.3) if good else Timings(),
        at=1.0,
        usage=usage,
        output_tokens=50,
        waited=1.3,
    )


def ended(route: str = "shop/chat", **fields: object) -> RequestEnded:
    defaults: dict[str, object] = {
        "id": "7f",
        "at": 1.0,
        "total": 1.31,
        "status": 200,
        "route": route,
        "model": "chat",
        "operation": Operation.CHAT,
        "stream": True,
        "target": "east",
        "reason": "fastest",
        "attempts": "east:ok",
        "ttft": 0.31,
        "overhead": 0.0004,
    }
    return RequestEnded(**{**defaults, **fields})  # type: ignore[arg-type]

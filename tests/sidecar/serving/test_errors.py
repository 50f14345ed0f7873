"""Each leaf of the error tree, as an app of either dialect sees it."""

import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.app import CHAT, MESSAGES, Answer
from tests.sidecar.serving.raw import head
from tests.world import World, chat, elsewhere, message, own_key, provider, world

from llmroute import errors, handlers
from llmroute.errors import RequestError
from llmroute.simulator.spec import BlackHole, Duration, Malformed, Refused, Stall, Status

ONCE = {"maxAttempts": 1}
IMPATIENT = ONCE | {"timeouts": {"connect": "40ms", "firstToken": "40ms", "total": "40ms", "betweenTokens": "40ms"}}


class Caller:
    """An app of one dialect."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.path = CHAT if dialect == "openai" else MESSAGES
        self.headers = {} if dialect == "openai" else {"anthropic-version": "2023-06-01"}

    async def ask(self, here: World, headers: dict[str, str] | None = None, **members: Any) -> Answer:
        body = chat(**members) if self.dialect == "openai" else message(**members)
        return await here.ask(self.path, body, self.headers | (headers or {}))


Drive = Callable[[Caller], Awaitable[Answer]]


async def bad_request(caller: Caller) -> Answer:
    async with world(provider("east")) as here:
        return await here.ask(caller.path, b"{", caller.headers)


async def unsupported(caller: Caller) -> Answer:
    async with world(provider("east", target={"capabilities": ["streaming"]})) as here:
        tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
        return await caller.ask(here, tools=[tool if caller.dialect == "openai" else {"name": "f", "input_schema": {}}])


async def forbidden_origin(caller: Caller) -> Answer:
    async with world(provider("east")) as here:
        return await caller.ask(here, {"origin": "https://evil.example"})


async def not_found(caller: Caller) -> Answer:
    async with world(provider("east")) as here:
        return await here.ask("/nowhere", headers=caller.headers)


async def unknown_model(caller: Caller) -> Answer:
    async with world(provider("east")) as here:
        return await caller.ask(here, model="unknown")


async def method_not_allowed(caller: Caller) -> Answer:
    async with world(provider("east")) as here:
        return await here.ask(caller.path, method="DELETE")


async def request_timeout(caller: Caller) -> Answer:
    async with world(provider("east"), settings={"body_timeout": 0.03}) as here, here.app() as app:
        app.send(head("content-length: 100", start=f"POST {caller.path} HTTP/1.1"))
        return await app.answer()


async def too_large(caller: Caller) -> Answer:
    async with world(provider("east"), settings={"max_body": 10}) as here:
        return await caller.ask(here)


async def wrong_content_type(caller: Caller) -> Answer:
    async with world(provider("east")) as here:
        return await caller.ask(here, {"content-type": "text/plain"})


async def internal(caller: Caller) -> Answer:
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(handlers, "require_json", lambda content_type: 1 / 0)
        async with world(provider("east")) as here:
            return await caller.ask(here)


async def no_candidate(caller: Caller) -> Answer:
    async with world(provider("east", target=own_key()), keys={}) as here:
        return await caller.ask(here)


async def overloaded(caller: Caller) -> Answer:
    async with world(provider("east"), settings={"max_buffer": 10}) as here:
        return await caller.ask(here)


async def rate_limited(caller: Caller) -> Answer:
    async with world(provider("east", faults=[Status(status=429, retry_after=Duration(9))])) as here:
        return await caller.ask(here)


async def deadline_exceeded(caller: Caller) -> Answer:
    async with world(provider("east", faults=[BlackHole()])) as here:
        return await caller.ask(here, {"x-llmroute-max-latency": "30ms"})


async def connect_failed(caller: Caller) -> Answer:
    async with world(provider("east", faults=[Refused()]), failover=ONCE) as here:
        return await caller.ask(here)


@contextmanager
def deaf() -> Iterator[str]:
    """The URL of a listener whose queue is full, so that the kernel drops what comes next."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


async def connect_timeout(caller: Caller) -> Answer:
    with deaf() as url:
        async with world(elsewhere("east", url), failover=IMPATIENT) as here:
            return await caller.ask(here)


async def first_token_timeout(caller: Caller) -> Answer:
    async with world(provider("east", faults=[BlackHole()]), failover=IMPATIENT) as here:
        return await caller.ask(here, stream=True)


async def between_tokens_timeout(caller: Caller) -> Answer:
    async with world(provider("east", faults=[Stall(after_tokens=2)]), failover=IMPATIENT) as here:
        return await caller.ask(here, stream=True)


async def total_timeout(caller: Caller) -> Answer:
    async with world(provider("east", faults=[BlackHole()]), failover=IMPATIENT) as here:
        return await caller.ask(here)


async def rejected(caller: Caller) -> Answer:
    async with world(provider("east", faults=[Status(status=500)]), failover=ONCE) as here:
        return await caller.ask(here)


async def stream_broken(caller: Caller) -> Answer:
    async with world(provider("east", faults=[Malformed()]), failover=ONCE) as here:
        return await caller.ask(here)


async def credential_missing(caller: Caller) -> Answer:
    """Only a key that vanishes between choice and sending gets as far as this."""
    east = provider("east", faults=[BlackHole()], target=own_key())
    async with world(east, keys={"OWN_KEY": "k"}, failover=ONCE) as here:
        live = here.target("east")
        with pytest.MonkeyPatch.context() as vanished:
            vanished.setattr(live.credential, "_line", None)
            return await caller.ask(here)


async def cancelled(caller: Caller) -> Answer:
    """The app that hung up sees nothing; the others see it in the metrics."""
    async with world(provider("east", faults=[BlackHole()])) as here:
        async with here.app() as app:
            app.ask(caller.path, chat(max_tokens=5))
            await here.arrived("east")
            app.hang_up()
        await here.settled()
        assert (await here.metrics()).by("llmroute_requests_total", "outcome") == {"cancelled": 1}
        return Answer(499, {"x-llmroute-error": "cancelled"}, b"")


SCENARIOS: dict[str, Drive] = {
    drive.__name__: drive
    for drive in (
        bad_request,
        unsupported,
        forbidden_origin,
        not_found,
        unknown_model,
        method_not_allowed,
        request_timeout,
        too_large,
        wrong_content_type,
        internal,
        no_candidate,
        overloaded,
        rate_limited,
        deadline_exceeded,
        connect_failed,
        connect_timeout,
        first_token_timeout,
        between_tokens_timeout,
        total_timeout,
        rejected,
        stream_broken,
        credential_missing,
        cancelled,
    )
}
SCENARIOS["invalid_request"] = SCENARIOS.pop("bad_request")


def leaves(kind: type[RequestError] = RequestError) -> Iterator[type[RequestError]]:
    below = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    if not below:
        yield kind
    for each in below:
        yield from leaves(each)


LEAVES = {leaf.code: leaf for leaf in leaves()}

TYPES = {
    "openai": {403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"},
    "anthropic": {
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        503: "overloaded_error",
        504: "timeout_error",
    },
}
OTHERWISE = {"openai": "server_error", "anthropic": "api_error"}


def test_no_leaf_is_left_out() -> None:
    assert set(SCENARIOS) == set(LEAVES)


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("code", SCENARIOS)
async def test_a_leaf_as_the_app_sees_it(code: str, dialect: str, capfd: pytest.CaptureFixture[str]) -> None:
    leaf = LEAVES[code]
    answer = await SCENARIOS[code](Caller(dialect))

    if code == "cancelled":
        return
    if code == "between_tokens_timeout":  # after the commit point: in the stream itself
        body = answer.events[-1]
        assert answer.status == 200
    else:
        body = answer.json
        assert answer.status == leaf.status
        assert answer.error == code
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-should-retry"] == "false"
        assert len(answer.headers["x-request-id"]) == 32
        assert ("retry-after" in answer.headers) is (code in ("overloaded", "rate_limited"))
    error = body["error"]
    usual = "invalid_request_error" if leaf.status < 500 else OTHERWISE[dialect]
    assert error["type"] == TYPES[dialect].get(leaf.status, usual)
    assert error["message"]
    if dialect == "openai":
        assert error["code"] == code
        assert set(body) == {"error"}
    else:
        assert body["type"] == "error"
    assert ("Traceback" in capfd.readouterr().out) is (code == "internal")


async def test_a_defect_is_told_to_the_log_and_not_to_the_app(capfd: pytest.CaptureFixture[str]) -> None:
    answer = await internal(Caller("openai"))
    assert b"division" not in answer.body
    assert "division by zero" in capfd.readouterr().out

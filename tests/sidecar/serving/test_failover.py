"""A target that fails before the first content is left for the next one, and the app does not see it."""

import asyncio
import socket
import ssl

import pytest
import trustme
from tests.sidecar.serving.scripted import Call, scripted
from tests.world import SURFACES, chat, elsewhere, provider, world

from llmroute.simulator.spec import (
    BlackHole,
    CreditTooLow,
    ErrorEvent,
    Fault,
    Malformed,
    Refused,
    Reset,
    Stall,
    Status,
    Truncate,
)

IMPATIENT = {"timeouts": {"connect": "500ms", "firstToken": "150ms", "betweenTokens": "150ms", "total": "150ms"}}

BEFORE_CONTENT: dict[str, tuple[Fault, str]] = {
    "refused": (Refused(), "connect-failed"),
    "reset": (Reset(), "broken"),
    "500": (Status(status=500), "server-error"),
    "502": (Status(status=502), "server-error"),
    "503": (Status(status=503), "server-error"),
    "408": (Status(status=408), "server-error"),
    "429": (Status(status=429), "rate-limited"),
    "529": (Status(status=529), "overloaded"),
    "401": (Status(status=401), "authentication"),
    "no credit": (CreditTooLow(), "billing"),
    "malformed": (Malformed(), "broken"),
}
STREAMED = BEFORE_CONTENT | {
    "black hole": (BlackHole(), "first-token-timeout"),
    "reset after the head": (Reset(after_tokens=0), "broken"),
    "stall before content": (Stall(after_tokens=0), "first-token-timeout"),
    "cut before content": (Truncate(after_tokens=0), "broken"),
    "clean end before content": (Truncate(after_tokens=0, clean=True), "broken"),
    "error event before content": (ErrorEvent(), "server-error"),
    "rate limit in an event": (ErrorEvent(status=429), "rate-limited"),
}
WHOLE = BEFORE_CONTENT | {
    "black hole": (BlackHole(), "total-timeout"),
    "stall in the body": (Stall(), "total-timeout"),
    "cut body": (Truncate(), "broken"),
    "half a body, properly ended": (Truncate(clean=True), "broken"),
    "error in a 200": (ErrorEvent(), "server-error"),
}
CASES = [pytest.param(True, *case, id=f"stream, {name}") for name, case in STREAMED.items()]
CASES += [pytest.param(False, *case, id=f"whole, {name}") for name, case in WHOLE.items()]


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize(("stream", "fault", "outcome"), CASES)
async def test_whatever_fails_before_content_is_answered_by_the_next_target(
    stream: bool, fault: Fault, outcome: str, dialect: str
) -> None:
    failover = IMPATIENT if "timeout" in outcome else {}
    east, west = provider("east", faults=[fault], dialect=dialect), provider("west", dialect=dialect)
    async with world(east, west, failover=failover) as here:
        ask = here.chat if dialect == "openai" else here.message
        answer = await ask(stream=stream)

        assert answer.status == 200
        assert answer.attempts == f"east:{outcome}, west:ok"
        assert answer.target == "west"
        assert answer.headers["x-llmroute-reason"] == "failover"
        assert answer.whole
        assert answer.text
        assert "error" not in answer.body.decode()
        metrics = await here.metrics()
        assert metrics.sum("llmroute_failovers_total", **{"from": "east", "to": "west", "reason": outcome}) == 1


async def test_the_fastest_target_that_fails_is_left_at_once_and_every_time() -> None:
    """Twenty apps in a row, none of them sees it; and the failing target is not asked again and again."""
    async with world(provider("east", faults=[Status(status=500)]), provider("west")) as here:
        answers = [await here.chat(stream=number % 2 == 0) for number in range(20)]

        assert [answer.status for answer in answers] == [200] * 20
        assert {answer.target for answer in answers} == {"west"}
        assert answers[0].attempts == "east:server-error, west:ok"
        assert here.requests("east") <= 5
        assert (await here.target_status("east"))["errors"] == here.requests("east")


async def test_each_attempt_is_named_with_its_outcome_in_order() -> None:
    async with world(
        provider("east", faults=[Status(status=500)]),
        provider("west", faults=[BlackHole()]),
        provider("north", faults=[Reset()]),
        provider("south"),
        failover={"maxAttempts": 4, "timeouts": {"firstToken": "50ms"}},
    ) as here:
        answer = await here.chat(stream=True)

        assert answer.attempts == "east:server-error, west:first-token-timeout, north:broken, south:ok"
        assert answer.text


async def test_a_request_makes_no_more_attempts_than_allowed() -> None:
    names = ["east", "west", "north", "south"]
    failing = [provider(name, faults=[Status(status=500)]) for name in names]
    async with world(*failing, failover={"maxAttempts": 3}) as here:
        answer = await here.chat()

        assert answer.status == 502
        assert answer.error == "rejected"
        assert answer.attempts == "east:server-error, west:server-error, north:server-error"
        assert answer.headers["x-should-retry"] == "false"
        assert [here.requests(name) for name in names] == [1, 1, 1, 0]


async def test_a_single_target_is_asked_again() -> None:
    async with world(provider("east", faults=[Status(status=500)]), failover={"maxAttempts": 2}) as here:
        answer = await here.chat()

        assert answer.attempts == "east:server-error, east:server-error"
        assert here.requests("east") == 2


async def test_an_app_that_hangs_up_in_the_pause_before_a_target_is_asked_again_is_forgotten() -> None:
    async with world(provider("east", faults=[Status(status=500)])) as here:
        async with here.app() as app:
            app.ask("/v1/chat/completions", chat())
            await here.arrived("east")
            app.hang_up()
        await here.settled()
        metrics = await here.metrics()
        assert metrics.sum("llmroute_attempts_total") == here.requests("east")
        assert metrics.sum("llmroute_selections_total") == here.requests("east")


async def test_fallback_targets_are_last_and_in_their_order() -> None:
    async with world(
        provider("cheap", faults=[Status(status=500)]),
        provider("east", faults=[Status(status=500)]),
        provider("backup", faults=[Status(status=500)]),
        provider("west", faults=[Status(status=500)]),
        provider("last"),
        fallbackTargets=["backup", "last", "cheap"],
        failover={"maxAttempts": 5},
    ) as here:
        answer = await here.chat()

        assert answer.attempts == "east:server-error, west:server-error, backup:server-error, last:ok"
        assert answer.headers["x-llmroute-reason"] == "fallback"


async def test_a_target_that_takes_no_connection_is_left_after_the_connect_timeout() -> None:
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for filler in (first, second):  # the queue is full: the kernel drops what comes next, as a black hole does
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        east = elsewhere("east", f"http://127.0.0.1:{deaf.getsockname()[1]}/v1")
        async with world(east, provider("west"), failover={"timeouts": {"connect": "500ms"}}) as here:
            assert (await here.chat(stream=True)).attempts == "east:connect-timeout, west:ok"


async def test_a_name_that_does_not_exist_is_left_at_once() -> None:
    async with world(elsewhere("east", "http://no-such-host.invalid/v1"), provider("west")) as here:
        assert (await here.chat()).attempts == "east:connect-failed, west:ok"


async def test_a_certificate_that_nobody_vouches_for_is_a_failed_connection() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def never_asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(never_asked, "127.0.0.1", 0, ssl=context)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with world(elsewhere("east", url), provider("west")) as here:
            assert (await here.chat()).attempts == "east:connect-failed, west:ok"


async def test_something_that_is_not_http_is_left() -> None:
    async def speaks_ssh(call: Call) -> None:
        await call.send(b"SSH-2.0-OpenSSH_9.6\r\n")

    async with scripted(speaks_ssh) as east, world(elsewhere("east", east.url), provider("west")) as here:
        assert (await here.chat()).attempts == "east:broken, west:ok"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_something_that_is_no_answer_is_left(stream: bool) -> None:
    async def is_a_web_page(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>")

    async with scripted(is_a_web_page) as east, world(elsewhere("east", east.url), provider("west")) as here:
        assert (await here.chat(stream=stream)).attempts == "east:broken, west:ok"


async def test_a_redirect_is_not_followed() -> None:
    """It would carry the key to a place that nobody declared."""

    async def moved(call: Call) -> None:
        await call.answer(b"{}", "307 Temporary Redirect", "location: http://127.0.0.1:1/v1\r\n")

    async with scripted(moved) as east, world(elsewhere("east", east.url), provider("west")) as here:
        assert (await here.chat()).attempts == "east:server-error, west:ok"


async def test_the_error_of_a_target_that_talks_without_end_is_not_read_to_its_end() -> None:
    async def babbles(call: Call) -> None:
        await call.send(b"HTTP/1.1 500 Internal Server Error\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await call.piece(b"x" * 65536)

    async with scripted(babbles) as east, world(elsewhere("east", east.url), provider("west")) as here:
        assert (await here.chat()).attempts == "east:server-error, west:ok"


@pytest.mark.parametrize("path", SURFACES)
async def test_every_api_fails_over(path: str) -> None:
    async with world(provider("east", faults=[Status(status=503)]), provider("west")) as here:
        answer = await here.ask(path, SURFACES[path])

        assert answer.status == 200
        assert answer.attempts == "east:server-error, west:ok"

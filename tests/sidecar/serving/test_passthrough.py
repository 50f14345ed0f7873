"""Other paths of the API: bytes in and bytes out, at one target, unmodified."""

import asyncio
import gzip
import json
import os
from contextlib import suppress

import pytest
from tests.app import CHAT, request
from tests.sidecar.serving.scripted import Call, scripted
from tests.world import chat, elsewhere, own_key, provider, world

from llmroute.simulator.spec import BlackHole

MEBIBYTE = 1024 * 1024


async def echoes(call: Call) -> None:
    """Answers with what came."""
    told = {"line": call.line, "body": len(call.body), "type": call.header("content-type")}
    await call.answer(json.dumps(told).encode(), headers="x-request-id: theirs\r\nset-cookie: no\r\n")


async def test_an_upload_arrives_byte_for_byte() -> None:
    payload = os.urandom(3 * MEBIBYTE)
    form = b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\n' + payload + b"\r\n--x--\r\n"
    async with scripted(echoes) as east, world(elsewhere("east", east.url, **own_key())) as here:
        answer = await here.ask(
            "/v1/audio/transcriptions?x=1&y=a%20b",
            form,
            {"content-type": "multipart/form-data; boundary=x", "authorization": "Bearer app", "x-trace": "t"},
        )

        assert answer.status == 200
        assert answer.json["line"] == "POST /v1/audio/transcriptions?x=1&y=a%20b"
        (call,) = east.calls
        assert call.body == form
        assert call.header("content-type") == "multipart/form-data; boundary=x"
        assert call.header("authorization") == "Bearer key-of-own"
        assert call.header("x-trace") == "t"
        assert answer.headers["x-upstream-request-id"] == "theirs"
        assert (answer.target, answer.headers["x-llmroute-reason"]) == ("east", "passthrough")
        assert len(answer.headers["x-request-id"]) == 32
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(("coding", "sent", "told"), [("zstd", b"packed", "zstd"), ("gzip", gzip.compress(b"x"), None)])
async def test_an_upload_whose_coding_is_not_understood_keeps_it(coding: str, sent: bytes, told: str | None) -> None:
    async with scripted(echoes) as east, world(elsewhere("east", east.url)) as here:
        assert (await here.ask("/v1/files", sent, {"content-encoding": coding})).status == 200
        assert east.calls[0].header("content-encoding") == told
        assert east.calls[0].body == (sent if told else b"x")


async def test_a_chunked_upload_arrives_too() -> None:
    async with scripted(echoes) as east, world(elsewhere("east", east.url)) as here, here.app() as app:
        app.send(b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(5):
            app.send(b"5\r\nhello\r\n")
            await asyncio.sleep(0.002)
        app.send(b"0\r\n\r\n")

        assert (await app.answer()).status == 200
        assert east.calls[0].body == b"hello" * 5


async def test_a_binary_answer_comes_back_byte_for_byte() -> None:
    sound = os.urandom(2 * MEBIBYTE)

    async def speaks(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(sound), 100_000):
            await call.piece(sound[start : start + 100_000])
        await call.end()

    async with scripted(speaks) as east, world(elsewhere("east", east.url)) as here:
        answer = await here.ask("/v1/audio/speech", {"input": "hi"})

        assert answer.headers["content-type"] == "audio/mpeg"
        assert answer.body == sound


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH"])
async def test_the_method_is_kept(method: str) -> None:
    async with scripted(echoes) as east, world(elsewhere("east", east.url)) as here:
        answer = await here.ask("/v1/files/f1", None if method in ("GET", "DELETE") else {"a": 1}, method=method)
        assert answer.json["line"] == f"{method} /v1/files/f1"


async def test_head_and_empty_answers_leave_the_connection_usable() -> None:
    async def is_brief(call: Call) -> None:
        if call.line.startswith("HEAD"):
            await call.send(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 1000\r\n\r\n")
        elif "nothing" in call.line:
            await call.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            await echoes(call)

    async with scripted(is_brief) as east, world(elsewhere("east", east.url)) as here, here.app() as app:
        app.ask("/v1/files/f1", method="HEAD")
        answer = await app.answer(bodiless=True)
        assert (answer.status, answer.headers["content-type"]) == (200, "audio/mpeg")
        app.ask("/v1/files/nothing", method="DELETE")
        assert (await app.answer()).status == 204
        app.ask("/v1/files/f1")
        assert (await app.answer()).json["line"] == "GET /v1/files/f1"


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "429 Too Many Requests"])
async def test_an_error_is_handed_back_as_it_is(status: str) -> None:
    async def refuses(call: Call) -> None:
        await call.answer(b'{"error":"theirs"}', status, "retry-after: 9\r\n")

    async with scripted(refuses) as east, world(elsewhere("east", east.url), provider("west")) as here:
        answer = await here.ask("/v1/files")

        assert answer.status == int(status[:3])
        assert answer.body == b'{"error":"theirs"}'
        assert answer.headers["retry-after"] == "9"
        assert "x-llmroute-error" not in answer.headers
        assert here.requests("west") == 0
        assert (await here.target_status("east"))["attempts"] == 0, "nothing is learned from it"


async def test_it_goes_to_the_declared_target_else_to_the_first_of_the_callers_dialect() -> None:
    claude = provider("claude", dialect="anthropic")
    async with world(claude, provider("east"), provider("west")) as here:
        await here.ask("/v1/files")
        await here.ask("/v1/files", headers={"anthropic-version": "2023-06-01"})
        assert [here.requests(name) for name in ("claude", "east", "west")] == [1, 1, 0]
        assert here.fleet["claude"].requests[0].header(b"x-api-key") == "key-of-anthropic"
    async with world(claude, provider("east"), provider("west"), passthrough="west") as here:
        await here.ask("/v1/files")
        assert [here.requests(name) for name in ("claude", "east", "west")] == [0, 0, 1]


async def test_it_goes_where_tenant_region_and_labels_allow_and_where_there_is_a_key() -> None:
    providers = (
        provider("gold", target={"tenants": ["gold"], "region": "eu"}),
        provider("abroad", target={"region": "us"}),
        provider("keyless", target={"region": "eu", "credential": {"secretRef": {"name": "lost", "key": "K"}}}),
        provider("east", target={"region": "eu"}),
    )
    async with world(*providers, constraints={"regions": ["eu"]}) as here:
        await here.ask("/v1/files")
        await here.ask("/v1/files", headers={"x-llmroute-tenant": "gold"})
        assert [here.requests(each.name) for each in providers] == [1, 0, 0, 1]


async def test_a_slash_behind_the_path_of_an_operation_makes_it_no_other_path() -> None:
    async with world(provider("east")) as here:
        answer = await here.ask(CHAT + "/", chat())
        assert answer.target == "east"
        assert (await here.target_status("east"))["attempts"] == 1


async def test_without_a_target_of_the_dialect_the_app_is_told_so() -> None:
    async with world(provider("claude", dialect="anthropic")) as here:
        answer = await here.ask("/v1/files")
        assert (answer.status, answer.error) == (400, "unsupported")
        assert "passthrough" in answer.message


async def test_a_target_that_cannot_be_reached_is_told_in_the_callers_dialect() -> None:
    async with world(elsewhere("east", "http://127.0.0.1:1/v1")) as here:
        answer = await here.ask("/v1/files", {"a": 1})
        assert (answer.status, answer.error) == (502, "connect_failed")


async def test_a_target_that_does_not_answer_is_not_awaited_for_ever() -> None:
    async with world(provider("east", faults=[BlackHole()]), failover={"timeouts": {"total": "50ms"}}) as here:
        answer = await here.ask("/v1/files")
        assert (answer.status, answer.error) == (504, "total_timeout")


async def test_an_answer_that_breaks_is_cut_and_does_not_look_complete(capfd: pytest.CaptureFixture[str]) -> None:
    async def breaks(call: Call) -> None:
        await call.send(b"HTTP/1.1 206 Partial Content\r\ntransfer-encoding: chunked\r\n\r\n")
        await call.piece(b"half")
        call.reset()

    async with scripted(breaks) as east, world(elsewhere("east", east.url)) as here:
        answer = await here.ask("/v1/files/f1/content")
        assert (answer.status, answer.body, answer.whole) == (206, b"half", False)
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    (told,) = [line for line in lines if line["event"] == "request"]
    assert (told["status"], told["outcome"], told["level"]) == (206, "stream_broken", "error")
    assert (told["request_id"], told["target"]) == (answer.headers["x-request-id"], "east")


async def test_an_upload_that_stalls_after_the_answer_has_begun_cuts_the_answer() -> None:
    async def answers_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answers_early, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    settings = {"body_timeout": 0.1}
    async with server, world(elsewhere("east", url), settings=settings) as here, here.app() as app:
        app.send(b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\npart")
        await app.head()

        assert await app.reader.read() == b"5\r\nhello\r\n"


async def test_an_answer_that_breaks_before_its_first_byte_is_an_error() -> None:
    async def breaks(call: Call) -> None:
        await call.begin()
        await asyncio.sleep(0.02)
        call.reset()

    async with scripted(breaks) as east, world(elsewhere("east", east.url)) as here:
        assert (await here.ask("/v1/files/f1/content")).status == 502


async def test_an_upload_that_drips_is_ended() -> None:
    async with (
        scripted(echoes) as east,
        world(elsewhere("east", east.url), settings={"body_timeout": 0.05}) as here,
        here.app() as app,
    ):
        app.send(b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nx")
        answer = await app.answer()
        assert (answer.status, answer.error) == (408, "request_timeout")


async def test_an_app_that_hangs_up_in_its_upload_takes_the_target_with_it() -> None:
    async with scripted(echoes) as east, world(elsewhere("east", east.url)) as here:
        async with here.app() as app:
            app.send(b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nx")
            async with asyncio.timeout(5.0):
                await east.reached.wait()
                app.hang_up()
                await east.left.wait()
        assert east.calls == []


async def test_an_early_refusal_ends_the_upload() -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(refuses, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server, world(elsewhere("east", url)) as here, here.app() as app:
        app.send(request("/v1/files", b"x" * 1000, {"content-length": "100000000"}))
        answer = await app.answer()
        assert (answer.status, answer.body) == (413, b"big")


OUTSIDE = ["/v1/../admin", "/v1/%2e%2e/admin", "/v1/files/../../x", "/v1//../x", "/v1/a/%2E%2E/b", "/v1/..%2fx"]


@pytest.mark.parametrize("path", OUTSIDE)
async def test_no_path_leads_out_of_the_api(path: str) -> None:
    """The key goes with it, wherever it leads."""
    async with scripted(echoes) as east, world(elsewhere("east", east.url, **own_key())) as here:
        answer = await here.ask(path)

        assert (answer.status, answer.error) == (404, "not_found")
        assert east.calls == []


async def test_the_absolute_form_of_a_path_is_understood() -> None:
    async with scripted(echoes) as east, world(elsewhere("east", east.url)) as here:
        answer = await here.ask("http://localhost:4000/v1/files?x=1")
        assert answer.json["line"] == "GET /v1/files?x=1"


async def test_a_key_that_a_provider_quotes_does_not_come_back() -> None:
    async def quotes(call: Call) -> None:
        key = (call.header("authorization") or "").removeprefix("Bearer ")
        await call.answer(json.dumps({"error": {"message": f"Incorrect API key {key}"}}).encode(), "401 Unauthorized")

    async with scripted(quotes) as east, world(elsewhere("east", east.url, **own_key())) as here:
        answer = await here.ask("/v1/files", method="GET")

        assert answer.status == 401
        assert b"key-of-own" not in answer.body
        assert b"Incorrect API key" in answer.body

"""Bodies that may not come in, are too large or too slow: a clear 4xx in the caller's dialect."""

import asyncio
import gzip
import json
import zlib

import pytest
from tests.app import CHAT, MESSAGES, request
from tests.sidecar.serving.raw import drip, head, refused
from tests.sidecar.serving.scripted import Call, completion, scripted
from tests.world import SURFACES, chat, elsewhere, message, provider, world

KIBIBYTE = 1024


BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "JSON"),
    "not JSON": (b"hello", "JSON"),
    "cut": (b'{"model":"chat","messages":[', "JSON"),
    "not UTF-8": (b'{"model":"chat","messages":[{"role":"user","content":"\xff"}]}', ""),
    "no object": (b"[1]", "object"),
    "text": (b'"chat"', "object"),
    "null": (b"null", "object"),
    "no model": (b'{"messages":[]}', "model"),
    "model is a number": (b'{"model":7}', "model"),
    "model is empty": (b'{"model":""}', "model"),
    "stream is text": (b'{"model":"chat","messages":[],"stream":"yes"}', "stream"),
    "too deep": (b'{"model":"chat","messages":' + b"[" * 20_000 + b"]" * 20_000 + b"}", ""),
    "trailing": (b'{"model":"chat","messages":[]} {}', "JSON"),
}


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize(("body", "says"), BODIES.values(), ids=BODIES)
async def test_a_body_that_is_no_request_is_refused_in_the_callers_dialect(body: bytes, says: str, path: str) -> None:
    async with world(provider("east")) as here:
        answer = await refused(here, request(path, body))

        assert answer.status == 400
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-should-retry"] == "false"
        assert says in answer.message
        assert answer.json["error"]["type"] == "invalid_request_error"
        assert ("code" in answer.json["error"]) is (path == CHAT)
        assert (answer.json.get("type") == "error") is (path == MESSAGES)
        assert here.requests("east") == 1, "only the next one"


async def test_an_unknown_model_is_answered_with_those_that_are_known() -> None:
    async with world(provider("east"), models=["gpt-4o", "small"]) as here:
        for path, body in SURFACES.items():
            answer = await here.ask(path, body | {"model": "gpt-5"})

            assert answer.status == 404
            assert answer.error == "unknown_model"
            assert "gpt-5" in answer.message
            assert "gpt-4o, small" in answer.message


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_a_body_that_is_declared_as_something_else_is_refused(kind: str) -> None:
    async with world(provider("east")) as here:
        answer = await refused(here, request(MESSAGES, message(), {"content-type": kind}))

        assert answer.status == 415
        assert answer.error == "wrong_content_type"
        assert answer.json["type"] == "error"


@pytest.mark.parametrize("kind", ["", "application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"])
async def test_json_may_be_declared_in_several_ways(kind: str) -> None:
    async with world(provider("east")) as here:
        assert (await here.ask(CHAT, chat(), {"content-type": kind})).status == 200


async def test_a_body_that_declares_too_much_is_refused_before_it_is_read() -> None:
    async with world(provider("east"), settings={"max_body": 10 * KIBIBYTE}) as here:
        answer = await refused(here, head("content-length: 999999999"))

        assert answer.status == 413
        assert answer.error == "too_large"
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("at_once", [True, False])
async def test_chunks_that_grow_too_large_are_refused(at_once: bool) -> None:
    async with world(provider("east"), settings={"max_body": 10 * KIBIBYTE}) as here, here.app() as app:
        app.send(head("transfer-encoding: chunked"))
        if not at_once:
            await asyncio.sleep(0.01)
        for _ in range(11):
            app.send(b"400\r\n" + b" " * KIBIBYTE + b"\r\n")
        answer = await app.answer()

        assert (answer.status, answer.error, answer.headers["connection"]) == (413, "too_large", "close")


async def test_a_body_of_just_the_limit_is_taken() -> None:
    async with world(provider("east"), settings={"max_body": 10 * KIBIBYTE}) as here:
        body = json.dumps(chat("")).encode()
        text = "x" * (10 * KIBIBYTE - len(body))
        assert (await here.chat(text)).status == 200
        assert (await here.chat(text + "x")).status == 413


async def test_a_chunked_body_is_a_body() -> None:
    body = json.dumps(chat()).encode()
    async with world(provider("east")) as here, here.app() as app:
        app.send(head("transfer-encoding: chunked"))
        for start in range(0, len(body), 10):
            piece = body[start : start + 10]
            app.send(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
        app.send(b"0\r\ntrailer: x\r\n\r\n")
        assert (await app.answer()).status == 200


async def test_a_body_that_drips_is_ended_in_the_callers_dialect() -> None:
    async with world(provider("east"), settings={"body_timeout": 0.1}) as here, here.app() as app:
        app.send(head("content-length: 1000", start=f"POST {MESSAGES} HTTP/1.1"))
        answer = await drip(app, b"{" + b" " * 998)

        assert answer.status == 408
        assert answer.error == "request_timeout"
        assert answer.json["type"] == "error"
        assert answer.headers["connection"] == "close"


async def test_a_body_that_never_comes_is_not_awaited() -> None:
    async with world(provider("east"), settings={"body_timeout": 0.05}) as here, here.app() as app:
        app.send(head("content-length: 1000"))
        assert (await app.answer()).status == 408


async def test_a_large_body_may_take_its_time_as_long_as_it_moves() -> None:
    async with world(provider("east"), settings={"body_timeout": 0.1}) as here, here.app() as app:
        body = json.dumps(chat("x" * 200 * KIBIBYTE)).encode()
        app.send(head(f"content-length: {len(body)}"))
        for start in range(0, len(body), 40 * KIBIBYTE):
            app.send(body[start : start + 40 * KIBIBYTE])
            await asyncio.sleep(0.04)
        assert (await app.answer()).status == 200


async def test_expect_100_continue_is_answered() -> None:
    body = json.dumps(chat()).encode()
    async with world(provider("east")) as here, here.app() as app:
        app.send(head(f"content-length: {len(body)}", "expect: 100-continue"))
        assert await app.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        app.send(body)
        assert (await app.answer()).status == 200


async def test_expect_100_continue_is_not_answered_when_the_body_is_not_wanted() -> None:
    async with world(provider("east"), settings={"max_body": 10}) as here, here.app() as app:
        app.send(head("content-length: 1000", "expect: 100-continue"))
        answer = await app.answer()
        assert answer.status == 413
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_compressed_bodies_are_inflated(coding: str) -> None:
    body = json.dumps(chat("hello " * 1000)).encode()
    packed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    calls = []

    async def notes(call: Call) -> None:
        calls.append(call)
        await call.answer(completion())

    async with scripted(notes) as east, world(elsewhere("east", east.url)) as here:
        answer = await here.ask(CHAT, packed, {"content-encoding": coding})

        assert answer.status == 200
        assert calls[0].body == body.replace(b'"chat"', b'"model-of-east"')
        assert calls[0].header("content-encoding") is None


async def test_a_bomb_is_too_large() -> None:
    bomb = gzip.compress(b'{"model":"chat","x":"' + b" " * 4_000_000 + b'"}')
    async with world(provider("east"), settings={"max_body": 1_000_000}) as here:
        answer = await refused(here, request(CHAT, bomb, {"content-encoding": "gzip"}))
        assert (answer.status, answer.error) == (413, "too_large")


async def test_a_body_that_is_not_compressed_as_it_says_is_refused() -> None:
    async with world(provider("east")) as here:
        answer = await refused(here, request(CHAT, b"not gzip at all", {"content-encoding": "gzip"}))
        assert (answer.status, answer.error) == (400, "invalid_request")


@pytest.mark.parametrize("coding", ["zstd", "gzip, gzip", "\xff"])
async def test_a_coding_that_is_not_understood_is_named(coding: str) -> None:
    async with world(provider("east")) as here:
        answer = await refused(here, request(CHAT, b"packed", {"content-encoding": coding}))
        assert (answer.status, answer.error) == (415, "wrong_content_type")
        assert coding in answer.message


async def test_identity_is_no_coding() -> None:
    async with world(provider("east")) as here:
        assert (await here.ask(CHAT, chat(), {"content-encoding": "identity"})).status == 200

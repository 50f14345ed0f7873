"""Heads that may not come in: a clear 4xx, and the next connection is as good as ever."""

import asyncio
import json
from collections.abc import Mapping

import pytest
from tests.app import CHAT, MESSAGES, request
from tests.sidecar.serving.raw import drip, head, refused
from tests.world import chat, provider, world

from llmroute import admission


async def test_a_head_that_drips_is_ended() -> None:
    async with world(provider("east"), settings={"header_timeout": 0.1}) as here, here.app() as app:
        app.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
        answer = await drip(app, b"x-slow: " + b"y" * 1000)

        assert answer.status == 408
        assert answer.error == "request_timeout"
        assert await app.closed()
        assert (await here.chat()).status == 200
        outcomes = (await here.metrics()).by("llmroute_requests_total", "outcome", route="")
        assert outcomes == {"request_timeout": 1}


async def test_a_second_head_on_a_connection_may_not_drip_either() -> None:
    async with world(provider("east"), settings={"header_timeout": 0.1}) as here, here.app() as app:
        app.ask(CHAT, chat())
        assert (await app.answer()).status == 200
        assert (await drip(app, request(CHAT, chat()))).status == 408


async def test_an_idle_connection_is_no_slow_head() -> None:
    async with world(provider("east"), settings={"header_timeout": 0.05}) as here, here.app() as app:
        for _ in range(2):
            await asyncio.sleep(0.1)
            app.ask(CHAT, chat())
            assert (await app.answer()).status == 200


RAW: dict[str, bytes] = {
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": head("content-length: 2", start=f"POST {CHAT} HTTP/2.0") + b"{}",
    "HTTP/1.2": head("content-length: 2", start=f"POST {CHAT} HTTP/1.2") + b"{}",
    "HTTP/3": head("content-length: 2", start=f"POST {CHAT} HTTP/3.0") + b"{}",
    "no version": f"POST {CHAT}\r\nhost: localhost\r\n\r\n".encode(),
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http\r\n\r\n",
    "no host": head("content-length: 2", host="") + b"{}",
    "two hosts": head("content-length: 2", "host: evil.example") + b"{}",
    "header without colon": head("nonsense", "content-length: 2") + b"{}",
    "space before colon": head("x-a : b", "content-length: 2") + b"{}",
    "two lengths": head("content-length: 2", "content-length: 3") + b"{} ",
    "negative length": head("content-length: -1"),
    "length and chunks": head("content-length: 2", "transfer-encoding: chunked") + b"0\r\n\r\n",
    "unknown coding": head("transfer-encoding: gzip"),
    "chunked on HTTP/1.0": head("transfer-encoding: chunked", start=f"POST {CHAT} HTTP/1.0") + b"2\r\n{}\r\n0\r\n\r\n",
    "a long line": head("x-long: " + "y" * 70_000),
    "many headers": head(*(f"x-{number}: 1" for number in range(1000))),
    "a NUL": head("x-nul: a\0b", "content-length: 2") + b"{}",
    "broken chunks": head("transfer-encoding: chunked") + b"zz\r\n",
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
async def test_what_is_no_proper_http_is_refused(raw: bytes) -> None:
    async with world(provider("east")) as here:
        answer = await refused(here, raw)

        assert 400 <= answer.status < 500
        assert answer.headers["x-llmroute-error"] == "invalid_request" or answer.status in (403, 413)
        assert answer.headers["x-should-retry"] == "false"
        assert answer.whole
        assert answer.headers["x-request-id"]
        assert here.requests("east") == 1
        outcomes = (await here.metrics()).by("llmroute_requests_total", "outcome", route="")
        assert sum(outcomes.values()) == 1, "it is counted like any other request"
        assert b"Traceback" not in answer.body


async def test_a_refusal_before_the_path_is_known_is_plain_text_and_closes() -> None:
    async with world(provider("east")) as here, here.app() as app:
        app.send(RAW["garbage"])
        assert (await app.answer()).headers["content-type"].startswith("text/plain")
        assert await app.closed()


async def test_a_refusal_before_the_path_is_known_is_logged_with_the_id_that_the_app_got(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with world(provider("east")) as here, here.app() as app:
        app.send(RAW["garbage"])
        answer = await app.answer()
    lines = [json.loads(text) for text in capfd.readouterr().out.splitlines()]
    (told,) = [line for line in lines if line["event"] == "request"]
    assert told["request_id"] == answer.headers["x-request-id"]
    assert (told["status"], told["outcome"], told["error"]) == (400, "invalid_request", "invalid_request")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:4000", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:4000", "10.1.2.3:4000"]
)
async def test_names_of_this_machine_are_served(host: str) -> None:
    async with world(provider("east")) as here:
        assert (await here.ask(CHAT, chat(), {"host": host})).status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil.example:4000", "x@localhost"])
async def test_a_foreign_host_is_refused(host: str) -> None:
    """A web page can point its own name to 127.0.0.1."""
    async with world(provider("east")) as here:
        answer = await refused(here, request(CHAT, chat(), {"host": host}))
        assert answer.status == 403
        assert answer.error == "forbidden_origin"


async def test_a_host_may_be_allowed() -> None:
    async with world(provider("east"), settings={"allowed_hosts": ("LLM.internal",)}) as here:
        assert (await here.ask(CHAT, chat(), {"host": "llm.INTERNAL:4000"})).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
async def test_web_pages_are_refused(origin: str) -> None:
    async with world(provider("east")) as here:
        answer = await refused(here, request(CHAT, chat(), {"origin": origin}))
        assert answer.status == 403
        assert answer.error == "forbidden_origin"


async def test_an_origin_may_be_allowed() -> None:
    async with world(provider("east"), settings={"allowed_origins": ("http://localhost:3000",)}) as here:
        assert (await here.ask(CHAT, chat(), {"origin": "http://localhost:3000"})).status == 200
        assert (await here.ask(CHAT, chat(), {"origin": "http://localhost:3001"})).status == 403


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/files"])
async def test_a_browser_may_ask_ahead_for_an_origin_that_is_allowed(path: str) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-os"}
    async with world(provider("east"), settings={"allowed_origins": ("http://localhost:3000",)}) as here:
        answer = await here.ask(path, headers=asks | {"origin": "http://localhost:3000"}, method="OPTIONS")
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
        assert answer.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
        assert "POST" in answer.headers["access-control-allow-methods"]
        refused = await here.ask(path, headers=asks | {"origin": "http://localhost:3001"}, method="OPTIONS")
        assert refused.status == 403
        assert not [name for name in refused.headers if name.startswith("access-control-")]
        assert here.requests("east") == 0


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/nowhere"])
async def test_a_browser_may_show_the_answer_to_an_origin_that_is_allowed(path: str) -> None:
    page = "http://localhost:3000"
    async with world(provider("east"), settings={"allowed_origins": (page,)}) as here:
        for stream in (False, True):
            body = chat(stream=stream) if path == CHAT else None
            answer = await here.ask(path, body, {"origin": page})
            assert answer.headers["access-control-allow-origin"] == page
            assert answer.headers["access-control-expose-headers"] == "*"
            assert answer.headers["vary"] == "origin"
            assert "access-control-allow-origin" not in (await here.ask(path, body)).headers


@pytest.mark.parametrize("origin", [{"origin": "https://evil.example"}, {"host": "evil.example"}])
async def test_models_and_other_paths_are_guarded_as_well(origin: Mapping[str, str]) -> None:
    async with world(provider("east")) as here:
        for path in ("/v1/models", "/v1/files", "/nowhere"):
            assert (await here.ask(path, headers=origin)).status == 403
        assert here.requests("east") == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_another_method_is_refused(path: str, method: str) -> None:
    async with world(provider("east")) as here:
        answer = await here.ask(path, method=method)

        assert answer.status == 405
        assert answer.error == "method_not_allowed"
        assert answer.headers["allow"] == "POST"
        if method != "HEAD":
            assert "POST" in answer.message


async def test_head_leaves_the_connection_usable() -> None:
    async with world(provider("east")) as here, here.app() as app:
        for path, status in (("/v1/models", 200), (CHAT, 405), ("/nowhere", 404)):
            app.ask(path, method="HEAD")
            assert (await app.answer(bodiless=True)).status == status
        app.ask(CHAT, chat())
        assert (await app.answer()).status == 200


@pytest.mark.parametrize("path", ["/", "/v2/chat/completions", "/chat/completions", "/v1", "/metrics", "/status"])
async def test_an_unknown_path_is_refused(path: str) -> None:
    async with world(provider("east")) as here:
        answer = await here.ask(path)
        assert (answer.status, answer.error) == (404, "not_found")
        assert path in answer.message


async def test_a_query_behind_the_path_does_not_matter() -> None:
    async with world(provider("east")) as here:
        assert (await here.ask(f"{CHAT}?beta=true", chat())).status == 200


async def test_models_are_listed_in_both_dialects() -> None:
    async with world(provider("east"), models=["small", "gpt-4o", "org/model"]) as here:
        openai, anthropic = (
            await here.ask("/v1/models"),
            await here.ask("/v1/models", headers={"anthropic-version": "x"}),
        )
        one = await here.ask("/v1/models/org/model")
        none = await here.ask("/v1/models/gpt-5")

        assert [entry["id"] for entry in openai.json["data"]] == ["gpt-4o", "org/model", "small"]
        assert openai.json["object"] == "list"
        assert [entry["id"] for entry in anthropic.json["data"]] == ["gpt-4o", "org/model", "small"]
        assert anthropic.json["has_more"] is False
        assert one.json["id"] == "org/model"
        assert (none.status, none.error) == (404, "unknown_model")


WISHES = {
    "x-llmroute-priority": "fast",
    "x-llmroute-objective": "cheapness",
    "x-llmroute-max-latency": "soon",
    "x-llmroute-max-ttft": "-1s",
    "x-llmroute-min-quality": "9",
    "x-llmroute-expected-tokens": "many",
    "x-llmroute-tenant": "x" * 200,
    "x-llmroute-target": "nobody",
    "x-llmroute-cache": "sometimes",
    "x-llmroute-dry-run": "maybe",
    "x-llmroute-colour": "red",
}


@pytest.mark.parametrize("name", WISHES)
async def test_a_wish_that_is_not_understood_names_its_header(name: str) -> None:
    async with world(provider("east")) as here:
        answer = await here.chat(headers={name: WISHES[name]})

        assert answer.status == 400
        assert answer.error == "invalid_request"
        assert answer.json["error"]["param"] == name


async def test_a_request_id_of_the_app_is_kept_and_a_strange_one_replaced() -> None:
    async with world(provider("east")) as here:
        assert (await here.chat(headers={"x-request-id": "mine-1"})).headers["x-request-id"] == "mine-1"
        strange = (await here.chat(headers={"x-request-id": "x" * 500})).headers["x-request-id"]
        assert len(strange) == 32


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_old_clients_are_served_and_their_connection_closed(version: str, stream: bool) -> None:
    body = json.dumps(chat(stream=stream)).encode()
    start = f"POST {CHAT} HTTP/{version}"
    async with world(provider("east")) as here, here.app() as app:
        app.send(head(f"content-length: {len(body)}", "connection: close", start=start) + body)
        answer = await app.answer()

        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert answer.text
        if version == "1.0":
            assert "transfer-encoding" not in answer.headers
        assert await app.closed()


async def test_an_app_of_http_1_0_may_keep_its_connection() -> None:
    body = json.dumps(chat()).encode()
    async with world(provider("east")) as here, here.app() as app:
        for _ in range(2):
            start = f"POST {CHAT} HTTP/1.0"
            app.send(head(f"content-length: {len(body)}", "connection: keep-alive", start=start) + body)
            answer = await app.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_anthropics_sdk_finds_the_request_id_by_its_own_name(dialect: str) -> None:
    async with world(provider("east", dialect=dialect)) as here:
        answer = await here.message()
        refused = await here.ask("/v1/messages", {"model": "unknown", "max_tokens": 1, "messages": []})

        assert answer.headers["request-id"]
        assert refused.headers["request-id"] == refused.headers["x-request-id"]


async def test_names_that_are_too_long_are_not_remembered() -> None:
    async with world(provider("east")) as here:
        name = "x-" + "y" * 5000
        assert (await here.chat(headers={name: "1"})).status == 200
        assert here.fleet["east"].requests[0].header(name.encode()) == "1"
        assert max(map(len, admission._KINDS)) <= 64

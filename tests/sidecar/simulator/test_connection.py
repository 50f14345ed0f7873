"""HTTP/1.1 as clients really speak it."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from tests.sidecar.simulator.raw import CHAT, Client, connected

from llmroute.simulator import Fleet

BODY = json.dumps(CHAT).encode()
SMALL = "providers: [{name: p, outputTokens: {median: 3}}]"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Fleet.start(SMALL) as fleet, connected(fleet["p"]) as client:
        yield client


async def test_garbage_is_answered_with_400_and_the_end(client: Client) -> None:
    client.writer.write(b"HELLO\r\n\r\n")
    assert (await client.reader.read()).startswith(b"HTTP/1.1 400 ")


async def test_one_connection_carries_many_requests(client: Client) -> None:
    for stream in (False, True, False):
        client.send("/v1/chat/completions", CHAT | {"stream": stream})
        assert (await client.answer()).status == 200


async def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    for number in range(40):
        client.send("/v1/chat/completions", CHAT | {"model": f"m{number}"})
    assert [(await client.answer()).json["model"] for _ in range(40)] == [f"m{number}" for number in range(40)]


async def test_a_chunked_body_byte_by_byte(client: Client) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for byte in head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY):
        client.writer.write(bytes([byte]))
    assert (await client.answer()).status == 200


async def test_a_client_that_expects_100_continue_gets_it(client: Client) -> None:
    client.writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
        % len(BODY)
    )
    assert (await client.head())[0] == 100
    client.writer.write(BODY)
    assert (await client.answer()).status == 200


async def test_connection_close_is_obeyed(client: Client) -> None:
    client.send("/v1/chat/completions", CHAT, {"connection": "close"})
    assert (await client.answer()).headers["connection"] == "close"
    assert await client.reader.read() == b""


async def test_http_1_0_gets_a_stream_without_chunks_ended_by_close(client: Client) -> None:
    body = json.dumps(CHAT | {"stream": True}).encode()
    client.writer.write(b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    answer = await client.reader.read()
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"data: [DONE]\n\n")


async def test_a_body_beyond_the_limit_is_counted_and_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmroute.simulator.connection.KEPT_BODY", 1000)
    monkeypatch.setattr("llmroute.simulator.provider.KEPT_BODY", 1000)
    client.send("/v1/chat/completions", b"x" * 5000)
    assert (await client.answer()).status == 413
    client.send("/v1/files", b"x" * 5000, {"content-type": "multipart/form-data; boundary=b"})
    assert (await client.answer()).json["bytes"] == 5000


async def test_a_reader_that_stops_reading_stops_the_writer() -> None:
    text = "providers: [{name: p, outputTokens: {median: 60000}}]"
    async with Fleet.start(text) as fleet, connected(fleet["p"]) as client:
        client.send("/v1/chat/completions", CHAT | {"stream": True})
        await client.head()
        size = 0
        while chunk := await client.chunk():
            size += len(chunk)
            await asyncio.sleep(0)
        assert size > 60000 * 100
        assert fleet["p"].stats.cancelled == 0

"""One request to a peer and whether its answer is the mock's: a gateway that answers wrongly is not measured."""

import http.client
import json
import secrets
from dataclasses import replace

from bench.proxy.cases import CASES, Case, request_body
from bench.proxy.peers import Peer
from bench.proxy.upstream import ANSWER_TEXT, stream_tokens

_TIMEOUT = 30.0


class Refused(Exception):
    """The peer answered, but not with what the mock said."""


def ask(port: int, peer: Peer, headers: tuple[tuple[str, str], ...], *, stream: bool) -> int:
    """Send one small request; the number of events with content for a stream, 1 otherwise.

    Raises:
        Refused: another status or text than the mock's.
        OSError: no connection, or none that lasted.
    """
    case: Case = replace(CASES[0], stream=stream)
    before, after = request_body(case, peer.model)
    body = before + secrets.token_hex(8).encode() + after
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    try:
        connection.request("POST", peer.path, body, {"content-type": "application/json", **dict(headers)})
        response = connection.getresponse()
        answer = response.read()
    except http.client.HTTPException as error:
        raise Refused(type(error).__name__) from error
    finally:
        connection.close()
    if response.status != 200:
        raise Refused(f"status {response.status}")
    try:
        pieces = _streamed(answer) if stream else [json.loads(answer)["choices"][0]["message"]["content"]]
    except (ValueError, LookupError, TypeError) as error:
        raise Refused("an answer of another form") from error
    expected = "".join(stream_tokens()) if stream else ANSWER_TEXT
    if "".join(pieces) != expected:
        raise Refused("another text than the mock's")
    return len(pieces)


def _streamed(answer: bytes) -> list[str]:
    """The non-empty contents of a stream's events."""
    lines = [line[6:] for line in answer.splitlines() if line.startswith(b"data: ")]
    if not lines or lines.pop() != b"[DONE]":
        raise Refused("a stream without [DONE]")
    contents = [choice["delta"].get("content") for line in lines for choice in json.loads(line)["choices"]]
    return [content for content in contents if content]

"""Which requests may share an answer, and which never."""

import json

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.cache import cache_key
from llmroute.cache.key import canonical
from llmroute.request import NO_WISHES, InferenceRequest, Operation, Peek, Wishes

HELLO = b'{"model": "chat", "messages": [{"role": "user", "content": "Say \\"hi\\""}], "temperature": 0}'


def asked(
    body: bytes = HELLO,
    *,
    operation: Operation = Operation.CHAT,
    wishes: Wishes = NO_WISHES,
    credential: bytes = b"",
    dialect_headers: bytes = b"",
    headers: bytes = b"",
) -> InferenceRequest:
    peek = Peek(model="chat", stream=False, fields={}, prompt_tokens=3)
    return InferenceRequest(
        id="r",
        operation=operation,
        peek=peek,
        body=body,
        wishes=wishes,
        arrived=0.0,
        credential_hash=credential,
        headers=headers,
        dialect_headers=dialect_headers,
    )


def key(request: InferenceRequest, *, isolate_by: tuple[str, ...] = ("tenant", "credential")) -> bytes:
    return cache_key("shop", "chat", request, isolate_by)  # type: ignore[arg-type]


def test_a_key_has_32_bytes() -> None:
    assert len(key(asked())) == 32


def test_order_of_members_and_white_space_do_not_matter() -> None:
    spelled = b'{"temperature":0,"messages":[ {"content":"Say \\"hi\\"","role":"user"} ],"model":"chat"}'
    assert key(asked(spelled)) == key(asked())


def test_a_stream_and_a_body_share_an_answer() -> None:
    stream = HELLO[:-1] + b', "stream": true, "stream_options": {"include_usage": true}}'
    assert key(asked(stream)) == key(asked(HELLO[:-1] + b', "stream": false}')) == key(asked())


@pytest.mark.parametrize(
    "other",
    [
        HELLO.replace(b"hi", b"ho"),
        HELLO.replace(b'"temperature": 0', b'"temperature": 1'),
        HELLO.replace(b'"temperature": 0', b'"temperature": null'),
        HELLO[:-1] + b', "seed": 1}',
        HELLO.replace(b'"chat"', b'"other"'),
    ],
    ids=["prompt", "number", "null", "unknown member", "model"],
)
def test_another_body_is_another_answer(other: bytes) -> None:
    assert key(asked(other)) != key(asked())


@pytest.mark.parametrize(
    "other",
    [
        asked(operation=Operation.RESPONSES),
        asked(operation=Operation.MESSAGES),
        asked(credential=b"another key"),
        asked(wishes=Wishes(tenant="gold")),
        asked(wishes=Wishes(priority="cost")),
        asked(wishes=Wishes(objective="ttft")),
        asked(wishes=Wishes(max_latency=2.0)),
        asked(wishes=Wishes(max_ttft=2.0)),
        asked(wishes=Wishes(min_quality=4)),
        asked(wishes=Wishes(expected_tokens=0)),
        asked(wishes=Wishes(target="openai-east")),
        asked(dialect_headers=b"anthropic-beta: output-128k\r\n"),
    ],
    ids=lambda request: repr((request.operation.label, request.wishes, request.dialect_headers)),
)
def test_other_callers_and_other_wishes_get_other_answers(other: InferenceRequest) -> None:
    assert key(other) != key(asked())


def test_the_route_is_part_of_the_key() -> None:
    keys = {cache_key(*place, asked(), ()) for place in [("shop", "chat"), ("shop", "chat2"), ("sho", "pchat")]}
    assert len(keys) == 3


def test_the_same_wishes_in_other_places_are_other_wishes() -> None:
    assert key(asked(wishes=Wishes(max_latency=2.0))) != key(asked(wishes=Wishes(max_ttft=2.0)))
    assert key(asked(wishes=Wishes(priority="speed"))) != key(asked(wishes=Wishes(tenant="speed")))


@pytest.mark.parametrize("wishes", [Wishes(no_store=True), Wishes(refresh=True), Wishes(dry_run=True)])
def test_wishes_about_the_cache_itself_do_not_matter(wishes: Wishes) -> None:
    assert key(asked(wishes=wishes)) == key(asked())


def test_headers_that_only_trace_do_not_matter() -> None:
    assert key(asked(headers=b"traceparent: 00-1-2-01\r\n")) == key(asked())


def test_callers_share_where_the_route_says_so() -> None:
    gold, iron = asked(wishes=Wishes(tenant="gold")), asked(wishes=Wishes(tenant="iron"))
    mine, yours = asked(credential=b"mine"), asked(credential=b"yours")
    assert key(gold, isolate_by=("credential",)) == key(iron, isolate_by=("credential",))
    assert key(gold, isolate_by=("tenant",)) != key(iron, isolate_by=("tenant",))
    assert key(mine, isolate_by=("tenant",)) == key(yours, isolate_by=("tenant",))
    assert key(mine, isolate_by=("credential",)) != key(yours, isolate_by=("credential",))


@pytest.mark.parametrize(
    "planted",
    [
        b'{"model":"chat","messages":"evil","messages":"good"}',
        b'{"model":"chat","me\\u0073sages":"evil","messages":"good"}',
        b'{"model":"chat","messages":[{"a":1,"a":2}]}',
        b'{"model":"chat","messages":"good","stream":false,"stream":true}',
        b'{"model":"chat","messages":"\\u0022\\u0022","messages":"\\u0022\\u0022\\u0022\\u0022"}',
    ],
)
def test_a_member_that_is_there_twice_cannot_plant_an_answer(planted: bytes) -> None:
    assert canonical(planted) == planted


@pytest.mark.parametrize(
    "strange",
    [
        b'{"messages":"\\ud800"}',
        b'{"messages":' + b"[" * 600 + b"]" * 600 + b"}",
        b'{"messages":' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"messages":"\xff"}',
        b'{"messages": NaN}',
    ],
    ids=["unpaired surrogate", "deep", "deeper", "no UTF-8", "NaN"],
)
def test_a_body_that_the_parser_refuses_stands_for_itself(strange: bytes) -> None:
    assert canonical(strange) == strange
    assert len(key(asked(strange))) == 32


def test_headers_that_are_no_text_are_no_obstacle() -> None:
    assert key(asked(wishes=Wishes(tenant="\udc80"))) != key(asked(wishes=Wishes(tenant="\\udc80")))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.dictionaries(st.text(max_size=8), JSON, max_size=6)


@given(BODIES, st.booleans(), st.randoms(use_true_random=False))
def test_every_spelling_of_a_body_has_one_key(body: dict[str, object], ascii_only: bool, rng: object) -> None:
    shuffled = dict(sorted(body.items(), key=lambda _: rng.random()))  # type: ignore[attr-defined]
    spelled = json.dumps(shuffled, ensure_ascii=ascii_only, indent=1).encode("utf-8", "surrogatepass")
    again = canonical(spelled)
    if again != spelled:
        assert orjson.loads(again) == {k: v for k, v in body.items() if k not in ("stream", "stream_options")}
        assert again == canonical(orjson.dumps(body))


@given(BODIES, BODIES)
def test_different_bodies_have_different_keys(one: dict[str, object], other: dict[str, object]) -> None:
    for body in (one, other):
        body.pop("stream", None)
        body.pop("stream_options", None)
    same = canonical(orjson.dumps(one)) == canonical(orjson.dumps(other))
    assert same == (
        msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic")
    )

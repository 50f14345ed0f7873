"""Frames: however the network cuts a stream, the app gets the same bytes and we see the same frames."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sidecar.dialects.world import DONE, chunk, data, few, usage_chunk

from llmroute.dialects import sse
from llmroute.dialects.openai import ChunkReader
from llmroute.errors import StreamBroken

lines = st.sampled_from(
    [
        b"data: {}",
        b'data:{"a":"\xc3\xa9\xe4\xbd\xa0"}',
        b"event: x",
        b": comment",
        b"data: two",
        b"id: 7",
        b"data",
        b":",
    ]
)
endings = st.sampled_from([b"\n", b"\r\n"])
frames = st.tuples(st.lists(lines, min_size=1, max_size=3), endings, endings).map(
    lambda parts: b"".join(line + parts[1] for line in parts[0]) + parts[2]
)
streams = st.lists(frames, min_size=1, max_size=6).map(b"".join)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream as reads that end at these places."""
    at = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in pairwise(at)]


@few
@given(streams)
def test_frames_together_are_the_stream(stream: bytes) -> None:
    assert b"".join(sse.frames(stream)) == stream
    assert sse.end_of_frames(stream) == len(stream)


@few
@given(streams, st.lists(st.integers(0, 500), max_size=12))
def test_any_chunking_gives_the_same_frames(stream: bytes, places: list[int]) -> None:
    seen = []
    rest = b""
    for read in cut(stream, places):
        rest += read
        end = sse.end_of_frames(rest)
        seen += [sse.parse(frame) for frame in sse.frames(rest[:end])]
        rest = rest[end:]
    assert rest == b""
    assert [frame for frame in seen if frame != ("", b"")] == [
        frame for frame in map(sse.parse, sse.frames(stream)) if frame != ("", b"")
    ]


COMMENT = b": PROCESSING\n\n"
CRLF = chunk({"content": "sch\u00f6n \u4f60\u597d"}).replace(b"\n\n", b"\r\n\r\n")
BODY = [chunk({"role": "assistant", "content": ""}), COMMENT, chunk({"content": "a"}), chunk({"content": "b"}), CRLF]
END = [chunk({"content": "c"}), chunk(finish="stop"), usage_chunk(prompt_tokens=3, completion_tokens=0), DONE]


@few
@given(st.lists(st.sampled_from(BODY), max_size=12), st.lists(st.integers(0, 4000), max_size=20), st.booleans())
def test_any_chunking_relays_the_same_bytes(body: list[bytes], places: list[int], drops: bool) -> None:
    whole = b"".join([*body, *END])
    reader = ChunkReader(drops_usage=drops)
    relayed = b"".join([reader.feed(read) for read in cut(whole, places)]) + reader.close()

    assert relayed == (whole.replace(END[2], b"") if drops else whole)
    assert reader.ended and reader.finish == "stop" and reader.failure is None
    assert reader.usage is not None and (reader.usage.input, reader.usage.output) == (3, 0)


@few
@given(st.lists(st.integers(0, 4000), max_size=20))
def test_each_relay_is_whole_frames(places: list[int]) -> None:
    whole = b"".join([*BODY, *END])
    reader = ChunkReader(drops_usage=True)
    for read in cut(whole, places):
        relayed = reader.feed(read)
        assert sse.end_of_frames(relayed) == len(relayed)


def test_a_frame_is_read_as_the_standard_says() -> None:
    assert sse.parse(b"event: a\ndata: 1\n\n") == ("a", b"1")
    assert sse.parse(b"data:1\ndata: 2\ndata:  3\n\n") == ("", b"1\n2\n 3")
    assert sse.parse(b"event:a\r\ndata:1\r\n\r\n") == ("a", b"1")
    assert sse.parse(b": comment\n\n") == ("", b"")
    assert sse.parse(b"data\n\n") == ("", b"")
    assert sse.parse(b"id: 1\nretry: 5\ndata: x\n\n") == ("", b"x")


def test_data_of_several_lines_is_one_answer() -> None:
    reader = ChunkReader(drops_usage=False)
    frame = b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"hi"}}]}\n\n'
    assert reader.feed(frame) == frame
    assert reader.first_content


def test_an_unending_frame_is_not_held_for_ever() -> None:
    reader = ChunkReader(drops_usage=False)
    reader.feed(data({"choices": []}))
    with pytest.raises(StreamBroken, match="frame"):
        for _ in range(20):
            reader.feed(b"x" * 1024 * 1024)

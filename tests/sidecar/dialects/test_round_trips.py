"""What is said in one dialect means the same after a journey through our form, the other dialect, and back."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.sidecar.dialects.world import ANTHROPIC, CREATED, OPENAI, chat, feed_all, few, messages, target

from llmroute import dialects
from llmroute.dialects import anthropic, openai
from llmroute.dialects.conversation import (
    Answer,
    CallPiece,
    CallStarted,
    Conversation,
    Counted,
    Ended,
    Finished,
    Format,
    Image,
    Part,
    Piece,
    Started,
    Text,
    TextPiece,
    Thinking,
    ThinkingPiece,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from llmroute.dialects.fields import split
from llmroute.dialects.sse import frames, parse
from llmroute.request import Usage

words = st.text(min_size=1, max_size=12).map(lambda text: f"<{text}>")
names = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
arguments = st.dictionaries(names, json_values, max_size=3).map(lambda value: msgspec.json.encode(value).decode())
texts = st.builds(Text, words)
images = st.one_of(
    st.builds(Image, url=names.map(lambda name: f"https://example.com/{name}")),
    st.builds(Image, media_type=st.sampled_from(["image/png", "image/webp"]), content=names),
)
calls = st.builds(ToolCall, id=names, name=names, arguments=arguments)
results = st.builds(ToolResult, call_id=names, parts=texts.map(lambda text: (text,)))
asked = st.tuples(st.lists(results, max_size=2), st.lists(texts | images, min_size=1, max_size=3)).map(
    lambda both: Turn("user", (*both[0], *both[1]))
)


@st.composite
def replies(draw: st.DrawFn) -> Turn:
    text = draw(st.none() | texts)
    made = draw(st.lists(calls, min_size=0 if text else 1, max_size=3))
    return Turn("assistant", (*([text] if text else ()), *made))


def schemas() -> st.SearchStrategy[Raw]:
    return st.lists(names, unique=True, max_size=3).map(
        lambda keys: Raw(
            msgspec.json.encode(
                {"type": "object", "properties": {k: {} for k in keys}, "required": keys, "additionalProperties": False}
            )
        )
    )


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    system = [Turn("system", (draw(texts),))] if draw(st.booleans()) else []
    exchanges = [turn for _ in range(draw(st.integers(0, 2))) for turn in (draw(asked), draw(replies()))]
    tools = draw(st.lists(st.builds(Tool, name=names, description=st.none() | words, schema=schemas()), max_size=2))
    choices = st.builds(
        ToolChoice,
        kind=st.sampled_from(["auto", "none", "required", "named"]),
        name=st.just("f"),
        parallel=st.just(None),
    )
    called = any(isinstance(part, ToolCall) for turn in exchanges for part in turn.parts)
    if called and not tools:
        tools = [Tool("f")]
    choice = draw(choices) if tools else ToolChoice()
    return Conversation(
        turns=(*system, *exchanges, draw(asked)),
        tools=tuple(tools),
        tool_choice=choice if choice.kind == "named" else ToolChoice(choice.kind),
        format=draw(st.none() | st.builds(Format, schema=schemas())),
        max_tokens=draw(st.integers(1, 9999)),
        temperature=draw(st.none() | st.sampled_from([0.0, 0.5, 1.0])),
        stop=tuple(draw(st.lists(words, max_size=4))),
        user=draw(st.none() | names),
        stream=draw(st.booleans()),
    )


def meaning(conversation: Conversation) -> Any:
    """As values that compare, with neighbouring turns of one role as one: both dialects read them so."""
    document = json.loads(msgspec.json.encode(conversation))
    merged: list[dict[str, Any]] = []
    for turn in document["turns"]:
        if merged and merged[-1]["role"] == turn["role"]:
            merged[-1]["parts"] += turn["parts"]
        else:
            merged.append(turn)
    return {**document, "turns": merged, "format": document["format"] and document["format"]["schema"]}


def through_openai(conversation: Conversation) -> Conversation:
    body = openai.write_request(conversation, OPENAI, target())
    return openai.read_request(body, split(body))


def through_anthropic(conversation: Conversation) -> Conversation:
    body = anthropic.write_request(conversation, ANTHROPIC, target(ANTHROPIC))
    return anthropic.read_request(body, split(body))


@few
@given(conversations())
def test_a_chat_request_means_the_same_after_our_form(conversation: Conversation) -> None:
    assert meaning(through_openai(conversation)) == meaning(conversation)


@few
@given(conversations())
def test_a_messages_request_means_the_same_after_our_form(conversation: Conversation) -> None:
    assert meaning(through_anthropic(conversation)) == meaning(conversation)


@few
@given(conversations())
def test_a_chat_request_means_the_same_after_the_other_dialect(conversation: Conversation) -> None:
    assert meaning(through_openai(through_anthropic(through_openai(conversation)))) == meaning(conversation)


@few
@given(conversations())
def test_a_messages_request_means_the_same_after_the_other_dialect(conversation: Conversation) -> None:
    assert meaning(through_anthropic(through_openai(through_anthropic(conversation)))) == meaning(conversation)


@few
@given(words, names, words)
def test_signed_thinking_and_failed_tools_survive_their_own_dialect(thought: str, signature: str, said: str) -> None:
    turns = (
        Turn("user", (Text("go"),)),
        Turn("assistant", (Thinking(thought, signature), Thinking(redacted=signature), ToolCall("c", "f", "{}"))),
        Turn("user", (ToolResult("c", (Text(said), Image(url="https://example.com")), is_error=True),)),
    )
    conversation = Conversation(turns=turns, tools=(Tool("f"),), max_tokens=5)
    assert meaning(through_anthropic(conversation)) == meaning(conversation)


@few
@given(st.sampled_from([None, Format()]))
def test_json_without_a_schema_survives_its_own_dialect(wanted: Format | None) -> None:
    turns = (Turn("user", (Text("go"),)),)
    assert through_openai(Conversation(turns=turns, format=wanted)).format == wanted


usages = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)).map(
    lambda n: Usage(input=n[0] + n[1] + n[2], output=n[3], cached_input=n[1], cache_written=n[2])
)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    thought = draw(st.none() | st.builds(Thinking, text=words))
    text = draw(st.none() | texts)
    made = draw(st.lists(calls, max_size=3, unique_by=lambda call: call.id))
    parts: tuple[Part, ...] = (*([thought] if thought else ()), *([text] if text else ()), *made)
    finish = "tool_calls" if made else draw(st.sampled_from(["stop", "length", "content_filter"]))
    stopped = draw(st.none() | words) if finish == "stop" else None
    return Answer(id="a-1", model="m", parts=parts, finish=finish, stop_sequence=stopped, usage=draw(usages))  # type: ignore[arg-type]


def unsigned(answer: Answer) -> Answer:
    """Without the mark that other models' reasoning carries in Anthropic's dialect."""
    parts = tuple(Thinking(part.text) if isinstance(part, Thinking) else part for part in answer.parts)
    return msgspec.structs.replace(answer, parts=parts)


@few
@given(answers())
def test_a_completion_means_the_same_after_our_form(answer: Answer) -> None:
    assert openai.read_answer(openai.write_answer(answer, created=CREATED)) == answer


@few
@given(answers())
def test_a_message_means_the_same_after_our_form(answer: Answer) -> None:
    assert unsigned(anthropic.read_answer(anthropic.write_answer(answer, thinking=True))) == answer


@few
@given(answers())
def test_a_completion_means_the_same_after_the_other_dialect(answer: Answer) -> None:
    message = feed_all(
        dialects.answer_reader(messages(thinking={"type": "adaptive"}), OPENAI),
        openai.write_answer(answer, created=CREATED),
    )
    assert openai.read_answer(feed_all(dialects.answer_reader(chat(), ANTHROPIC), message)) == answer


def pieces_of(answer: Answer) -> list[Piece]:
    pieces: list[Piece] = [Started(answer.id, answer.model)]
    made = 0
    for part in answer.parts:
        if isinstance(part, Thinking):
            pieces += [ThinkingPiece(part.text[:2]), ThinkingPiece(part.text[2:])]
        elif isinstance(part, Text):
            pieces += [TextPiece(part.text[:2]), TextPiece(part.text[2:])]
        elif isinstance(part, ToolCall):
            pieces += [CallStarted(made, part.id, part.name), CallPiece(made, part.arguments)]
            made += 1
    pieces.append(Finished(answer.finish, answer.stop_sequence))
    if answer.usage is not None:
        pieces.append(Counted(answer.usage))
    return [*pieces, Ended()]


def folded(pieces: list[Piece]) -> Answer:
    """The answer that a stream's pieces tell."""
    started = next(piece for piece in pieces if isinstance(piece, Started))
    finished = next(piece for piece in pieces if isinstance(piece, Finished))
    counted = [piece.usage for piece in pieces if isinstance(piece, Counted)]
    thought = "".join(piece.text for piece in pieces if isinstance(piece, ThinkingPiece))
    text = "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))
    made = [
        ToolCall(
            start.id,
            start.name,
            "".join(p.arguments for p in pieces if isinstance(p, CallPiece) and p.index == start.index),
        )
        for start in pieces
        if isinstance(start, CallStarted)
    ]
    parts: tuple[Part, ...] = (*([Thinking(thought)] if thought else ()), *([Text(text)] if text else ()), *made)
    usage = counted[-1] if counted else None
    return Answer(
        id=started.id,
        model=started.model,
        parts=parts,
        finish=finished.finish,
        stop_sequence=finished.stop_sequence,
        usage=usage,
    )


def read_stream(reader: openai.PieceReader | anthropic.PieceReader, stream: bytes) -> Answer:
    pieces: list[Piece] = []
    for frame in frames(stream):
        read = reader.read(*parse(frame))
        assert isinstance(read, list)
        pieces += read
    assert isinstance(pieces[-1], Ended)
    return folded(pieces)


def chunks_of(answer: Answer) -> bytes:
    writer = openai.PieceWriter(include_usage=True, created=CREATED)
    return b"".join(writer.write(piece) for piece in pieces_of(answer))


def events_of(answer: Answer) -> bytes:
    writer = anthropic.PieceWriter(thinking=True, prompt_tokens=1)
    return b"".join(writer.write(piece) for piece in pieces_of(answer))


@few
@given(answers())
def test_a_chat_stream_means_the_same_after_our_form(answer: Answer) -> None:
    assert read_stream(openai.PieceReader(), chunks_of(answer)) == answer


@few
@given(answers())
def test_a_message_stream_means_the_same_after_our_form(answer: Answer) -> None:
    assert read_stream(anthropic.PieceReader(), events_of(answer)) == answer


@few
@given(answers())
def test_a_chat_stream_means_the_same_after_the_other_dialect(answer: Answer) -> None:
    request = messages(stream=True, thinking={"type": "adaptive"})
    events = feed_all(dialects.answer_reader(request, OPENAI), chunks_of(answer))
    assert read_stream(anthropic.PieceReader(), events) == answer
    back = chat(stream=True, stream_options={"include_usage": True})
    assert read_stream(openai.PieceReader(), feed_all(dialects.answer_reader(back, ANTHROPIC), events)) == answer


@few
@given(answers())
def test_a_stream_and_a_body_mean_the_same(answer: Answer) -> None:
    chunks = chunks_of(answer)
    assert openai.read_answer(openai.from_chunks(chunks, None)) == answer
    assert (
        read_stream(
            openai.PieceReader(), openai.to_chunks(openai.write_answer(answer, created=CREATED), include_usage=True)
        )
        == answer
    )
    message = anthropic.write_answer(answer, thinking=True)
    assert read_stream(anthropic.PieceReader(), anthropic.to_events(message)) == answer
    assert unsigned(anthropic.read_answer(anthropic.from_events(events_of(answer)))) == answer

"""What else OpenAI's Python SDK can do: answered by targets that speak OpenAI's API, translated for no other."""

import hashlib
from pathlib import Path

import openai
import pytest
from pydantic import BaseModel
from tests.clients.programs import Sidecar
from tests.clients.schemas import Journey, openai_tools

SPOKEN = 16 * 1024
"""Bytes of each simulated sound."""


def test_texts_are_embedded(openai_app: openai.OpenAI) -> None:
    answer = openai_app.embeddings.create(model="openai", input=["one", "two"], dimensions=8)
    assert [part.index for part in answer.data] == [0, 1]
    assert [len(part.embedding) for part in answer.data] == [8, 8]
    assert answer.data[0].embedding != answer.data[1].embedding
    assert answer.usage.prompt_tokens > 0


def test_embeddings_come_as_floats_too(openai_app: openai.OpenAI) -> None:
    packed = openai_app.embeddings.create(model="openai", input="one", dimensions=8)
    plain = openai_app.embeddings.create(model="openai", input="one", dimensions=8, encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(packed.data[0].embedding)


def test_a_prompt_is_completed(openai_app: openai.OpenAI) -> None:
    answer = openai_app.completions.create(model="openai", prompt="Once upon")
    assert len(answer.choices[0].text.split()) == 12
    assert answer.usage is not None and answer.usage.completion_tokens == 12


def test_a_completion_is_streamed(openai_app: openai.OpenAI) -> None:
    chunks = list(openai_app.completions.create(model="openai", prompt="Once upon", stream=True))
    assert len("".join(chunk.choices[0].text for chunk in chunks).split()) == 12
    assert all(chunk.usage is None for chunk in chunks)


def test_a_response_comes_whole(openai_app: openai.OpenAI) -> None:
    answer = openai_app.responses.create(model="openai", instructions="Be brief.", input="Hello")
    assert answer.status == "completed"
    assert len(answer.output_text.split()) == 12
    assert answer.usage is not None and answer.usage.output_tokens == 12


def test_a_response_is_streamed(openai_app: openai.OpenAI) -> None:
    with openai_app.responses.stream(model="openai", input="Hello") as stream:
        events = list(stream)
        answer = stream.get_final_response()
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == answer.output_text
    assert [event.type for event in events][-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_response_calls_tools(openai_app: openai.OpenAI) -> None:
    tools = [tool["function"] for tool in openai_tools()]
    answer = openai_app.responses.create(
        model="openai",
        input="weather and traffic, in parallel",
        tools=[
            {"type": "function", "name": tool["name"], "parameters": dict(tool["parameters"]), "strict": True}
            for tool in tools
        ],
    )
    assert [item.name for item in answer.output if item.type == "function_call"] == [tool["name"] for tool in tools]


def test_a_response_is_parsed_into_a_type(openai_app: openai.OpenAI) -> None:
    answer = openai_app.responses.parse(model="openai", input="Hello", text_format=Journey)
    assert isinstance(answer.output_parsed, Journey)


def test_a_response_follows_another(openai_app: openai.OpenAI) -> None:
    first = openai_app.responses.create(model="openai", input="Hello")
    second = openai_app.responses.create(model="openai", input="And?", previous_response_id=first.id)
    assert second.previous_response_id == first.id


def test_what_only_openai_targets_answer_is_refused_elsewhere(openai_app: openai.OpenAI) -> None:
    for ask in (
        lambda: openai_app.responses.create(model="anthropic", input="Hello"),
        lambda: openai_app.embeddings.create(model="anthropic", input="Hello"),
        lambda: openai_app.completions.create(model="anthropic", prompt="Hello"),
    ):
        with pytest.raises(openai.BadRequestError, match="no target of this route can"):
            ask()


def test_models_are_listed(openai_app: openai.OpenAI) -> None:
    listed = [model.id for model in openai_app.models.list()]
    assert {"openai", "anthropic"} <= set(listed)
    assert openai_app.models.retrieve("anthropic").object == "model"
    with pytest.raises(openai.NotFoundError, match="rescued-openai"):
        openai_app.models.retrieve("no-such-model")


def test_files_are_uploaded(openai_app: openai.OpenAI, tmp_path: Path) -> None:
    content = b"\x00\xff\r\n--boundary" * 100_000
    path = tmp_path / "upload.bin"
    path.write_bytes(content)
    uploaded = openai_app.files.create(file=path, purpose="user_data")
    assert uploaded.id.startswith("file-")
    assert len(content) < uploaded.bytes < len(content) + 1000, "the parts' heads come on top"
    assert list(openai_app.files.list())


def test_speech_is_transcribed(openai_app: openai.OpenAI) -> None:
    sound = hashlib.shake_128(b"sound").digest(300_000)
    heard = openai_app.audio.transcriptions.create(model="whisper-1", file=("sound.mp3", sound))
    assert int(heard.text.split()[0]) > len(sound)


def test_sound_comes_back_unchanged(openai_app: openai.OpenAI, tmp_path: Path) -> None:
    spoken = openai_app.audio.speech.create(model="tts-1", voice="alloy", input="Hello")
    assert len(spoken.content) == SPOKEN
    file = tmp_path / "spoken.mp3"
    with openai_app.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="Hello") as stream:
        stream.stream_to_file(file)
    assert file.read_bytes() == spoken.content


def test_other_paths_pass_through(openai_app: openai.OpenAI) -> None:
    picture = openai_app.images.generate(model="gpt-image-1", prompt="a dot")
    assert picture.data is not None and picture.data[0].b64_json
    assert not openai_app.moderations.create(input="Hello").results[0].flagged


async def test_an_asynchronous_app_is_served_alike(sidecar: Sidecar) -> None:
    class Title(BaseModel):
        title: str

    async with openai.AsyncOpenAI(base_url=sidecar.openai_url, api_key="key-of-the-app") as app:
        embedded = await app.embeddings.create(model="openai", input="one", dimensions=8)
        assert len(embedded.data[0].embedding) == 8
        async with app.responses.stream(model="openai", input="Hello", text_format=Title) as stream:
            answer = await stream.get_final_response()
        assert answer.output_parsed == Title(title="simulated")
        spoken = await app.audio.speech.create(model="tts-1", voice="alloy", input="Hello")
        assert len(await spoken.aread()) == SPOKEN
        assert [model.id async for model in app.models.list()]

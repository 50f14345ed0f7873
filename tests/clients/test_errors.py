"""What the SDKs raise when things go wrong: the class that fits, our message, and no retry on top of ours."""

from collections.abc import Callable

import anthropic
import openai
import pytest
from tests.clients.conftest import KEYS
from tests.clients.programs import Sidecar

Ask = Callable[..., object]
"""Asks for a model by one of the SDKs; keyword arguments go to the SDK."""


@pytest.fixture(params=["openai", "anthropic"])
def sdk(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ask(sdk: str, openai_app: openai.OpenAI, anthropic_app: anthropic.Anthropic) -> Ask:
    if sdk == "openai":
        return lambda model, **more: openai_app.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}], **more
        )
    return lambda model, **more: anthropic_app.messages.create(
        model=model, max_tokens=100, messages=[{"role": "user", "content": "Hello"}], **more
    )


def refused(
    ask: Callable[[], object], kind: type[openai.APIStatusError | anthropic.APIStatusError]
) -> openai.APIStatusError | anthropic.APIStatusError:
    """The error, once it is certain that the SDK asked only once, although both SDKs ask three times by default."""
    with pytest.raises(kind) as caught:
        ask()
    assert isinstance(caught.value, openai.APIStatusError | anthropic.APIStatusError)
    assert caught.value.request.headers["x-stainless-retry-count"] == "0"
    assert caught.value.response.headers["x-should-retry"] == "false"
    for key in KEYS.values():
        assert key not in caught.value.response.text
    return caught.value


def kind(sdk: str, name: str) -> type[openai.APIStatusError | anthropic.APIStatusError]:
    """The exception of that name of the SDK."""
    found: type[openai.APIStatusError | anthropic.APIStatusError] = getattr(
        {"openai": openai, "anthropic": anthropic}[sdk], name
    )
    return found


def test_an_unknown_model_is_not_found_and_the_known_ones_are_told(sdk: str, ask: Ask) -> None:
    error = refused(lambda: ask("no-such-model"), kind(sdk, "NotFoundError"))
    assert "rescued-anthropic" in error.message
    assert error.response.headers["x-llmroute-error"] == "unknown_model"


def test_a_body_that_the_sidecar_cannot_read_is_a_bad_request(sdk: str, ask: Ask) -> None:
    error = refused(lambda: ask(17), kind(sdk, "BadRequestError"))
    assert "model" in error.message
    assert error.response.headers["x-llmroute-error"] == "invalid_request"


def test_what_the_target_refuses_is_the_apps_own_mistake(sdk: str, ask: Ask, target: str) -> None:
    error = refused(lambda: ask(target, extra_body={"max_tokens": 0}), kind(sdk, "BadRequestError"))
    assert error.response.headers["x-llmroute-attempts"] == f"{target}:client-error"
    assert "x-llmroute-error" not in error.response.headers, "it is the target's word, not ours"
    assert "max_tokens" in error.message
    assert isinstance(error.body, dict), "an error of the app's own API"
    assert ("error" in error.body) == (sdk == "anthropic")


def test_what_no_target_can_express_is_a_bad_request_that_names_the_field(
    openai_app: openai.OpenAI, anthropic_app: anthropic.Anthropic
) -> None:
    error = refused(
        lambda: openai_app.chat.completions.create(
            model="anthropic", messages=[{"role": "user", "content": "Hello"}], n=2
        ),
        openai.BadRequestError,
    )
    assert isinstance(error, openai.BadRequestError)
    assert error.param == "n"
    assert error.response.headers["x-llmroute-error"] == "unsupported"
    refused(
        lambda: anthropic_app.messages.create(
            model="openai",
            max_tokens=100,
            messages=[{"role": "user", "content": "Hello"}],
            extra_body={"mcp_servers": [{"type": "url", "url": "https://tools.example.org", "name": "tools"}]},
        ),
        anthropic.BadRequestError,
    )


def test_a_limit_comes_through_with_the_time_to_wait(sdk: str, ask: Ask, target: str) -> None:
    error = refused(lambda: ask(f"limited-{target}"), kind(sdk, "RateLimitError"))
    assert 1 <= int(error.response.headers["retry-after"]) <= 7
    assert error.response.headers["x-llmroute-error"] == "rate_limited"


def test_a_target_that_fails_is_a_bad_gateway(sdk: str, ask: Ask, target: str) -> None:
    error = refused(lambda: ask(f"failing-{target}"), kind(sdk, "InternalServerError"))
    assert error.status_code == 502
    assert "server-error" in error.response.headers["x-llmroute-attempts"]


def test_a_stream_that_never_begins_is_an_error_too(sdk: str, ask: Ask, target: str) -> None:
    error = refused(lambda: ask(f"failing-{target}", stream=True), kind(sdk, "InternalServerError"))
    assert error.status_code == 502


@pytest.mark.parametrize("trouble", ["locked", "picky"])
def test_a_target_that_rejects_our_key_or_model_is_not_the_apps_mistake(
    sdk: str, ask: Ask, target: str, trouble: str
) -> None:
    """A 401 or 404 would tell the app that its own key or model is wrong."""
    error = refused(lambda: ask(f"{trouble}-{target}"), kind(sdk, "InternalServerError"))
    assert error.status_code == 502
    assert error.response.headers["x-llmroute-error"] == "rejected"


@pytest.mark.parametrize("stream", [False, True])
def test_a_target_in_trouble_is_not_noticed_where_another_is_well(
    sdk: str, ask: Ask, target: str, stream: bool
) -> None:
    answer = ask(f"rescued-{target}", stream=stream)
    if stream:
        assert list(answer)  # type: ignore[call-overload] # both SDKs' streams can be iterated


def test_a_stream_that_breaks_is_an_error_and_not_an_end(openai_app: openai.OpenAI, target: str) -> None:
    words = []
    with pytest.raises(openai.APIError) as caught:
        for chunk in openai_app.chat.completions.create(
            model=f"breaking-{target}", messages=[{"role": "user", "content": "Hello"}], stream=True
        ):
            words.append(chunk.choices[0].delta.content)
            assert chunk.choices[0].finish_reason is None
    assert len("".join(filter(None, words)).split()) == 5, "what came before the break is the app's"
    assert "closed" in caught.value.message


def test_a_stream_of_messages_that_breaks_is_an_error_and_not_an_end(
    anthropic_app: anthropic.Anthropic, target: str
) -> None:
    kinds = []
    with pytest.raises(anthropic.APIError) as caught:
        for event in anthropic_app.messages.create(
            model=f"breaking-{target}", max_tokens=100, messages=[{"role": "user", "content": "Hello"}], stream=True
        ):
            kinds.append(event.type)
    assert kinds.count("content_block_delta") == 5, "what came before the break is the app's"
    assert "message_stop" not in kinds
    assert "closed" in str(caught.value.body)


def test_no_key_of_a_target_is_ever_shown(sidecar: Sidecar, ask: Ask, target: str) -> None:
    ask(target)
    said = sidecar.program.said
    assert f'"target":"{target}"' in said
    for key in (*KEYS.values(), "key-of-the-app"):
        assert key not in said

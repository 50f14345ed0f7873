"""Chat completions that are not streams: a target's answer to our internal form, and that to an app's answer."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmroute.dialects import fields as members
from llmroute.dialects.conversation import Answer, Finish, Part, Text, Thinking, ToolCall
from llmroute.dialects.usage import as_openai, openai_usage
from llmroute.errors import BadRequest, StreamBroken

_FINISHES: dict[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class _Function(Struct):
    name: str = ""
    arguments: Any = ""


class _Call(Struct):
    id: str | None = None
    function: _Function | None = None


class _Message(Struct):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    message: _Message
    finish_reason: str | None = None
    stop_reason: Any = None
    """vLLM's: the stop sequence that was met."""


class _Completion(Struct):
    choices: list[_Choice]
    id: str = ""
    model: str = ""
    usage: Raw = members.NULL


_completions = msgspec.json.Decoder(_Completion)


def read_answer(body: bytes) -> Answer:
    """A target's complete chat completion. Raises StreamBroken for what is none."""
    try:
        completion = members.decode(_completions, body)
    except BadRequest as error:
        raise StreamBroken(f"the target's answer is not a chat completion: {error.message}") from error
    if not completion.choices:
        raise StreamBroken("the target's answer has no choices")
    choice = completion.choices[0]
    message = choice.message
    parts: list[Part] = [Thinking(text=text) for text in reasoning_of(message) if text]
    parts += [Text(text) for text in (text_of(message.content), message.refusal) if text]
    for index, call in enumerate(message.tool_calls or ()):
        function = call.function or _Function()
        parts.append(
            ToolCall(call.id or call_id(completion.id, index), function.name, arguments_of(function.arguments))
        )
    return Answer(
        id=completion.id,
        model=completion.model,
        parts=tuple(parts),
        finish=finish_of(choice.finish_reason, calls=bool(message.tool_calls), refused=bool(message.refusal)),
        stop_sequence=choice.stop_reason if isinstance(choice.stop_reason, str) else None,
        usage=openai_usage(completion.usage),
    )


def write_answer(answer: Answer, *, created: int) -> bytes:
    """An app's chat completion; `created` is Unix time. Reasoning stays out of `content`: it is told as
    `reasoning_content`, as others do."""
    calls = [call_of(part) for part in answer.parts if isinstance(part, ToolCall)]
    text = "".join(part.text for part in answer.parts if isinstance(part, Text))
    reasoning = "".join(part.text for part in answer.parts if isinstance(part, Thinking))
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    if reasoning:
        message["reasoning_content"] = reasoning
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    if answer.stop_sequence is not None:
        choice["stop_reason"] = answer.stop_sequence
    body = {
        "id": answer.id,
        "object": "chat.completion",
        "created": created,
        "model": answer.model,
        "choices": [choice],
    }
    if answer.usage is not None:
        body["usage"] = as_openai(answer.usage)
    return msgspec.json.encode(body)


def finish_of(reason: str | None, *, calls: bool, refused: bool) -> Finish:
    """Our word for a finish reason. Some providers say `stop` although they call tools, or refuse."""
    if refused:
        return "content_filter"
    finish = _FINISHES.get(reason or "stop", "stop")
    return "tool_calls" if calls and finish == "stop" else finish


def text_of(content: Any) -> str:
    """Text of a message's content: a string, or a list of parts (Mistral) of which only the text is said."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(
        str(part.get("text") or "") for part in parts if isinstance(part, dict) and part.get("type") == "text"
    )


def reasoning_of(message: Any) -> list[str]:
    """Reasoning under either of its names (`reasoning_content`: DeepSeek, vLLM; `reasoning`: OpenRouter, Groq)."""
    text = message.reasoning_content or message.reasoning
    return [text] if isinstance(text, str) else []


def arguments_of(arguments: Any) -> str:
    """Arguments as JSON text; Ollama's native form is an object."""
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or {}).decode()


def call_id(answer: str, index: int) -> str:
    """An id for a call that its provider gave none."""
    return f"call_{answer.removeprefix('chatcmpl-')}_{index}"


def call_of(call: ToolCall) -> dict[str, Any]:
    """A call in a message."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}

"""An Anthropic app that other models have answered before comes back to Claude."""

import json
from typing import Any

from tests.sidecar.dialects.world import ANTHROPIC, dumps, messages, raw_request, sent, target

from llmroute import dialects
from llmroute.request import Operation

MANUAL = {"type": "enabled", "budget_tokens": 2000}
FOREIGN = {"type": "thinking", "thinking": "hm", "signature": "llmroute:unsigned"}
OWN = {"type": "thinking", "thinking": "hm", "signature": "EqQBCg"}
CALL = {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "x"}]}
ASKED = {"role": "user", "content": "Go"}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def test_reasoning_of_other_models_is_taken_out_before_claude_sees_it() -> None:
    history = [ASKED, assistant(FOREIGN, {"type": "text", "text": "42"}), {"role": "user", "content": "Why?"}]
    body = sent(messages(messages=history, future={"x": 1}), ANTHROPIC)
    assert body["messages"][1] == assistant({"type": "text", "text": "42"})
    assert (body["messages"][0], body["messages"][2], body["future"]) == (ASKED, history[2], {"x": 1})


def test_an_answer_of_reasoning_alone_goes_with_it() -> None:
    body = sent(messages(messages=[ASKED, assistant(FOREIGN), ASKED]), ANTHROPIC)
    assert body["messages"] == [ASKED, ASKED]


def test_a_call_that_no_signed_thinking_led_to_switches_thinking_off() -> None:
    for blocks in ([CALL], [FOREIGN, CALL], [{"type": "text", "text": "See"}, CALL]):
        body = sent(messages(messages=[ASKED, assistant(*blocks), RESULT], thinking=MANUAL), ANTHROPIC)
        assert body["thinking"] == {"type": "disabled"}
        assert FOREIGN not in body["messages"][1]["content"]


def unchanged(**members: Any) -> bool:
    request = messages(**members)
    return dialects.encode(request, ANTHROPIC, target(ANTHROPIC, "chat")) == request.body


def test_a_history_that_claude_accepts_is_not_touched() -> None:
    assert unchanged(messages=[ASKED, assistant(OWN, CALL), RESULT], thinking=MANUAL)
    redacted = {"type": "redacted_thinking", "data": "x"}
    assert unchanged(messages=[ASKED, assistant(redacted, CALL), RESULT], thinking=MANUAL)
    assert unchanged(messages=[ASKED, assistant(CALL), RESULT])
    assert unchanged(messages=[ASKED, assistant(CALL), RESULT], thinking={"type": "adaptive"})
    assert unchanged(messages=[ASKED, assistant(CALL), RESULT], thinking={"type": "disabled"})
    assert unchanged(messages=[ASKED], thinking=MANUAL)
    assert unchanged(messages=[ASKED, assistant({"type": "text", "text": "x"}), ASKED], thinking=MANUAL)
    # Only the last answer counts: an earlier call without thinking is history that Claude ignores.
    assert unchanged(messages=[ASKED, assistant(CALL), RESULT, assistant(OWN, CALL), RESULT], thinking=MANUAL)


def test_text_about_the_mark_is_text() -> None:
    history = [
        {"role": "user", "content": 'what is "llmroute:unsigned"?'},
        {"role": "user", "content": "llmroute:unsigned"},
    ]
    assert sent(messages(messages=history), ANTHROPIC)["messages"] == history


def test_other_whitespace_and_members_stay() -> None:
    body = json.dumps(
        {"thinking": MANUAL, "messages": [ASKED, assistant(CALL), RESULT], "model": "chat", "max_tokens": 9}
    ).encode()
    encoded = dialects.encode(raw_request(Operation.MESSAGES, body), ANTHROPIC, target(ANTHROPIC, "claude"))
    thought = json.dumps(MANUAL).encode()
    assert encoded == body.replace(thought, b'{"type":"disabled"}').replace(b'"chat"', b'"claude"')


def test_counting_tokens_sees_the_same_history() -> None:
    body = dumps({"model": "chat", "messages": [ASKED, assistant(FOREIGN, CALL), RESULT], "thinking": MANUAL})
    counted = sent(raw_request(Operation.COUNT_TOKENS, body), ANTHROPIC)
    assert counted["messages"][1] == assistant(CALL)
    assert counted["thinking"] == {"type": "disabled"}

"""Answers that a provider keeps: what continues one goes to the target that made it."""

import pytest
from tests.world import provider, world

from llmroute.owners import Owners
from llmroute.request import Operation

RESPONSES = "/v1/responses"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_stays_where_it_began(stream: bool) -> None:
    async with world(provider("east"), provider("west")) as here:
        body = {"model": "chat", "input": "begin", "stream": stream}
        first = await here.ask(RESPONSES, body, {"x-llmroute-target": "west"})
        made = first.events[0]["response"]["id"] if stream else first.json["id"]

        went_on = [
            await here.ask(RESPONSES, {"model": "chat", "input": "go on", "previous_response_id": made})
            for _ in range(5)
        ]

        assert [(answer.status, answer.target) for answer in went_on] == [(200, "west")] * 5


async def test_a_kept_answer_is_fetched_from_who_made_it() -> None:
    async with world(provider("east"), provider("west")) as here:
        made = (await here.ask(RESPONSES, {"model": "chat", "input": "x"}, {"x-llmroute-target": "west"})).json["id"]
        before = here.requests("east"), here.requests("west")

        await here.ask(f"{RESPONSES}/{made}", method="GET")
        await here.ask(f"{RESPONSES}/resp_unknown", method="GET")

        assert (here.requests("east"), here.requests("west")) == (before[0] + 1, before[1] + 1)


async def test_a_conversation_goes_on_after_a_reload() -> None:
    async with world(provider("east"), provider("west")) as here:
        made = (await here.ask(RESPONSES, {"model": "chat", "input": "x"}, {"x-llmroute-target": "west"})).json["id"]
        here.spec["objective"] = {"percentile": 90}
        here.declare()
        await here.reloaded()

        answer = await here.ask(RESPONSES, {"model": "chat", "input": "go on", "previous_response_id": made})

        assert answer.target == "west"


async def test_what_the_app_asks_for_by_name_wins() -> None:
    async with world(provider("east"), provider("west")) as here:
        made = (await here.ask(RESPONSES, {"model": "chat", "input": "x"}, {"x-llmroute-target": "west"})).json["id"]

        body = {"model": "chat", "input": "go on", "previous_response_id": made}
        answer = await here.ask(RESPONSES, body, {"x-llmroute-target": "east"})

        assert answer.target == "east"


async def test_how_long_answers_are_is_learned() -> None:
    async with world(provider("east")) as here:
        before = here.route.lengths.expected(Operation.CHAT)
        answer = await here.chat()
        tokens = answer.json["usage"]["completion_tokens"]
        assert here.route.lengths.expected(Operation.CHAT) == tokens != before


def test_ids_that_are_too_long_to_be_ids_are_not_remembered() -> None:
    owners = Owners()
    owners.note("x" * 257, "east")
    owners.note("x" * 256, "east")
    assert owners.of("x" * 257) is None
    assert owners.of("x" * 256) == "east"

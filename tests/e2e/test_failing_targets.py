"""Providers die, slow down and refuse: no user sees an error, and the route's status and events tell what happens."""

from collections.abc import Iterator

import pytest
from tests.e2e.story import Story

from llmroute.spec import Duration


@pytest.fixture
def shop(story: Story) -> Iterator[Story]:
    """Two pods of a shop ask ten questions a second each, half as streams; the east answers sooner than the west."""
    story.providers(east={"ttft": {"median": "20ms"}}, west={"ttft": {"median": "200ms"}})
    story.secret(OPENAI_API_KEY="the-key-of-the-company")
    story.route("chat", {"models": ["chat"], "targets": [story.target("east"), story.target("west")]})
    story.rendered("chat")
    story.app("shop", replicas=2, RATE="10", STREAM="half")
    with story.unharmed("shop"):
        yield story


def test_a_dead_one_is_ejected_and_comes_back(shop: Story) -> None:
    shop.target_becomes("chat", "east", "Healthy")
    shop.command("east", faults=[{"type": "refused", "kill": True}])

    dead = shop.target_becomes("chat", "east", "Ejected")
    assert dead["reason"] == "connect-failed"
    shop.event("TargetEjected", "'east'", "(connect-failed)")
    assert shop.cell("chat", "TARGETS") == "1/2"
    assert "Warning  TargetEjected" in shop.kubectl("describe", "llmroute", "chat")

    shop.command("east", clear=True)
    shop.target_becomes("chat", "east", "Healthy")
    shop.event("TargetRecovered", "'east' is well again")
    assert shop.cell("chat", "TARGETS") == "2/2"


def test_one_that_limits_the_rate_is_left_alone_for_as_long_as_it_asks(shop: Story) -> None:
    shop.target_becomes("chat", "east", "Healthy")
    shop.command("east", faults=[{"type": "status", "status": 429, "retryAfter": "10s"}])

    shop.target_becomes("chat", "east", "Limited")
    assert shop.cell("chat", "TARGETS") == "1/2"
    shop.command("east", clear=True)
    shop.target_becomes("chat", "east", "Healthy")


def test_a_slow_one_loses_its_share(shop: Story) -> None:
    most_goes_to(shop, "east")
    shop.command("east", latency=50)
    most_goes_to(shop, "west")

    def slow() -> bool:
        east, _ = shop.get("llmroute", "chat")["status"]["targets"]
        return Duration.parse(east.get("ttftP95", "0s")) > 0.5

    shop.cluster.until("the status tells how slow the east is", slow, 200)


def most_goes_to(story: Story, provider: str) -> None:
    """Waits until three of four of the latest questions go to one of the two."""
    before = {name: story.stats(name)["requests"] for name in ("east", "west")}

    def seen() -> bool:
        nonlocal before
        now = {name: story.stats(name)["requests"] for name in before}
        asked = sum(now.values()) - sum(before.values())
        if asked < 40:
            return False
        share = (now[provider] - before[provider]) / asked
        before = now
        return bool(share > 0.75)

    story.cluster.until(f"most goes to {provider}", seen)

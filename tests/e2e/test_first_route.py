"""Story 1: install, label, apply, and an unchanged app that uses OpenAI's SDK is answered."""

from tests.e2e.story import Story


def test_an_unchanged_app_is_answered(story: Story) -> None:
    story.providers(east={"ttft": {"median": "20ms"}}, west={"ttft": {"median": "200ms"}})
    story.secret(OPENAI_API_KEY="the-key-of-the-company")
    story.route(
        "chat",
        {
            "models": ["chat"],
            "targets": [
                {"name": name, "provider": "openai", "model": "gpt-5", "url": f"http://{name}.{story.name}.svc/v1"}
                for name in ("east", "west")
            ],
        },
    )
    story.app("shop")

    assert story.ask("shop", "How are you?")

    assert story.stats("east")["requests"] + story.stats("west")["requests"] >= 1
    shown = story.cluster.until(
        "kubectl get llmr shows the route as programmed", lambda: programmed(story.kubectl("get", "llmr", "chat"))
    )
    assert "chat" in shown


def programmed(table: str) -> str:
    return table if "True" in table else ""

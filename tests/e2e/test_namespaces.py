"""What is of one namespace is of no other, and who did not ask for a sidecar gets nothing."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.e2e.cluster import CommandFailed
from tests.e2e.story import Story

from llmroute.simulator.records import fingerprint

QUESTION = "What is the capital of France?"


def test_neighbours_see_nothing_of_each_other(story: Story, neighbour: Story) -> None:
    neighbour.route("own", {"models": ["secret-plans"], "targets": [neighbour.target("east")]})
    with ThreadPoolExecutor() as at_once:
        list(at_once.map(prepared, (story, neighbour), ("the-key-of-one", "the-key-of-the-other")))
    for namespace, key in (story, "the-key-of-one"), (neighbour, "the-key-of-the-other"):
        assert namespace.ask("shop", QUESTION) == namespace.ask("shop", QUESTION)

        (request,) = namespace.requests("east")  # the second answer was in the cache, the first in nobody else's
        assert ["authorization", fingerprint(f"Bearer {key}".encode())] in request["headers"]

    assert models(story) == {"chat"}
    assert models(neighbour) == {"chat", "secret-plans"}
    (pod,) = neighbour.pods("shop")
    address = pod["status"]["podIP"]
    with pytest.raises(CommandFailed, match="Connection refused"):
        story.call("shop", "GET", f"http://{address}:4000/v1/models")
    assert story.call("shop", "GET", f"http://{address}:4001/status")[0] == 401


def test_pods_that_did_not_ask_for_a_sidecar_get_nothing(story: Story) -> None:
    story.kubectl("label", "namespace", story.name, "llmroute.dev/injection-")
    story.providers(east={})
    story.secret(OPENAI_API_KEY="the-key-of-the-company")
    story.route("chat", {"models": ["chat"], "targets": [story.target("east")]})
    story.rendered("chat")
    story.app("plain", OPENAI_API_KEY="own")
    (plain,) = story.pods("plain")
    (container,) = plain["spec"]["containers"]
    assert "initContainers" not in plain["spec"]
    assert [variable["name"] for variable in container["env"]] == ["OPENAI_API_KEY"]
    assert all(volume["name"].startswith("kube-api-access") for volume in plain["spec"]["volumes"])
    assert "llmroute.dev" not in json.dumps(plain["metadata"])
    assert story.becomes("chat", "Programmed", "False")["reason"] == "NoSidecars"

    story.app("routed", labels={"llmroute.dev/inject": "true"})
    assert story.ask("routed", "How are you?")
    story.becomes("chat", "Programmed", "True")
    assert story.cell("chat", "SIDECARS") == "1/1"


def prepared(story: Story, key: str) -> None:
    """A provider, a key, a route of the same name as the other's, and an app."""
    story.providers(east={})
    story.secret(OPENAI_API_KEY=key)
    story.route("chat", {"models": ["chat"], "targets": [story.target("east")], "cache": {"ttl": "1h"}})
    story.rendered("chat")
    story.app("shop")


def models(story: Story) -> set[str]:
    """What an app is told that there is."""
    status, said = story.call("shop", "GET", "http://127.0.0.1:4000/v1/models")
    assert status == 200, said
    return {model["id"] for model in json.loads(said)["data"]}

"""Apps on OpenAI's and Anthropic's SDKs for Node.js, whichever API the target speaks: the stories of `node/*.mjs`."""

from functools import cache

import pytest
from tests.clients import nodejs
from tests.clients.programs import Sidecar

pytestmark = [pytest.mark.node, pytest.mark.skipif(bool(nodejs.missing()), reason=nodejs.missing())]

STORIES = (
    "whole",
    "streamed",
    "tools",
    "toolsAndTheirResults",
    "parsed",
    "errors",
    "rescued",
    "broken",
    "aborted",
    "otherOperations",
    "models",
)


@cache
def told(app: str, sidecar: str, target: str, slow: str) -> dict[str, str | None]:
    """How each story of an app ended; one run of Node.js tells them all."""
    ends: dict[str, str | None] = nodejs.run(f"{app}.mjs", {"sidecar": sidecar, "target": target, "slow": slow})
    assert tuple(ends) == STORIES
    return ends


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("app", ["openai", "anthropic"])
def test_story(story: str, app: str, target: str, sidecar: Sidecar, providers: dict[str, str]) -> None:
    went_wrong = told(app, sidecar.origin, target, providers[f"slow-{target}"])[story]
    assert went_wrong is None, went_wrong

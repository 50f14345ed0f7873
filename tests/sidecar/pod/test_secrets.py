"""Keys in a pod: only of Secrets that the pod's owner lists, read anew when they change."""

import asyncio

import pytest
from tests.sidecar.pod.world import InPod, mounted
from tests.world import provider

from llmroute import reload

OWN = {"credential": {"secretRef": {"name": "own", "key": "KEY"}}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the mounts more often than a sidecar does."""
    monkeypatch.setattr(reload, "INTERVAL", 0.01)


async def credential(here: InPod) -> str:
    (target,) = (await here.status())["routes"][0]["targets"]
    return str(target["credential"])


async def test_a_secret_that_the_pod_does_not_list_cannot_be_used() -> None:
    async with mounted(provider("east", api_key="the-own-key", target=OWN)) as here:
        here.render()
        async with here.started():
            told = "missing: Secret own is not listed in the pod's annotation llmroute.dev/secrets"
            assert await credential(here) == told
            assert (await here.chat()).status == 503
            assert here.fleet["east"].stats.requests == 0


async def test_no_key_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "the-own-key")
    async with mounted(provider("east", api_key="the-own-key", target=OWN)) as here:
        here.render()
        async with here.started():
            assert (await here.chat()).status == 503


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, "missing: Secret own is not there, or empty"),
        ({"OTHER": "x"}, "missing: Secret own has no key KEY"),
        ({"KEY": " \n"}, "missing: key KEY of Secret own is empty, or not text"),
    ],
)
async def test_what_is_wrong_with_a_secret_that_is_listed_is_told(keys: dict[str, str], told: str) -> None:
    async with mounted(provider("east", target=OWN)) as here:
        here.annotations["llmroute.dev/secrets"] = "llmroute-more, own"
        here.describe()
        here.secret("own", **keys)
        here.render()
        async with here.started():
            assert await credential(here) == told


async def test_a_secret_that_is_listed_too_late_needs_a_new_pod() -> None:
    async with mounted(provider("east", target=OWN)) as here:
        here.render()
        async with here.started():
            here.annotations["llmroute.dev/secrets"] = "own"
            here.describe()
            for _ in range(500):
                if "make the pod anew" in await credential(here):
                    return
            raise AssertionError(await credential(here))


async def test_a_rotated_key_is_used_and_the_old_one_is_gone() -> None:
    async with mounted(provider("east", api_key="new-key-of-east", target=OWN)) as here:
        secret = here.secret("own", KEY="old-key-of-east")
        here.render()
        async with here.started():
            assert (await here.chat()).headers["x-llmroute-attempts"] == "east:authentication"
            secret.write(KEY="new-key-of-east\n")
            await until_answered(here)
            target = here.sidecar.cell.runtime.routes[0].targets["east"]
            assert b"new-key-of-east" in target.credential.line
            assert all(b"old-key" not in head for head in target._heads.values())


async def test_a_key_that_comes_after_the_pod_is_used() -> None:
    """The default Secret is always mounted, and optional."""
    to_openai = {"provider": "openai"}
    async with mounted(provider("east", api_key="the-key-of-east", target=to_openai)) as here:
        secret = here.secret("llmroute-credentials")
        here.render()
        async with here.started():
            assert await credential(here) == "missing: Secret llmroute-credentials is not there, or empty"
            secret.write(OPENAI_API_KEY="the-key-of-east")
            await until_answered(here)
            assert await credential(here) == "available"
            secret.write(OPENAI_API_KEY=None)
            for _ in range(500):
                if (await here.chat()).status == 503:
                    return
            raise AssertionError("a key that is gone is still used")


async def until_answered(here: InPod) -> None:
    async with asyncio.timeout(5.0):
        while (await here.chat()).status != 200:
            pass

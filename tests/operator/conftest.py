"""A real API server for the tests of what talks to one; started once, at the first test that asks for it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.operator.apiserver import ApiServer, CannotBeHad, crd, running
from tests.operator.rights import OWN, SERVED, WHOLE_CLUSTER, grant

from llmroute_operator.cluster import Call, Cluster
from llmroute_operator.errors import NotFound

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    try:
        with running(tmp_path_factory.mktemp("apiserver")) as server:
            yield server
    except CannotBeHad as reason:
        pytest.skip(f"no API server can be had here: {reason}")


@pytest.fixture
async def cluster(api_server: ApiServer) -> AsyncIterator[Cluster]:
    """A client with every right; LLMRoutes are known to the API server."""
    async with Cluster(str(api_server.admin)) as opened:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        known = await opened.call(Call(verb="GET", path=path))
        if not known["items"]:
            await opened.call(Call(verb="POST", path=path, body=crd()))
            await served(opened)
        yield opened


async def served(cluster: Cluster) -> None:
    """Return when the API server knows LLMRoutes, which is a moment after it was told of them."""
    while True:
        try:
            await cluster.objects("llmroutes", None)
            return
        except NotFound:
            await asyncio.sleep(0.1)


@pytest.fixture
async def namespace(cluster: Cluster) -> str:
    """A namespace of the test's own."""
    name = f"shop-{next(_numbers)}"
    await cluster.create("namespaces", None, {"metadata": {"name": name}})
    return name


@pytest.fixture
async def own(cluster: Cluster) -> AsyncIterator[str]:
    """A namespace for the operator itself."""
    name = f"llmroute-{next(_numbers)}"
    await cluster.create("namespaces", None, {"metadata": {"name": name}})
    yield name


@pytest.fixture
async def account(api_server: ApiServer, cluster: Cluster, own: str) -> Path:
    """Somebody who has the rights of the chart, cluster-wide."""
    user = f"operator-{own}"
    await grant(cluster, user, [*SERVED, *WHOLE_CLUSTER])
    await grant(cluster, user, OWN, own, "own")
    return api_server.kubeconfig(user)

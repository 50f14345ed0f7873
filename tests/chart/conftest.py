"""Helm, and an API server that charts may be installed into: apart from the one that other tests use."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.chart.charts import CannotBeHad, Helm
from tests.operator import apiserver

from llmroute_operator.cluster import Cluster


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    try:
        return Helm(tmp_path_factory.mktemp("helm"))
    except CannotBeHad as reason:
        pytest.skip(f"no Helm can be had here: {reason}")


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apiserver.ApiServer]:
    try:
        with apiserver.running(tmp_path_factory.mktemp("apiserver")) as server:
            yield server
    except apiserver.CannotBeHad as reason:
        pytest.skip(f"no API server can be had here: {reason}")


@pytest.fixture
async def cluster(api_server: apiserver.ApiServer) -> AsyncIterator[Cluster]:
    """A client with every right."""
    async with Cluster(str(api_server.admin)) as opened:
        yield opened

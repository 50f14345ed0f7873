"""The API server as the operator sees it, against a real one."""

import pytest

from llmroute_operator.cluster import Cluster
from llmroute_operator.errors import Conflict, NotFound


async def test_an_object_that_is_not_there_is_none(cluster: Cluster, namespace: str) -> None:
    assert await cluster.read("configmaps", namespace, "nothing") is None


async def test_a_stale_write_is_a_conflict(cluster: Cluster, namespace: str) -> None:
    made = await cluster.create("configmaps", namespace, {"metadata": {"name": "one"}, "data": {"a": "1"}})
    await cluster.replace("configmaps", namespace, {**made, "data": {"a": "2"}})
    with pytest.raises(Conflict):
        await cluster.replace("configmaps", namespace, {**made, "data": {"a": "3"}})

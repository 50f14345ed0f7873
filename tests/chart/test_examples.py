"""The examples for clusters are what a real API server takes, and the reader too."""

from pathlib import Path

import pytest
import yaml
from tests.chart.charts import Helm, Manifest, Release
from tests.operator.apiserver import ApiServer

from llmroute.load import load
from llmroute_operator.cluster import Call, Cluster

FOLDER = Path(__file__).parents[2] / "examples/kubernetes"
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Deployment": "/apis/apps/v1/namespaces/shop/deployments",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers",
    "LLMRoute": "/apis/llmroute.dev/v1alpha1/namespaces/shop/llmroutes",
}


def documents(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
async def test_an_example_is_taken_to_the_letter(
    helm: Helm, api_server: ApiServer, cluster: Cluster, path: Path
) -> None:
    Release(helm, str(api_server.admin)).upgrade()
    if not await cluster.read("namespaces", None, "shop"):
        await cluster.create("namespaces", None, {"metadata": {"name": "shop"}})
    query = {"dryRun": "All", "fieldValidation": "Strict"}

    for document in documents(path):
        if document["kind"] != "Namespace":
            await cluster.call(Call(verb="POST", path=PATHS[document["kind"]], query=query, body=document))


def test_routes_of_the_examples_are_taken_by_the_reader(tmp_path: Path) -> None:
    for path in FOLDER.glob("*.yaml"):
        routes = [one for one in documents(path) if one["kind"] == "LLMRoute"]
        if routes:
            (tmp_path / path.name).write_text(yaml.safe_dump_all(routes))
            assert load([tmp_path / path.name]).routes

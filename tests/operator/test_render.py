"""A namespace's routes as the file that sidecars read."""

import base64
import gzip
import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute_operator import names, render
from llmroute_operator.render import config_map, entries_of, holds, payload_of, route_entry, service_url


def route(name: str, **spec: Any) -> dict[str, Any]:
    targets = spec.pop("targets", [{"name": "a", "provider": "openai", "model": "gpt-4o"}])
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "generation": 3, "resourceVersion": "77"}
    metadata["labels"] = {"team": "a"}
    return {"metadata": metadata, "spec": {"targets": targets, **spec}, "status": {"old": True}}


def entry(name: str, **spec: Any) -> dict[str, Any]:
    return route_entry(route(name, **spec), {}, "cluster.local")


def bulky(name: str, size: int) -> dict[str, Any]:
    """A route whose description does not compress."""
    noise = random.Random(name).randbytes(size // 2).hex()
    return {**entry(name), "spec": {"noise": noise}}


def service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "vllm"}, "spec": {"clusterIP": "10.0.0.1", **spec}}


def test_an_entry_is_the_route_without_what_changes_by_itself() -> None:
    assert entry("chat", models=["gpt-4o"]) == {
        "apiVersion": "llmroute.dev/v1alpha1",
        "kind": "LLMRoute",
        "metadata": {"name": "chat", "namespace": "shop", "uid": "uid-chat", "generation": 3},
        "spec": {"models": ["gpt-4o"], "targets": [{"name": "a", "provider": "openai", "model": "gpt-4o"}]},
    }


def test_the_order_of_routes_and_fields_changes_no_byte() -> None:
    routes = [entry("b"), entry("a"), entry("c")]
    shuffled = [dict(reversed(one.items())) for one in reversed(routes)]
    assert render.render(routes) == render.render(shuffled)


def test_any_change_of_a_spec_is_another_revision() -> None:
    assert render.render([entry("a")]).revision != render.render([entry("a", models=["x"])]).revision


def test_no_routes_is_a_file_too() -> None:
    assert orjson.loads(render.render([]).payload)["routes"] == []


def test_the_file_tells_its_format_and_revision() -> None:
    rendered = render.render([entry("a")])
    file = orjson.loads(rendered.payload)
    assert (file["format"], file["revision"]) == (1, rendered.revision) and len(rendered.revision) == 12


@pytest.mark.parametrize(
    ("wanted", "found", "url"),
    [
        ({"port": 8000}, None, "http://vllm.shop.svc.cluster.local:8000/v1"),
        ({"port": "http"}, None, "http://vllm.shop.svc.cluster.local/v1"),
        ({"port": 80}, service(ports=[{"port": 80, "targetPort": 8000}]), "http://vllm.shop.svc.cluster.local:80/v1"),
        ({"port": "http"}, service(ports=[{"port": 80, "name": "http"}]), "http://vllm.shop.svc.cluster.local:80/v1"),
        (
            {"port": 80},
            service(clusterIP="None", ports=[{"port": 80, "targetPort": 8000}]),
            "http://vllm.shop.svc.cluster.local:8000/v1",
        ),
        (
            {"port": 80},
            service(clusterIP="None", ports=[{"port": 80, "targetPort": "web"}]),
            "http://vllm.shop.svc.cluster.local:80/v1",
        ),
        (
            {"port": 443, "scheme": "https", "path": "/api/openai/"},
            None,
            "https://vllm.shop.svc.cluster.local:443/api/openai",
        ),
        ({"port": 80, "path": "/"}, None, "http://vllm.shop.svc.cluster.local:80"),
    ],
)
def test_a_service_becomes_a_url(wanted: dict[str, Any], found: dict[str, Any] | None, url: str) -> None:
    assert service_url({"name": "vllm", **wanted}, found, "shop", "cluster.local") == url


def test_each_address_of_a_headless_service_is_for_the_sidecar_to_find() -> None:
    target = {"name": "v", "provider": "openai-compatible", "model": "m"}
    wanted = {"name": "vllm", "port": 8000, "endpoints": "each"}
    (rendered,) = entry("a", targets=[{**target, "service": wanted}])["spec"]["targets"]
    assert rendered == {**target, "url": "http://vllm.shop.svc.cluster.local:8000/v1", "endpoints": "each"}


def test_a_small_file_is_readable_and_a_large_one_is_compressed() -> None:
    small, large = render.render([entry("a")]), render.render([bulky(f"r{i}", 100_000) for i in range(6)])
    assert config_map("shop", small, None)["data"] == {"routes.json": small.payload.decode()}
    written = config_map("shop", large, None)
    assert "data" not in written
    assert payload_of(written) == large.payload and holds(written, large)
    assert written == config_map("shop", large, None), "the same bytes each time"


def test_what_does_not_fit_is_left_out_and_the_others_go_on() -> None:
    routes = [entry("old"), bulky("huge", 2_500_000), entry("young")]
    rendered = render.render(routes)
    assert rendered.left_out == {"uid-huge"}
    assert [one["metadata"]["name"] for one in orjson.loads(rendered.payload)["routes"]] == ["old", "young"]


def test_what_comes_first_is_never_pushed_out() -> None:
    old = [bulky(f"old{i}", 300_000) for i in range(4)]
    assert not render.render(old).left_out
    assert render.render([*old, bulky("new", 300_000)]).left_out == {"uid-new"}


def test_a_full_namespace_still_fits_into_a_config_map() -> None:
    rendered = render.render([bulky(f"r{i}", 300_000) for i in range(12)])
    assert rendered.left_out
    packed = config_map("shop", rendered, None)["binaryData"]["routes.json"]
    assert len(packed) < 1024 * 1024 and len(gzip.decompress(base64.b64decode(packed))) > 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found["metadata"].pop("labels"),
        lambda found: found["data"].update({"routes.json": "{}"}),
        lambda found: found["data"].update(other="x"),
        lambda found: found.pop("data"),
    ],
)
def test_an_edited_config_map_is_not_what_was_rendered(spoil: Any) -> None:
    rendered = render.render([entry("a")])
    found = config_map("shop", rendered, None)
    assert holds(found, rendered)
    spoil(found)
    assert not holds(found, rendered)


def test_other_peoples_labels_stay() -> None:
    found = {"metadata": {"name": names.CONFIG, "labels": {"argo": "x"}, "resourceVersion": "5", "managedFields": []}}
    metadata = config_map("shop", render.render([]), found)["metadata"]
    assert metadata["labels"] == {"argo": "x", names.MANAGED_BY: "llmroute"}
    assert metadata["resourceVersion"] == "5" and "managedFields" not in metadata


def test_only_a_file_that_nobody_edited_tells_what_was_served() -> None:
    rendered = render.render([entry("a")])
    found = config_map("shop", rendered, None)
    assert entries_of(found) == {"uid-a": entry("a")}
    found["data"]["routes.json"] = found["data"]["routes.json"].replace("gpt-4o", "gpt-4x")
    assert entries_of(found) == {}


@given(st.binary(max_size=200) | st.just(gzip.compress(b"{}")[:-3]))
def test_a_spoilt_file_tells_nothing_and_breaks_nothing(raw: bytes) -> None:

    found = {"metadata": {}, "binaryData": {"routes.json": base64.b64encode(raw).decode()}}
    assert entries_of(found) == {}

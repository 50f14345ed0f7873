"""Names and labels of the metrics: dashboards depend on them."""

import re
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.sidecar.telemetry.world import Live, Route, attempt, ended, telemetry

from llmroute.request import FirstContent, Operation, Outcome, Usage

GEN_AI = "error_type gen_ai_operation_name gen_ai_provider_name gen_ai_request_model route target"
CONTRACT = {
    "gen_ai_client_operation_duration_seconds": ("histogram", GEN_AI),
    "gen_ai_client_operation_time_to_first_chunk_seconds": ("histogram", GEN_AI),
    "gen_ai_client_token_usage": ("histogram", GEN_AI + " gen_ai_token_type"),
    "llmroute_requests_total": ("counter", "route outcome cache"),
    "llmroute_request_duration_seconds": ("histogram", "route stream"),
    "llmroute_ttft_seconds": ("histogram", "route"),
    "llmroute_overhead_seconds": ("histogram", "route"),
    "llmroute_queue_seconds": ("histogram", "route"),
    "llmroute_in_flight": ("gauge", "route target"),
    "llmroute_attempts_total": ("counter", "route target outcome"),
    "llmroute_failovers_total": ("counter", "route from to reason"),
    "llmroute_selections_total": ("counter", "route target reason"),
    "llmroute_selection_changes_total": ("counter", "route"),
    "llmroute_target_state": ("gauge", "route target state"),
    "llmroute_predicted_ttft_seconds": ("gauge", "route target"),
    "llmroute_baseline_seconds": ("gauge", "route"),
    "llmroute_cache_requests_total": ("counter", "route result"),
    "llmroute_tokens_saved_total": ("counter", "route by"),
    "llmroute_cost_usd_total": ("counter", "route target"),
    "llmroute_config_revision": ("gauge", ""),
    "llmroute_config_reloads_total": ("counter", "result"),
    "llmroute_build_info": ("gauge", "version"),
}


def everything() -> str:
    """The exposition after one of everything has happened."""
    east, west = Live("shop/chat", "east"), Live("shop/chat", "west")
    with telemetry(Route("shop/chat", east, west)) as reader:
        observer = reader.telemetry
        for name in ("east", "west"):
            observer.chosen("shop/chat", name, "fastest")
            east.candidate.latency.observe(attempt("east"))
        for live in (east, west):
            live.candidate.latency.first_content(FirstContent(live.name, Operation.CHAT, True, 1, 0.3, 1.0))
        failed = attempt("east", Outcome.SERVER_ERROR)
        observer.attempt_ended("shop/chat", failed)
        observer.failed_over("shop/chat", failed, "west")
        for _ in range(20):  # before there are as many, nothing is said of how long one takes
            observer.attempt_ended("shop/chat", attempt("west", usage=Usage(100, 50)))
        observer.request_ended(ended(cache="miss"))
        observer.request_ended(ended(route="", status=404, error="unknown_model", target=""))
        return observer.exposition().decode()


def test_names_types_and_labels_are_those_of_the_contract() -> None:
    found = {}
    for family in text_string_to_metric_families(everything()):
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, labels)
    assert found == {name: (kind, set(labels.split())) for name, (kind, labels) in CONTRACT.items()}


def test_the_exposition_is_what_prometheus_accepts() -> None:
    """What `promtool check metrics` would say: help and type before samples, each once; no duplicates; cumulative
    buckets that end in +Inf and agree with the count."""
    text = everything()
    seen: set[str] = set()
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith("."), family.name
        assert family.type != "unknown"
        for sample in family.samples:
            identity = f"{sample.name}{sorted(sample.labels.items())}"
            assert identity not in seen
            seen.add(identity)
            assert re.fullmatch(r"[a-z_]+", sample.name)
        if family.type == "histogram":
            check_histogram(family)
    assert text.count("# TYPE ") == text.count("# HELP ") == len(CONTRACT)


def check_histogram(family: object) -> None:
    series: dict[str, list[tuple[float, float]]] = {}
    counts: dict[str, float] = {}
    for sample in family.samples:  # type: ignore[attr-defined]
        key = str(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        if sample.name.endswith("_bucket"):
            series.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_count"):
            counts[key] = sample.value
    for key, buckets in series.items():
        assert [bound for bound, _ in buckets] == sorted(bound for bound, _ in buckets)
        assert [value for _, value in buckets] == sorted(value for _, value in buckets)
        assert buckets[-1] == (float("inf"), counts[key])


def test_a_target_that_nobody_called_shows_its_state_and_load_and_nothing_made_up() -> None:
    with telemetry(Route("shop/chat", Live("shop/chat", "east"))) as reader:
        samples = reader.samples()
    assert samples['llmroute_in_flight{route="shop/chat",target="east"}'] == 0
    assert samples['llmroute_target_state{route="shop/chat",state="healthy",target="east"}'] == 1
    assert not any(name.startswith(("llmroute_predicted", "llmroute_attempts")) for name in samples)


def test_buckets_reach_from_ten_milliseconds_to_a_minute_for_first_tokens() -> None:
    bounds = re.findall(r'llmroute_ttft_seconds_bucket\{le="([^"]+)",route="shop/chat"', everything())
    assert [float(bound) for bound in bounds[:3]] == [0.01, 0.02, 0.04]
    assert [float(bound) for bound in bounds[-6:]] == [15.0, 20.0, 30.0, 45.0, 60.0, float("inf")]


@pytest.mark.parametrize("strange", ['quo"te', "back\\slash", "new\nline", "ümläut"])
def test_strange_label_values_are_escaped(strange: str) -> None:
    live = Live("shop/chat", "east", model="m")
    live.spec = SimpleNamespace(model=strange)  # type: ignore[assignment]
    with telemetry(Route("shop/chat", live)) as reader:
        reader.telemetry.attempt_ended("shop/chat", attempt("east"))
        families = list(text_string_to_metric_families(reader.telemetry.exposition().decode()))
    models = {sample.labels.get("gen_ai_request_model") for family in families for sample in family.samples}
    assert strange in models

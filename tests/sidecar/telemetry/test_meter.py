"""What is counted, under which labels, and what happens at a reload."""

from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sidecar.telemetry.world import Live, Reader, Route, attempt, ended, telemetry

from llmroute.errors import ConfigError
from llmroute.request import FirstContent, Operation, Outcome, Usage
from llmroute.telemetry.histogram import OVERHEAD_SECONDS, Histogram
from llmroute.telemetry.meter import OUTCOMES

CHAT = "shop/chat"


def one_route(reader: Reader) -> None:
    reader.telemetry.reloaded((Route(CHAT, Live(CHAT, "east"), Live(CHAT, "west")),), "abc")


def test_requests_without_a_route_are_counted_without_a_name() -> None:
    with telemetry() as reader:
        reader.telemetry.request_ended(ended("", status=404, error="unknown_model", stream=False))
        samples = reader.samples()
    assert samples['llmroute_requests_total{cache="off",outcome="unknown_model",route=""}'] == 1


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({}, "ok"),
        ({"status": 400}, "client_error"),
        ({"status": 499}, "cancelled"),
        ({"status": 503, "error": "no_candidate"}, "no_candidate"),
        ({"status": 500, "error": "internal_error"}, "internal_error"),
        ({"status": 418, "error": "something of a client's"}, "other"),
    ],
)
def test_a_requests_outcome_is_one_of_the_fixed_words(fields: dict[str, object], outcome: str) -> None:
    assert outcome in OUTCOMES
    with telemetry() as reader:
        one_route(reader)
        reader.telemetry.request_ended(ended(**fields))  # type: ignore[arg-type]
        assert reader.samples()[f'llmroute_requests_total{{cache="off",outcome="{outcome}",route="{CHAT}"}}'] == 1


def test_what_clients_say_never_becomes_a_label() -> None:
    with telemetry() as reader:
        one_route(reader)
        before = len(reader.samples())
        reader.telemetry.request_ended(ended())
        known = len(reader.samples())
        for index in range(200):
            reader.telemetry.request_ended(ended(id=f"id-{index}", model=f"typo-{index}"))
            reader.telemetry.request_ended(ended(f"made/up-{index}"))
            reader.telemetry.chosen(CHAT, f"target-{index}", "fastest")
            reader.telemetry.attempt_ended(CHAT, attempt(f"target-{index}"))
            reader.telemetry.failed_over(CHAT, attempt(f"target-{index}"), "east")
        assert len(reader.samples()) == known > before


def test_an_attempt_is_counted_by_its_outcome_and_a_failover_by_both_ends() -> None:
    with telemetry() as reader:
        one_route(reader)
        failed = attempt("east", Outcome.FIRST_TOKEN_TIMEOUT)
        reader.telemetry.attempt_ended(CHAT, failed)
        reader.telemetry.failed_over(CHAT, failed, "west")
        reader.telemetry.attempt_ended(CHAT, attempt("west"))
        samples = reader.samples()
    assert samples[f'llmroute_attempts_total{{outcome="first-token-timeout",route="{CHAT}",target="east"}}'] == 1
    assert samples[f'llmroute_attempts_total{{outcome="ok",route="{CHAT}",target="west"}}'] == 1
    failover = f'llmroute_failovers_total{{from="east",reason="first-token-timeout",route="{CHAT}",to="west"}}'
    assert samples[failover] == 1


def test_selections_are_counted_by_reason_and_changes_of_mind_apart() -> None:
    with telemetry() as reader:
        one_route(reader)
        for target in ("east", "east", "west", "east"):
            reader.telemetry.chosen(CHAT, target, "fastest")
        samples = reader.samples()
    assert samples[f'llmroute_selections_total{{reason="fastest",route="{CHAT}",target="east"}}'] == 3
    assert samples[f'llmroute_selection_changes_total{{route="{CHAT}"}}'] == 2


def test_tokens_and_dollars_are_those_that_the_provider_billed() -> None:
    with telemetry() as reader:
        one_route(reader)
        reader.telemetry.attempt_ended(CHAT, attempt("east", usage=Usage(1_000_000, 500_000)))
        reader.telemetry.attempt_ended(CHAT, attempt("east", usage=None))
        samples = reader.samples()
    cost = samples[f'llmroute_cost_usd_total{{route="{CHAT}",target="east"}}']
    assert cost == pytest.approx(2.0)
    for kind, expected in (("input", 1_000_000), ("output", 500_000)):
        total = next(
            value
            for name, value in samples.items()
            if name.startswith("gen_ai_client_token_usage_sum") and f'token_type="{kind}"' in name
        )
        assert total == expected


def test_no_dollars_are_shown_where_no_price_is_declared() -> None:
    with telemetry(Route(CHAT, Live(CHAT, "east", priced=False))) as reader:
        reader.telemetry.attempt_ended(CHAT, attempt("east", usage=Usage(10, 10)))
        assert not any(name.startswith("llmroute_cost") for name in reader.samples())


def test_only_streams_have_a_first_chunk() -> None:
    with telemetry() as reader:
        one_route(reader)
        reader.telemetry.attempt_ended(CHAT, attempt("east", stream=False))
        reader.telemetry.request_ended(ended(stream=False))
        samples = reader.samples()
    assert not any("time_to_first_chunk" in name for name in samples)
    assert samples[f'llmroute_ttft_seconds_count{{route="{CHAT}"}}'] == 0
    assert samples[f'llmroute_request_duration_seconds_count{{route="{CHAT}",stream="false"}}'] == 1


def test_state_load_and_prediction_are_read_from_the_targets_when_scraped() -> None:
    live = Live(CHAT, "east")
    with telemetry(Route(CHAT, live)) as reader:
        live.queue.in_flight = 3
        live.candidate.latency.first_content(FirstContent("east", Operation.CHAT, True, 1, 0.25, 1.0))
        for _ in range(3):
            observation = attempt("east", Outcome.CONNECT_FAILED)
            live.candidate.health.observe(observation, monotonic())
        samples = reader.samples()
    labels = f'route="{CHAT}",target="east"'
    assert samples[f"llmroute_in_flight{{{labels}}}"] == 3
    assert samples[f"llmroute_predicted_ttft_seconds{{{labels}}}"] == pytest.approx(0.25)
    assert samples[f'llmroute_target_state{{route="{CHAT}",state="ejected",target="east"}}'] == 1
    assert samples[f'llmroute_target_state{{route="{CHAT}",state="healthy",target="east"}}'] == 0


def test_a_reload_keeps_what_stays_and_drops_what_is_gone() -> None:
    east, west, other = Live(CHAT, "east"), Live(CHAT, "west"), Live("shop/other", "east")
    with telemetry(Route(CHAT, east, west), Route("shop/other", other)) as reader:
        observer = reader.telemetry
        for target in ("east", "west"):
            observer.chosen(CHAT, target, "fastest")
            observer.attempt_ended(CHAT, attempt(target))
        observer.failed_over(CHAT, attempt("west", Outcome.BROKEN), "east")
        observer.attempt_ended("shop/other", attempt("east"))
        observer.request_ended(ended())
        observer.reloaded((Route(CHAT, Live(CHAT, "east")),), "def")
        observer.attempt_ended(CHAT, attempt("west"))
        observer.request_ended(ended("shop/other"))
        samples = reader.samples()
    assert samples[f'llmroute_attempts_total{{outcome="ok",route="{CHAT}",target="east"}}'] == 1
    assert samples[f'llmroute_requests_total{{cache="off",outcome="ok",route="{CHAT}"}}'] == 1
    assert not [name for name in samples if "west" in name or "other" in name]
    assert samples["llmroute_config_revision{}"] == 0xDEF
    assert samples['llmroute_config_reloads_total{result="applied"}'] == 2


def test_a_target_with_another_model_starts_anew() -> None:
    with telemetry(Route(CHAT, Live(CHAT, "east", model="old"))) as reader:
        reader.telemetry.attempt_ended(CHAT, attempt("east"))
        reader.telemetry.reloaded((Route(CHAT, Live(CHAT, "east", model="new")),), "def")
        reader.telemetry.attempt_ended(CHAT, attempt("east"))
        samples = reader.samples()
    assert not [name for name in samples if "old" in name]
    assert samples[f'llmroute_attempts_total{{outcome="ok",route="{CHAT}",target="east"}}'] == 1


def test_a_rejected_configuration_is_counted_and_changes_no_revision() -> None:
    with telemetry() as reader:
        reader.telemetry.rejected(ConfigError("no targets", where="route.yaml:3"))
        samples = reader.samples()
    assert samples['llmroute_config_reloads_total{result="rejected"}'] == 1
    assert samples["llmroute_config_revision{}"] == 0xABC


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True)))
def test_a_histogram_counts_each_number_once(values: list[float]) -> None:
    histogram = Histogram(OVERHEAD_SECONDS)
    for value in values:
        histogram.observe(value)
    rows = histogram.cumulative()
    numbers = [value for value in values if value == value]
    assert rows[-1] == ("+Inf", len(numbers))
    for bound, count in rows[:-1]:
        assert count == sum(value <= float(bound) for value in numbers)

"""The YAML file: what is wrong in it is named with its place."""

from pathlib import Path

import pytest

from llmroute.errors import ConfigError
from llmroute.simulator import load
from llmroute.simulator.spec import BlackHole, Duration, Sine


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("providers: [{name: a, colour: red}]", "providers[0]: Object contains unknown field `colour`"),
        ("providers: [{name: a, ttft: {mean: 1s}}]", "providers[0].ttft: Object contains unknown field `mean`"),
        ("providers: [{name: a, ttft: {median: soon}}]", "providers[0].ttft.median: expected a duration such as"),
        ("providers: [{name: a, ttft: {median: -1}}]", "providers[0].ttft.median: expected a duration such as"),
        ("providers: [{name: a, dialect: latin}]", "providers[0].dialect: Invalid enum value 'latin'"),
        ("providers: [{name: a, faults: [{type: gremlin}]}]", "providers[0].faults[0].type: Invalid value 'gremlin'"),
        ("providers: [{name: a, faults: [{type: status}]}]", "providers[0].faults[0]: Object missing required field"),
        ("providers: [{name: a}, {name: a}]", "providers[1].name: another provider is called 'a'"),
        ("providers: [{name: a, port: 9}, {name: b, port: 9}]", "providers[1].port: another provider has this port"),
        ("providers: [{name: a, batch: {slots: 1}}]", "providers[0]: a batch needs tokensPerSecond"),
        ("providers: []", "providers: Expected `array` of length >= 1"),
        ("seed: 1", "Object missing required field `providers`"),
        ("just words", "Expected `object`, got `str`"),
    ],
)
def test_a_wrong_field_is_named_with_its_path(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, "fleet.yaml")
    assert str(caught.value).startswith(f"fleet.yaml: {message}")


def test_text_that_is_not_yaml_is_named_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"^fleet.yaml:2: not YAML"):
        load("seed: 1\nseed: [: 2\n", "fleet.yaml")


def test_a_batch_that_also_declares_a_ttft_or_shifts_for_some_is_refused() -> None:
    provider = "{name: a, tokensPerSecond: {median: 50}, batch: {slots: 1}, "
    with pytest.raises(ConfigError, match=r"providers\[0\].ttft: a batch has its TTFT from its work"):
        load(f"providers: [{provider} ttft: {{median: 1s}}}}]")
    with pytest.raises(ConfigError, match=r"providers\[0\].shifts\[0\].share: a batch slows down as a whole"):
        load(f"providers: [{provider} shifts: [{{type: step, factor: 2, share: 0.5}}]}}]")


def test_durations_are_written_with_units_or_as_seconds() -> None:
    assert [Duration.parse(value) for value in ("400ms", "2s", "1m30s", 3, 0.25)] == [0.4, 2.0, 90.0, 3.0, 0.25]


def test_a_whole_provider_is_read() -> None:
    spec = load(
        """
        seed: 5
        providers:
        - name: east
          ttft: {median: 400ms, perThousandTokens: 20ms, sigma: 0.8}
          shifts: [{type: sine, period: 400s, logAmplitude: 0.6, phase: 0.25}]
          faults: [{type: black-hole, t0: 1m, t1: 2m, probability: 0.5}]
        """
    )
    (east,) = spec.providers
    assert spec.seed == 5
    assert (east.ttft.median, east.ttft.per_thousand_tokens) == (0.4, 0.02)
    assert east.shifts == (Sine(period=Duration(400), log_amplitude=0.6, phase=0.25),)
    assert east.faults == (BlackHole(t0=Duration(60), t1=Duration(120), probability=0.5),)


def test_the_example_is_a_fleet() -> None:
    spec = load(Path("examples/simulated-providers.yaml").read_text())
    assert [provider.name for provider in spec.providers] == ["east", "west", "claude", "own-gpu"]

"""The operator's environment."""

import pytest

from llmroute.errors import ConfigError
from llmroute_operator.settings import Settings, from_environment


def test_nothing_set_is_the_whole_cluster_with_everything_on() -> None:
    settings = from_environment({"POD_NAME": "operator-1"})
    assert settings == Settings(identity="operator-1") and settings.clusterwide


def test_what_the_chart_sets() -> None:
    settings = from_environment(
        {
            "POD_NAME": "operator-1",
            "LLMROUTE_NAMESPACES": "shop, bank,,",
            "LLMROUTE_OWN_NAMESPACE": "system",
            "LLMROUTE_CLUSTER_DOMAIN": "example.org",
            "LLMROUTE_PROMETHEUS_ADDRESS": "http://prometheus:9090",
            "LLMROUTE_NUDGE": "false",
            "LLMROUTE_AUTOSCALING": "False",
            "LLMROUTE_SCALE_UP_SECONDS": "0",
            "LLMROUTE_SCALE_DOWN_SECONDS": "3600",
            "LLMROUTE_WEBHOOK_NAME": "llmroute-injector",
            "LLMROUTE_LOG_LEVEL": "DEBUG",
        }
    )
    assert settings.namespaces == ("bank", "shop") and not settings.clusterwide
    assert (settings.nudge, settings.autoscaling, settings.log_level) == (False, False, "debug")
    assert (settings.scale_up_after, settings.scale_down_after) == (0, 3600)
    assert (settings.own_namespace, settings.cluster_domain) == ("system", "example.org")
    assert settings.prometheus_address == "http://prometheus:9090" and settings.webhook_name == "llmroute-injector"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NUDGE", "yes"),
        ("AUTOSCALING", "1"),
        ("SCALE_UP_SECONDS", "30s"),
        ("SCALE_DOWN_SECONDS", "3601"),
        ("LOG_LEVEL", "loud"),
        ("PORT", "http"),
        ("PORT", "70000"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_environment({f"LLMROUTE_{name}": value})
    assert error.value.where == f"LLMROUTE_{name}" and value in error.value.message

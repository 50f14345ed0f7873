"""What holds for every pod that the API server can send, however odd."""

import copy
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.operator.injected_pods import app, patched, pod, review

from llmroute_operator import names
from llmroute_operator.environment import LOCAL, NO_PROXY
from llmroute_operator.inject import is_injected, refusal
from llmroute_operator.pods import pod_of
from llmroute_operator.workload import workload_of

OWN_ENVIRONMENT = ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "LLMROUTE_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY")
VARIABLES = (*OWN_ENVIRONMENT, *NO_PROXY, "HTTP_PROXY", "http_proxy", "OTHER")

texts = st.text(max_size=12)
maybe: st.SearchStrategy[list[Any] | None] = st.none() | st.just([])
variables = st.fixed_dictionaries(
    {"name": st.sampled_from(VARIABLES)},
    optional={"value": st.sampled_from(["", "*", "a,b", "127.0.0.1,localhost", "$(OTHER)"]) | texts},
) | st.builds(
    lambda name: {"name": name, "valueFrom": {"configMapKeyRef": {"name": "settings", "key": name}}},
    st.sampled_from(VARIABLES),
)
containers = st.builds(
    lambda name, fields: {**app(name), **fields},
    st.sampled_from(["app", "worker", "istio-init", "istio-proxy", "linkerd-proxy", "daprd", names.CONTAINER]),
    st.fixed_dictionaries(
        {},
        optional={
            "env": st.lists(variables, max_size=5) | maybe,
            "envFrom": st.lists(st.just({"secretRef": {"name": "keys"}}), max_size=1) | maybe,
            "restartPolicy": st.just("Always"),
            "ports": st.lists(st.builds(dict, containerPort=st.sampled_from([80, 4000, 4001])), max_size=2) | maybe,
        },
    ),
)
annotations = st.dictionaries(
    st.sampled_from(
        (
            *(names.SECRETS, names.PORT, names.LOG_LEVEL, names.IMAGE, names.CPU_REQUEST, names.CPU_LIMIT),
            *(names.MEMORY_REQUEST, names.MEMORY_LIMIT, names.WORKLOAD, "other"),
        )
    ),
    texts | st.sampled_from(["4010", "debug", "200m", "2", "64Mi", "a,b", "Pod/shop"]),
    max_size=5,
)
labels = st.dictionaries(st.sampled_from([names.SIDECAR, names.INJECT, "app"]), st.sampled_from(["true", "false", "x"]))
pods = st.builds(
    lambda apps, marks, notes, spec: pod(*apps, labels=marks, annotations=notes, **spec),
    st.lists(containers, min_size=1, max_size=3),
    labels | st.none(),
    annotations | st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "initContainers": st.lists(containers, max_size=3) | maybe,
            "volumes": st.lists(
                st.builds(dict, name=st.sampled_from(["mine", "kube-api-access-x", names.STATE_VOLUME])), max_size=2
            )
            | maybe,
            "hostNetwork": st.booleans(),
            "resources": st.sampled_from([None, {}, {"requests": {"cpu": "1"}}, {"limits": {"memory": "1Gi"}}]),
        },
    ),
)


@settings(max_examples=150, deadline=None)
@given(pods)
def test_a_second_time_changes_nothing(given_pod: dict[str, Any]) -> None:
    after = patched(given_pod)
    assert review(after).patch == []


@settings(max_examples=150, deadline=None)
@given(pods)
def test_either_the_sidecar_is_there_or_a_reason(given_pod: dict[str, Any]) -> None:
    injected = review(given_pod)
    after = patched(given_pod, injected)
    opted_out = (given_pod["metadata"].get("labels") or {}).get(names.INJECT) == "false"
    assert is_injected(after) or opted_out or refusal(given_pod) is not None
    assert (injected.outcome == "refused") == (not is_injected(after) and not opted_out)
    assert not pod_of(after).misses_sidecar({names.INJECTION: names.INJECTION_ENABLED})
    if injected.outcome in ("refused", "unchanged"):
        assert injected.patch == []


@settings(max_examples=150, deadline=None)
@given(pods)
def test_taking_ours_out_gives_back_the_users_pod(given_pod: dict[str, Any]) -> None:
    injected = review(given_pod)
    if injected.outcome == "injected":
        assert _without_ours(patched(given_pod, injected), given_pod) == _plain(given_pod)


@settings(max_examples=100, deadline=None)
@given(pods)
def test_patches_and_warnings_are_what_the_api_server_takes(given_pod: dict[str, Any]) -> None:
    injected = review(given_pod)
    assert orjson.loads(orjson.dumps(injected.patch)) == injected.patch
    assert {operation["op"] for operation in injected.patch} <= {"add"}
    for warning in injected.warnings:
        assert warning.isascii()
        assert warning.isprintable()


def _plain(of: dict[str, Any]) -> dict[str, Any]:
    """Nothing, null and empty are the same to Kubernetes."""
    plain: dict[str, Any] = orjson.loads(orjson.dumps(of))
    for owner in (plain["metadata"], plain["spec"], *_containers(plain["spec"])):
        for field in ("labels", "annotations", "initContainers", "volumes", "env", "envFrom", "ports"):
            if field in owner and not owner[field]:
                del owner[field]
    for mark, field in ((names.SIDECAR, "labels"), (names.WORKLOAD, "annotations")):
        plain["metadata"].get(field, {}).pop(mark, None)
        if not plain["metadata"].get(field, True):
            del plain["metadata"][field]
    return plain


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def _without_ours(after: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The patched pod minus what the contract lets us add; marks are compared apart."""
    stripped = copy.deepcopy(after)
    assert stripped["metadata"]["labels"][names.SIDECAR] == "true"
    assert stripped["metadata"]["annotations"][names.WORKLOAD] == workload_of(before["metadata"])
    spec = stripped["spec"]
    spec["initContainers"] = [one for one in spec["initContainers"] if one["name"] != names.CONTAINER]
    spec["volumes"] = [one for one in spec["volumes"] if not one["name"].startswith("llmroute-")]
    for mine, theirs in zip(_containers(spec), _containers(before["spec"]), strict=True):
        own = theirs.get("env") or []
        left = [entry for entry in mine.get("env") or [] if not _added(entry, own)]
        mine["env"] = [_shortened(entry, old) for entry, old in zip(left, own, strict=True)]
    return _plain(stripped)


def _added(entry: dict[str, Any], own: list[dict[str, Any]]) -> bool:
    return entry["name"] in (*OWN_ENVIRONMENT, *NO_PROXY) and entry["name"] not in {one["name"] for one in own}


def _shortened(entry: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """The one change that is allowed: our addresses at the end of NO_PROXY."""
    value, before = entry.get("value"), old.get("value") or ""
    if entry["name"] not in NO_PROXY or value == old.get("value"):
        return entry
    assert value is not None
    assert value.startswith(before.rstrip(", "))
    assert set(value[len(before.rstrip(", ")) :].strip(", ").split(",")) <= set(LOCAL)
    return old

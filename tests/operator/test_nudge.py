"""When which pod is touched."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute_operator import names
from llmroute_operator.nudge import Bucket, Nudge, Schedule, Wanted
from llmroute_operator.pods import Pod, pod_of


def pod(name: str = "app", *, annotations: Mapping[str, str] | None = None, ready: bool = True, **more: str) -> Pod:
    metadata = {
        "namespace": more.get("namespace", "shop"),
        "name": name,
        "uid": f"uid-{name}",
        "labels": {names.SIDECAR: "true"},
    }
    metadata |= {"annotations": annotations or {}, **({"deletionTimestamp": more["ends"]} if "ends" in more else {})}
    status = {"phase": more.get("phase", "Running"), "conditions": [{"type": "Ready", "status": str(ready)}]}
    return pod_of({"metadata": metadata, "spec": {"nodeName": "node"}, "status": status})


def sent(schedule: Schedule, until: float) -> list[tuple[float, dict[str, str]]]:
    """All nudges that go out from second 0 to `until`, with their times."""
    found, now = [], 0.0
    while now <= until:
        due = schedule.next(now)
        if isinstance(due, Nudge):
            found.append((round(now, 2), due.annotations))
        elif due is None:
            break
        else:
            now += due
    return found


def story(schedule: Schedule, until: float = 1000.0) -> list[tuple[float, str]]:
    return [(at, annotations[names.REVISION]) for at, annotations in sent(schedule, until)]


def test_a_pod_whose_configuration_was_written_is_nudged_at_once_and_again_after_2_10_and_60_seconds() -> None:
    schedule = Schedule()
    schedule.want(pod(), Wanted("abc", "", written=True), confirmed=False, now=0.0)
    assert story(schedule) == [(0.0, "abc"), (2.0, "abc.1"), (12.0, "abc.2"), (72.0, "abc.3")]
    assert len(schedule) == 0


def test_a_pod_that_confirms_is_left_alone() -> None:
    schedule = Schedule()
    schedule.want(pod(), Wanted("abc", "", written=True), confirmed=False, now=0.0)
    assert story(schedule, until=1.0) == [(0.0, "abc")]
    schedule.want(pod(), Wanted("abc", "", written=False), confirmed=True, now=1.0)
    assert story(schedule) == []
    schedule.want(pod(), Wanted("abc", "", written=False), confirmed=False, now=2.0)
    assert story(schedule) == [], "a sidecar that cannot be asked for a moment is not stale"


def test_a_pod_that_has_just_started_is_not_touched_if_it_runs_what_it_should() -> None:
    schedule = Schedule()
    for phase, ready in (("Pending", False), ("Running", False)):
        schedule.want(pod(phase=phase, ready=ready), Wanted("abc", "", written=False), confirmed=False, now=0.0)
    assert story(schedule) == []
    schedule.want(pod(), Wanted("abc", "", written=False), confirmed=True, now=0.0)
    assert story(schedule) == []


def test_a_pod_that_serves_something_else_is_nudged_after_two_seconds() -> None:
    schedule = Schedule()
    schedule.want(pod(), Wanted("abc", "", written=False), confirmed=False, now=0.0)
    assert story(schedule)[0] == (2.0, "abc")


def test_a_pod_that_was_told_by_a_former_leader_gets_its_time_to_confirm() -> None:
    schedule = Schedule()
    told = pod(annotations={names.REVISION: "abc.1"})
    schedule.want(told, Wanted("abc", "", written=False), confirmed=False, now=0.0)
    assert story(schedule) == [(2.0, "abc.1"), (12.0, "abc.2"), (72.0, "abc.3")]


def test_a_pod_that_was_told_something_else_is_nudged_at_once() -> None:
    schedule = Schedule()
    told = pod(annotations={names.REVISION: "old"})
    schedule.want(told, Wanted("abc", "", written=False), confirmed=False, now=0.0)
    assert story(schedule)[0] == (0.0, "abc")


def test_a_new_revision_begins_the_steps_anew() -> None:
    schedule = Schedule()
    schedule.want(pod(), Wanted("abc", "", written=True), confirmed=False, now=0.0)
    assert story(schedule, until=1.0) == [(0.0, "abc")]
    schedule.want(pod(), Wanted("def", "", written=True), confirmed=False, now=0.0)
    assert story(schedule) == [(0.0, "def"), (2.0, "def.1"), (12.0, "def.2"), (72.0, "def.3")]


def test_pods_that_end_have_ended_or_are_gone_are_not_touched() -> None:
    schedule = Schedule()
    wanted = Wanted("abc", "eu", written=True)
    for name in ("ends", "done", "gone"):
        schedule.want(pod(name), wanted, confirmed=False, now=0.0)
    schedule.want(pod("ends", ends="2026-01-01T00:00:00Z"), wanted, confirmed=False, now=0.0)
    schedule.want(pod("done", phase="Succeeded"), wanted, confirmed=False, now=0.0)
    schedule.keep("shop", {"ends", "done"})
    assert sent(schedule, 1000.0) == []


def test_a_pod_learns_its_region_once_and_as_soon_as_it_has_a_node() -> None:
    schedule = Schedule()
    starting = pod(phase="Pending", ready=False)
    for _ in range(3):
        schedule.want(starting, Wanted("abc", "eu", written=False), confirmed=False, now=0.0)
        assert sent(schedule, 1000.0) in ([(0.0, {names.REGION: "eu"})], [])
    told = pod("other", annotations={names.REGION: "eu"})
    schedule.want(told, Wanted("abc", "eu", written=False), confirmed=True, now=0.0)
    assert sent(schedule, 1000.0) == []


def test_pods_that_cannot_confirm_do_not_hold_up_those_with_something_new() -> None:
    schedule = Schedule()
    for number in range(100):
        told = pod(f"silent-{number}", annotations={names.REVISION: "abc"})
        schedule.want(told, Wanted("abc", "", written=False), confirmed=False, now=0.0)
    schedule.want(pod("new"), Wanted("def", "", written=True), confirmed=False, now=50.0)
    assert schedule.next(50.0) == Nudge("shop", "new", {names.REVISION: "def"})


def test_region_and_revision_go_together() -> None:
    schedule = Schedule()
    schedule.want(pod(), Wanted("abc", "eu", written=True), confirmed=False, now=0.0)
    assert sent(schedule, 0.0) == [(0.0, {names.REGION: "eu", names.REVISION: "abc"})]


@settings(max_examples=25)
@given(st.lists(st.floats(0, 0.05), min_size=60, max_size=120))
def test_no_second_sees_more_than_fifty_nudges(gaps: list[float]) -> None:
    bucket, now, taken = Bucket(50.0), 0.0, []
    for gap in gaps:
        now += gap
        while (wait := bucket.take(now)) > 0:
            now += wait
        taken.append(now)
    for index, at in enumerate(taken):
        assert sum(1 for other in taken[index:] if other < at + 1.0 - 1e-6) <= 50

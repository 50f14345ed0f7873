"""The simulated routing: the same luck for everyone, servers that do what their scenario says, and known rivals."""

import math
from functools import partial
from random import Random

import pytest
from bench.routing.__main__ import POLICIES, SCENARIOS, run
from bench.routing.clock import Clock
from bench.routing.fleet import Fleet
from bench.routing.luck import Arrival, Luck, arrivals, luck
from bench.routing.scenarios import Burst, Fail, Mod, RateLimit, Scenario, Target, read
from bench.routing.servers import server

AVERAGE = Luck(first=0.0, speed=0.0, failure=0.99, hit=0.0)
SAAS = Target(kind="saas", tps=50.0, rtt=0.04, sigma=0.79, a=0.4, b_per_1k=0.1)
POD = Target(kind="selfhosted", tps=50.0, rtt=0.0, sigma=0.25, max_batch=2, knee=1.0, base_work=5.0)


def scenario(*targets: Target, **other: object) -> Scenario:
    usual = {"id": "s", "seed": 1, "sidecars": 2, "rate": 5.0, "duration": 60.0, "warmup": 0.0, "slo": 2.0}
    return Scenario(targets=targets, **{**usual, **other})  # type: ignore[arg-type]


def told(target: Target, *sent: tuple[float, int], noise: Luck = AVERAGE) -> list[tuple[str, float]]:
    """What becomes of attempts that begin at instants with so many tokens to answer: what, and when."""
    clock = Clock()
    heard: list[tuple[str, float]] = []
    one = server(clock, target)
    for number, (at, output) in enumerate(sent):
        arrival = Arrival(number, at, 0, prompt=1000, output=output)
        clock.at(at, partial(one.send, arrival, noise, lambda kind, _: heard.append((kind, round(clock.now, 3)))))
    clock.run()
    return heard


def test_a_provider_takes_longer_for_long_prompts_and_answers_at_its_speed() -> None:
    assert told(SAAS, (0.0, 100)) == [("first", 0.54), ("end", 2.54)]


def test_a_brownout_slows_the_first_token_and_not_the_rest() -> None:
    slow = Target(kind="saas", tps=50.0, rtt=0.04, sigma=0.79, a=0.5, mods=(Mod("step", t0=10.0, t1=20.0, x=5.0),))
    assert told(slow, (0.0, 50), (12.0, 50)) == [("first", 0.54), ("end", 1.54), ("first", 14.54), ("end", 15.54)]


def test_a_rate_limit_answers_429_once_its_bucket_is_empty() -> None:
    limited = Target(
        kind="saas", tps=50.0, rtt=0.0, sigma=0.79, a=1.0, rate_limit=RateLimit(rps=1.0, burst=2.0, retry_after=3.0)
    )
    kinds = [kind for kind, _ in told(limited, (0.0, 1), (0.0, 1), (0.0, 1))]
    assert kinds.count("429") == 1 and kinds.count("end") == 2


@pytest.mark.parametrize(
    ("fail", "heard"),
    [
        (Fail("5xx", 0.0, 9.0, p=1.0, delay=0.2), [("5xx", 0.24)]),
        (Fail("refused", 0.0, 9.0, p=1.0), [("refused", 0.04)]),
        (Fail("hang", 0.0, 9.0, p=1.0), []),
        (Fail("stall", 0.0, 9.0, p=1.0), [("first", 0.54), ("stalled", 6.04)]),
    ],
)
def test_failures_look_like_failures(fail: Fail, heard: list[tuple[str, float]]) -> None:
    failing = Target(kind="saas", tps=50.0, rtt=0.04, sigma=0.79, a=0.5, fails=(fail,))
    assert told(failing, (0.0, 10), noise=Luck(0.0, 0.0, failure=0.5, hit=0.0)) == heard


def test_two_requests_share_a_pod_and_the_third_waits_for_a_slot() -> None:
    # Alone: 5 + 45 token-units at 50 a second. Two: each at 50 / (1 + 1/1) = 25 a second.
    assert told(POD, (0.0, 45)) == [("first", 0.1), ("end", 1.0)]
    assert told(POD, (0.0, 45), (0.0, 45), (0.5, 20)) == [
        ("first", 0.2),
        ("first", 0.2),
        ("end", 2.0),
        ("end", 2.0),
        ("first", 2.1),
        ("end", 2.5),
    ]


def test_who_gives_up_makes_room_at_a_pod() -> None:
    clock = Clock()
    heard: list[tuple[str, str, float]] = []
    pod = server(clock, POD)
    arrival = Arrival(0, 0.0, 0, prompt=1, output=45)
    first = pod.send(arrival, AVERAGE, lambda kind, _: heard.append(("first request", kind, clock.now)))
    pod.send(arrival, AVERAGE, lambda kind, _: heard.append(("second request", kind, clock.now)))
    clock.at(0.5, first.cancel)
    clock.run()
    # 12.5 of 50 units shared, the other 37.5 alone at 50 a second.
    assert heard[-1][:2] == ("second request", "end")
    assert heard[-1][2] == pytest.approx(0.5 + 37.5 / 50.0)
    assert ("first request", "end") not in {(who, kind) for who, kind, _ in heard}


def test_the_expected_time_at_a_pod_is_what_happens_without_noise() -> None:
    clock = Clock()
    pod = server(clock, POD)
    arrival = Arrival(0, 0.0, 0, prompt=1, output=45)
    for _ in range(2):
        pod.send(arrival, AVERAGE, lambda kind, _: None)
    # Two run until 2.0; then this one is alone, and its prompt takes 5 units with half the variance on top.
    assert pod.expected(arrival, total=False) == pytest.approx(2.0 + 5.0 * math.exp(0.25**2 / 2) / 50.0)


def test_arrivals_keep_their_rate_in_bursts_too() -> None:
    calm = scenario(SAAS, rate=20.0, duration=2000.0)
    bursty = scenario(SAAS, rate=20.0, duration=2000.0, burst=Burst(factor=3.0, on=15.0, off=30.0))
    for one in (calm, bursty):
        assert len(list(arrivals(one, 5))) == pytest.approx(40_000, rel=0.06)


def test_luck_depends_on_request_target_and_try_alone() -> None:
    assert luck(1, 7, 2, 0) == luck(1, 7, 2, 0)
    assert len({luck(1, 7, 2, 0), luck(2, 7, 2, 0), luck(1, 8, 2, 0), luck(1, 7, 3, 0), luck(1, 7, 2, 1)}) == 5


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_answers_everything_where_one_target_is_dead(name: str) -> None:
    dead = Target(kind="saas", tps=50.0, rtt=0.04, sigma=0.79, a=0.1, fails=(Fail("refused", 0.0, 60.0, p=1.0),))
    result = run(scenario(dead, SAAS), name, seed=3)
    assert result.failed == 0 and result.requests > 200
    assert result == run(scenario(dead, SAAS), name, seed=3), "the same seed gives the same run"


def test_nobody_beats_the_oracle_by_much_and_it_is_never_in_the_brownout() -> None:
    brownout = next(one for one in read(SCENARIOS) if one.id == "p02_brownout")
    oracle, random = run(brownout, "oracle", 1), run(brownout, "random", 1)
    assert oracle.mean < random.mean and oracle.into_event == 0 < random.into_event


def test_a_request_fails_when_its_stream_stalls_and_not_before() -> None:
    stalling = Target(kind="saas", tps=50.0, rtt=0.04, sigma=0.79, a=0.5, fails=(Fail("stall", 0.0, 60.0, p=1.0),))
    fleet = Fleet(scenario(stalling), 1)
    requests = fleet.run(POLICIES["random"](fleet.scenario, fleet, Random(1)))
    assert all(request.failed and request.score is not None and request.score < 30.0 for request in requests)

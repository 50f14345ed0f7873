"""Luck belongs to (seed, provider, index) and to nothing else."""

import math
import statistics

from llmroute.simulator.draws import Draw, lognormal


def fingerprint(draw: Draw) -> tuple[float, ...]:
    return draw.ttft, draw.speed, draw.length, draw.number, draw.uniform("fault 0")


def test_the_same_request_meets_the_same_luck() -> None:
    assert fingerprint(Draw(1, "east", "7")) == fingerprint(Draw(1, "east", "7"))


def test_seed_provider_and_index_each_change_the_luck() -> None:
    draws = [Draw(1, "east", "7"), Draw(2, "east", "7"), Draw(1, "west", "7"), Draw(1, "east", "8")]
    assert len({fingerprint(draw) for draw in draws}) == 4


def test_purposes_do_not_share_their_luck() -> None:
    draw = Draw(1, "east", "7")
    assert draw.uniform("fault 0") != draw.uniform("fault 1")


def test_noise_is_standard_normal_and_chances_are_uniform() -> None:
    draws = [Draw(3, "east", str(index)) for index in range(4000)]
    for noise in ([draw.ttft for draw in draws], [draw.speed for draw in draws], [draw.length for draw in draws]):
        assert abs(statistics.fmean(noise)) < 0.06
        assert abs(statistics.pstdev(noise) - 1) < 0.05
    chances = [draw.uniform("fault 0") for draw in draws]
    assert abs(statistics.fmean(chances) - 0.5) < 0.02
    assert 0 < min(chances) < max(chances) < 1


def test_a_lognormal_has_median_one() -> None:
    assert lognormal(0.8, 0.0) == 1.0
    assert lognormal(0.0, 3.0) == 1.0
    assert math.isclose(lognormal(0.5, 2.0), math.e)

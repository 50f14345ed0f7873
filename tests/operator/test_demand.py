"""The number that replicas follow, asked of a real Prometheus: it grows with requests, and not with a provider's
brownout."""

import math
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.operator.prometheus import Prometheus, Story, prometheus

from llmroute.telemetry.baseline import Baseline
from llmroute_operator.demand import Where, any_of, query

pytestmark = pytest.mark.asyncio(loop_scope="module")
STEP = 20
"""Seconds between two scrapes."""
IN_FLIGHT_PER_POD = 8
BUCKETS = (0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.0, 60.0, math.inf)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Prometheus]:
    async with prometheus() as here:
        yield here


def shop(story: Story) -> Where:
    return Where(namespace=story.namespace, workload="Deployment/shop")


class Sidecar:
    """What one sidecar counts, as a fluid: requests flow in and, by their latency, out."""

    def __init__(self) -> None:
        self.in_flight = 0.0
        self.selections = 0.0
        self.ended = 0.0
        self.seconds = 0.0
        self.ttfts = dict.fromkeys(BUCKETS, 0.0)
        self.baseline = Baseline()

    def live(self, arrivals: float, latency: float) -> None:
        """A step of so many requests a second."""
        self.selections += arrivals * STEP
        steady = arrivals * latency
        before, self.in_flight = self.in_flight, steady + (self.in_flight - steady) * math.exp(-STEP / latency)
        ended = arrivals * STEP + before - self.in_flight
        self.ended += ended
        self.seconds += ended * latency
        for bound in BUCKETS:
            self.ttfts[bound] += ended if latency / 5 <= bound else 0.0

    def series(self, story: Story, pod: str, route: str = "shop/chat", target: str = "east") -> dict[str, float]:
        """What its /metrics says, with the labels of a scrape."""
        scraped = f'namespace="{story.namespace}",workload="Deployment/shop",instance="{pod}",route="{route}"'
        series = {
            f'llmroute_in_flight{{{scraped},target="{target}"}}': self.in_flight,
            f'llmroute_selections_total{{{scraped},target="{target}",reason="fastest"}}': self.selections,
        }
        for bound, count in self.ttfts.items():
            le = "+Inf" if bound == math.inf else f"{bound:g}"
            series[f'llmroute_ttft_seconds_bucket{{{scraped},le="{le}"}}'] = count
            name = "gen_ai_client_operation_time_to_first_chunk_seconds_bucket"
            series[f'{name}{{{scraped},target="{target}",le="{le}"}}'] = count
        usual = self.baseline.look(story.now, self.seconds, int(self.ended))
        if usual is not None:
            series[f"llmroute_baseline_seconds{{{scraped}}}"] = usual
        return series


class Workload:
    """A Deployment whose replicas follow the number as an HPA's do, with as many sidecars."""

    def __init__(self, story: Story, least: int = 2, most: int = 100, threshold: float | None = None) -> None:
        self.story = story
        self.least, self.most = least, most
        self.query = query(shop(story), threshold)
        self.sidecars = {f"pod-{index}": Sidecar() for index in range(least)}
        self.started = least
        self.demand: float | None = None

    @property
    def replicas(self) -> int:
        return len(self.sidecars)

    async def live(self, minutes: float, *, arrivals: float, latency: float) -> int:
        """Replicas after a while; the most there were if that is more."""
        highest = 0
        for _ in range(round(minutes * 60 / STEP)):
            self.story.now += STEP
            series: dict[str, float] = {}
            for name, sidecar in self.sidecars.items():
                sidecar.live(arrivals / self.replicas, latency)
                series |= sidecar.series(self.story, name)
            await self.story.tell(series)
            self.demand = await self.story.ask(self.query)
            self._scale()
            highest = max(highest, self.replicas)
        return highest

    def _scale(self) -> None:
        if self.demand is None or abs(self.demand / IN_FLIGHT_PER_POD / self.replicas - 1) <= 0.1:
            return
        wanted = min(self.most, max(self.least, math.ceil(self.demand / IN_FLIGHT_PER_POD)))
        names = list(self.sidecars)
        self.sidecars = {name: self.sidecars[name] for name in names[:wanted]}
        while self.replicas < wanted:
            self.sidecars[f"pod-{self.started}"] = Sidecar()
            self.started += 1


async def test_replicas_follow_requests_up_and_down(server: Prometheus) -> None:
    workload = Workload(server.story())
    await workload.live(3, arrivals=20, latency=2.0)
    assert 5 <= workload.replicas <= 6
    await workload.live(3, arrivals=60, latency=2.0)
    assert 15 <= workload.replicas <= 17
    await workload.live(3, arrivals=20, latency=2.0)
    assert 5 <= workload.replicas <= 6
    await workload.live(2, arrivals=0, latency=2.0)
    assert workload.demand == 0, "idle is a value"
    assert workload.replicas == 2


async def test_a_brownout_for_minutes_does_not_run_a_workload_to_its_maximum(server: Prometheus) -> None:
    workload = Workload(server.story(), threshold=1.5)
    await workload.live(7, arrivals=20, latency=2.0)
    before = workload.replicas
    highest = await workload.live(8, arrivals=20, latency=20.0)
    in_flight = sum(one.in_flight for one in workload.sidecars.values())
    assert in_flight > 300, "so many would ask for 40 replicas and more"
    assert highest <= 3.5 * before, "twice for the requests in flight, and half as many more for the latency"
    await workload.live(3, arrivals=20, latency=2.0)
    assert workload.replicas <= before + 1


async def test_slow_first_tokens_ask_for_up_to_half_as_many_more(server: Prometheus) -> None:
    story = server.story()
    workload = Workload(story, least=5, most=5)
    await workload.live(2, arrivals=20, latency=2.0)
    plain = workload.demand or 0.0
    pressed = [await story.ask(query(shop(story), threshold)) or 0.0 for threshold in (10.0, 0.5, 0.01)]
    assert pressed[0] == plain
    assert 1.2 * plain < pressed[1] < 1.3 * plain, "the p95 of what lies between 320 and 640 ms is 624"
    assert pressed[2] == 1.5 * plain


async def test_what_cannot_be_seen_has_no_value_so_that_nobody_scales_down_for_it(server: Prometheus) -> None:
    story = server.story()
    await story.tell({'llmroute_in_flight{namespace="bank",workload="Deployment/bank",route="r",target="t"}': 5.0})
    assert await story.ask(query(shop(story), None)) is None
    assert await story.ask(query(shop(story), 1.5)) is None


async def test_before_anything_has_ended_what_is_in_flight_counts(server: Prometheus) -> None:
    workload = Workload(server.story(), least=1, most=1)
    await workload.live(1, arrivals=1.0, latency=600.0)
    assert workload.demand is not None
    assert 20 < workload.demand < 60


async def test_routes_with_other_latencies_each_have_their_own_bound(server: Prometheus) -> None:
    story = server.story()
    slow, fast = Sidecar(), Sidecar()
    for _ in range(15):
        story.now += STEP
        slow.live(2.0, 20.0)
        fast.live(100.0, 0.1)
        await story.tell(slow.series(story, "a", "shop/slow") | fast.series(story, "a", "shop/fast", "west"))
    demand = await story.ask(query(shop(story), None))
    assert demand is not None
    assert 45 <= demand <= 52, "40 and 10"


async def test_a_model_server_is_scaled_by_what_all_sidecars_send_to_it(server: Prometheus) -> None:
    story = server.story()
    where = Where(namespace=story.namespace, route="shop/chat", targets=any_of(["vllm"], ["own"]))
    sidecars = {"vllm": Sidecar(), "own-10.0.0.7": Sidecar(), "openai": Sidecar()}
    for _ in range(8):
        story.now += STEP
        series: dict[str, float] = {}
        for target, sidecar in sidecars.items():
            sidecar.live(5.0, 2.0)
            series |= sidecar.series(story, f"pod-of-{target}", "shop/chat", target)
        await story.tell(series)
    for threshold in (None, 10.0):
        demand = await story.ask(query(where, threshold))
        assert demand is not None
        assert 18 <= demand <= 21, "two targets of 10"


async def test_the_query_is_written_down() -> None:
    """As it stands in a ScaledObject."""
    assert query(Where(namespace="shop", workload="Deployment/shop"), 1.5) == (
        '((sum(avg_over_time(llmroute_in_flight{namespace="shop",workload="Deployment/shop"}[1m])) < '
        '2 * sum(sum by (route) (rate(llmroute_selections_total{namespace="shop",workload="Deployment/shop"}[1m])) * '
        'on (route) min by (route) (llmroute_baseline_seconds{namespace="shop",workload="Deployment/shop"}))) or '
        '2 * sum(sum by (route) (rate(llmroute_selections_total{namespace="shop",workload="Deployment/shop"}[1m])) * '
        'on (route) min by (route) (llmroute_baseline_seconds{namespace="shop",workload="Deployment/shop"})) or '
        'sum(avg_over_time(llmroute_in_flight{namespace="shop",workload="Deployment/shop"}[1m]))) * '
        '((clamp(histogram_quantile(0.95, sum by (le) (rate(llmroute_ttft_seconds_bucket{namespace="shop",'
        'workload="Deployment/shop"}[2m]))) / 1.5, 1, 1.5) >= 1) or vector(1))'
    )

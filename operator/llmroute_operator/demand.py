"""The one number that replicas follow, as a PromQL query. Pure.

    min(in flight, 2 x arrivals x baseline) x clamp(p95 of time to first token / threshold, 1, 1.5)

In flight alone grows with a provider's brownout (it is arrivals times latency), and more replicas do not make a
provider faster: hence the bound, by what would be in flight at twice the usual latency. The sum is divided by what one
replica should have (AverageValue), so nothing is multiplied by the replicas that there are: what this number asks for
does not grow by being followed.
"""

from collections.abc import Sequence

from msgspec import Struct

WINDOW = "1m"
"""Needs a scrape every 20 s or more often: a rate wants two samples, better three."""
LATENCY_WINDOW = "2m"
MOST_BASELINES = 2
MOST_LATENCY = 1.5


class Where(Struct, frozen=True):
    """Which series count. `targets`: names of targets as a regular expression; None: all that the sidecars of
    `workload` send."""

    namespace: str
    route: str = ""
    workload: str = ""
    targets: str | None = None


def query(where: Where, threshold: float | None) -> str:
    """The query; `threshold` of the time to first token in seconds, None to leave latency out.

    - Arrivals are choices of a target (`llmroute_selections_total`), counted when an attempt begins: requests are
      counted when they end, which for long answers is a minute too late.
    - The baseline of a route is the smallest that any of its sidecars has: those that were started during a brownout
      know of nothing better.
    - Without a baseline (nothing has ended yet) there is no bound. Without any series there is no value, and KEDA falls
      back to the replicas that there are; what is idle says 0, which is a value.
    """
    chosen = _selector(where)
    in_flight = f"sum(avg_over_time(llmroute_in_flight{chosen}[{WINDOW}]))"
    usual = _usual(where, chosen)
    least = f"(({in_flight} < {usual}) or {usual} or {in_flight})"
    if threshold is None:
        return least
    return f"{least} * {_pressure(where, chosen, threshold)}"


def _selector(where: Where, *, targets: bool = True) -> str:
    matchers = [f'namespace="{where.namespace}"']
    if where.targets is None:
        matchers.append(f'workload="{where.workload}"')
    else:
        matchers.append(f'route="{where.route}"')
        if targets:
            matchers.append(f'target=~"{where.targets}"')
    return f"{{{','.join(matchers)}}}"


def _usual(where: Where, chosen: str) -> str:
    baseline = f"min by (route) (llmroute_baseline_seconds{_selector(where, targets=False)})"
    arrivals = f"sum by (route) (rate(llmroute_selections_total{chosen}[{WINDOW}]))"
    return f"{MOST_BASELINES} * sum({arrivals} * on (route) {baseline})"


def _pressure(where: Where, chosen: str, threshold: float) -> str:
    """From 1 to 1.5; 1 where there is no time to first token, and so no number."""
    name = "llmroute_ttft_seconds"
    if where.targets is not None:
        name = "gen_ai_client_operation_time_to_first_chunk_seconds"
    p95 = f"histogram_quantile(0.95, sum by (le) (rate({name}_bucket{chosen}[{LATENCY_WINDOW}])))"
    return f"((clamp({p95} / {threshold:g}, 1, {MOST_LATENCY:g}) >= 1) or vector(1))"


def any_of(names: Sequence[str], each: Sequence[str]) -> str:
    """A regular expression for targets, and for the addresses of those with `endpoints: each`."""
    return "|".join([*names, *(f"{name}-.+" for name in each)])

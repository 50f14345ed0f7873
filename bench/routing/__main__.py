"""`python -m bench.routing`: every policy in every scenario, beside the oracle on the same draws."""

import argparse
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from statistics import fmean

import msgspec

from bench.routing.fleet import Fleet, Policy
from bench.routing.oracle import Oracle
from bench.routing.product import Product
from bench.routing.rivals import (
    P95,
    Agentgateway,
    EpsilonEwma,
    LeastOutstanding,
    LiteLLM,
    PeakEwma,
    Prequal,
    Priority,
    RoundRobin,
    Uniform,
)
from bench.routing.scenarios import Scenario, read
from bench.routing.score import Result, score

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios" / "public.yaml"
SEED_STEP = 1000

Maker = Callable[[Scenario, Fleet, Random], Policy]


def _rival(kind: Callable[..., Policy], scenario: Scenario, fleet: Fleet, rng: Random) -> Policy:
    return kind(len(scenario.targets), scenario.sidecars, rng, streams=scenario.objective == "ttft")


def _oracle(scenario: Scenario, fleet: Fleet, rng: Random) -> Policy:
    return Oracle(fleet.servers, streams=scenario.objective == "ttft")


def _product(scenario: Scenario, fleet: Fleet, rng: Random) -> Policy:
    return Product(scenario, rng)


POLICIES: Mapping[str, Maker] = {
    "oracle": _oracle,
    "llmroute": _product,
    "round_robin": partial(_rival, RoundRobin),
    "random": partial(_rival, Uniform),
    "priority": partial(_rival, Priority),
    "least_outstanding": partial(_rival, LeastOutstanding),
    "litellm": partial(_rival, LiteLLM),
    "litellm_p50": partial(_rival, partial(LiteLLM, percentile=0.5)),
    "litellm_p95": partial(_rival, partial(LiteLLM, percentile=0.95)),
    "peak_ewma": partial(_rival, PeakEwma),
    "prequal": partial(_rival, Prequal),
    "agentgateway": partial(_rival, Agentgateway),
    "p95": partial(_rival, P95),
    "epsilon_ewma": partial(_rival, EpsilonEwma),
}


def run(scenario: Scenario, name: str, seed: int) -> Result:
    """One policy through one scenario."""
    fleet = Fleet(scenario, seed)
    policy = POLICIES[name](scenario, fleet, Random(seed))
    return score(scenario, fleet.run(policy))


def main() -> None:
    arguments = _arguments()
    scenarios = [one for one in read(arguments.scenarios) if not arguments.only or one.id in arguments.only.split(",")]
    names = ["oracle", *(name for name in arguments.policies.split(",") if name != "oracle")]
    tasks = [(s, name, s.seed + SEED_STEP * k) for s in scenarios for name in names for k in range(arguments.seeds)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run, *zip(*tasks, strict=True)))
    by_run = {(s.id, name, seed): result for (s, name, seed), result in zip(tasks, results, strict=True)}
    table = {s.id: {name: ratios(by_run, s, name, arguments.seeds) for name in names} for s in scenarios}
    for line in report(scenarios, names, table):
        print(line)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(table, indent=1) + "\n")
        print(f"wrote {arguments.out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description="Routing policies in simulation.")
    parser.add_argument("--scenarios", type=Path, default=SCENARIOS, help="a file of the format of public.yaml")
    parser.add_argument("--only", default="", help="scenario ids, with commas")
    parser.add_argument("--policies", default=",".join(POLICIES), help=f"of {','.join(POLICIES)}")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--out", type=Path, help="JSON: scenario, policy, figure")
    return parser.parse_args()


def ratios(
    by_run: Mapping[tuple[str, str, int], Result], scenario: Scenario, name: str, seeds: int
) -> dict[str, float | None]:
    """Means over the seeds; `*_ratio` against the oracle on the same draws."""
    pairs = [
        (by_run[scenario.id, name, seed], by_run[scenario.id, "oracle", seed])
        for seed in (scenario.seed + SEED_STEP * k for k in range(seeds))
    ]
    ours: Sequence[Result] = [result for result, _ in pairs]
    figures: dict[str, float | None] = {}
    for field in msgspec.structs.fields(Result):
        values = [value for result in ours if (value := getattr(result, field.name)) is not None]
        figures[field.name] = fmean(values) if values else None
    for field_name in ("mean", "p50", "p95", "p99"):
        figures[f"{field_name}_ratio"] = fmean(
            getattr(result, field_name) / getattr(oracle, field_name) for result, oracle in pairs
        )
    return figures


def report(
    scenarios: Sequence[Scenario], names: Sequence[str], table: Mapping[str, Mapping[str, dict[str, float | None]]]
) -> Iterable[str]:
    """Two tables: mean and p99 against the oracle, with geometric means."""
    for figure in ("mean_ratio", "p99_ratio", "failed"):
        yield f"{figure:18}" + "".join(f"{s.id.split('_')[0]:>8}" for s in scenarios) + f"{'gmean':>8}"
        for name in names:
            values = [table[s.id][name][figure] or 0.0 for s in scenarios]
            middle = math.exp(fmean(math.log(v) for v in values)) if all(values) else math.nan
            yield f"{name:18}" + "".join(f"{value:8.2f}" for value in values) + f"{middle:8.3f}"
        yield ""


if __name__ == "__main__":
    main()

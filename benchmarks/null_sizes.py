"""How often null sweeps call chance an edge, and how often they find timing that is there.

    python -m benchmarks.null_sizes --n-seeds 40 --samplers random tpe

makes markets, searches each with the default experiment, weighs the search by null sweeps and its choice on a hold-out,
and prints, cell by cell, the share of searches with a p of at most .05, .2 and .5, and of those that SURVIVE. In the
markets of the first part there is nothing to time, so the shares should be no larger than these levels, and over all of
them p uniform (Kolmogorov and Smirnov); in those of the second part timing is planted.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy.stats import kstest

from alphapulse.sweep.null.search import SearchPlan
from alphapulse.typing import Float64Array1D
from alphapulse.validation.null_sweeps import MOST_AS_GOOD, NullSweeps
from benchmarks.regimes import NULLS, REGIMES, default_experiment, make_market
from benchmarks.weighed_search import Weighed, weigh_search

LEVELS = (0.05, 0.2, 0.5)


@dataclass(frozen=True)
class Case:
    """One search to weigh: all that it depends on."""

    regime: str
    sampler: str
    seed: int
    n_trials: int
    n_wanted: int
    block: int = 1


def weigh(case: Case) -> Weighed:
    """Make the market of a case, search it, and weigh the search."""
    search, holdout = make_market(case.regime, case.seed)
    plan = SearchPlan(case.sampler, case.n_trials, case.seed)
    return weigh_search(
        search, holdout, default_experiment(case.regime, case.sampler), plan, n_null=case.n_wanted, block=case.block
    )


def weigh_all(cases: Sequence[Case], n_processes: int) -> Iterator[Weighed]:
    """Yield the outcome of each case, in order."""
    if n_processes == 1:
        yield from map(weigh, cases)
        return
    with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(weigh, cases)


def spread(outcomes: Sequence[NullSweeps], rng: np.random.Generator) -> Float64Array1D:
    """Return the p-values (n,) with each spread over what lies between it and the next smaller one that there is.

    A p of so few draws is one of some twenty numbers; spread so, it is uniform on (0, 1] where it should be.
    """
    return np.array([rng.uniform(_next_smaller(outcome), outcome.p) for outcome in outcomes])


def _next_smaller(outcome: NullSweeps) -> float:
    if outcome.stopped == "complete":
        return outcome.n_as_good / (1 + outcome.n_done)
    return MOST_AS_GOOD / (1 + outcome.n_done)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regimes", nargs="+", choices=list(REGIMES), default=list(REGIMES), metavar="NAME")
    parser.add_argument("--samplers", nargs="+", default=["random", "tpe"], metavar="NAME")
    parser.add_argument("--n-seeds", type=int, default=40)
    parser.add_argument("--n-trials", type=int, default=300)
    parser.add_argument("--null-sweeps", type=int, default=19)
    parser.add_argument("--block", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="file to which every outcome is added, a line of JSON each")
    options = parser.parse_args(arguments)
    cells = [(regime, sampler) for sampler in options.samplers for regime in options.regimes]
    cases = [
        Case(regime, sampler, seed, options.n_trials, options.null_sweeps, options.block)
        for regime, sampler in cells
        for seed in range(options.n_seeds)
    ]
    started = time.perf_counter()
    print(f"{options.n_trials} trials, {options.null_sweeps} null sweeps, {options.n_seeds} seeds")
    print(f"{'market':26} {'search':8}" + "".join(f" {f'p <= {level:g}':>9}" for level in LEVELS) + "  SURVIVES")
    nulls: list[Weighed] = []
    n_runs = 0
    outcomes = weigh_all(cases, options.processes)
    for regime, sampler in cells:
        cell = [next(outcomes) for _ in range(options.n_seeds)]
        _print_row(regime, sampler, cell)
        n_runs += sum(1 + weighed.nulls.n_done for weighed in cell)
        nulls += cell if regime in NULLS else []
        if options.keep:
            with options.keep.open("a", encoding="utf-8") as file:
                for seed, weighed in enumerate(cell):
                    file.write(json.dumps([regime, sampler, seed, weighed.nulls.p, weighed.word]) + "\n")
    if nulls:
        _print_row("all without timing", "", nulls)
        even = kstest(spread([weighed.nulls for weighed in nulls], np.random.default_rng(0)), "uniform")
        print(f"Kolmogorov-Smirnov: {even.statistic:.3f}, p = {even.pvalue:.2f}, over {len(nulls)} searches")
    print(f"{n_runs:,} searches in {time.perf_counter() - started:.0f} s")


def _print_row(regime: str, sampler: str, cell: Sequence[Weighed]) -> None:
    p = np.array([weighed.nulls.p for weighed in cell])
    survives = np.mean([weighed.word == "SURVIVES" for weighed in cell])
    shares = "".join(f" {np.mean(p <= level + math.ulp(1.0)):9.3f}" for level in LEVELS)
    print(f"{regime:26} {sampler:8}{shares} {survives:9.3f}", flush=True)


if __name__ == "__main__":
    main()

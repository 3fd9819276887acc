"""How often null sweeps call chance an edge, and how often they find timing that is there.

    python -m benchmarks.null_sizes --n-seeds 40 --samplers random tpe

makes markets, searches each with the default experiment, weighs the search by null sweeps, and prints the share of
searches with a p of at most .05, .2 and .5. In the markets of the first part there is nothing to time, so the shares
should be no larger than these levels; in those of the second part timing is planted.
"""

import argparse
import functools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from alphapulse.backtesting.models import EngineParams
from alphapulse.config.grammar import read_space
from alphapulse.config.resources import resource_dir
from alphapulse.market.market import Market
from alphapulse.strategies.resolve import resolve
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null_sweeps import SearchPlan, best_trial, null_search, run_search
from alphapulse.validation.null_sweeps import NullSweeps, weigh_null_sweeps
from benchmarks import made_markets as made

LEVELS = (0.05, 0.2, 0.5)
LOOKBACK = 251
LONG_ONLY = {"short_threshold": -1.0}
FREE = {"commission": 0.0, "slippage": 0.0}
BOTH_WAYS = {"strategy.ma_window": "int(interval(2,120))", "strategy.trend_weight": "interval(-1,1)"}
"""A space that holds rules for and against the trend, from one day on: what is planted can be found in it."""


@dataclass(frozen=True)
class Regime:
    """A kind of market, and what is changed in the default experiment there."""

    make: made.Maker
    strategy: Mapping[str, Any] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, str] = field(default_factory=dict)


def _drifting(sharpe: float) -> made.Maker:
    return functools.partial(made.independent, sharpe=sharpe)


NULLS = {
    "iid": Regime(made.independent),
    "iid, no costs": Regime(made.independent, engine=FREE),
    "GARCH": Regime(made.garch),
    "two regimes": Regime(made.two_regimes),
    "drift .8, long only": Regime(_drifting(0.8), LONG_ONLY),
    "drift .8": Regime(_drifting(0.8)),
    "cash 4 %": Regime(made.independent, engine={"cash_rate": 0.04}),
    "shuffled sample": Regime(made.shuffled_sample),
    "500 bars": Regime(functools.partial(made.independent, n_bars=made.SHORT)),
    "hourly": Regime(made.hourly),
}
PLANTED = {
    name: Regime(make, engine=FREE, space=BOTH_WAYS)
    for name, make in {
        "next day reverses, 1.5": made.reversing,
        "the same under GARCH": functools.partial(made.garch, reversal=1.5),
        "flips every 20 bars, 2.0": functools.partial(made.flipping, every=20, sharpe=2.0),
        "flips every 90 bars, 1.5": functools.partial(made.flipping, every=90, sharpe=1.5),
    }.items()
}
REGIMES = NULLS | PLANTED


@dataclass(frozen=True)
class Case:
    """One search to weigh: all that it depends on."""

    regime: str
    sampler: str
    seed: int
    n_trials: int
    n_wanted: int
    block: int


@functools.cache
def default_experiment(regime: str) -> Experiment:
    """Return the default sweep's experiment with the changes of a regime."""
    swept = yaml.safe_load((resource_dir("sweeps") / "long_short_daily.yaml").read_text(encoding="utf-8"))
    changes = REGIMES[regime]
    return Experiment(
        read_space(swept["space"] | changes.space),
        resolve("long_short"),
        {"volatility_source": "realized", **changes.strategy},
        EngineParams(**changes.engine),
    )


def weigh(case: Case) -> NullSweeps:
    """Make the market of a case, search it, and weigh the search."""
    experiment = default_experiment(case.regime)
    rng = np.random.default_rng([case.seed, sorted(REGIMES).index(case.regime)])
    market = Market.of(REGIMES[case.regime].make(rng), LOOKBACK, f"{case.regime} {case.seed}")
    plan = SearchPlan(case.sampler, case.n_trials, case.seed)
    trials = run_search(market, experiment, plan.start(experiment, plan.seed), plan.n_trials)
    best = best_trial(trials, "maximize")
    observed = math.nan if best is None else float(trials.values[best, 0])
    values: list[float] = []
    while True:
        weighed = weigh_null_sweeps(values, observed, n_wanted=case.n_wanted)
        if weighed.stopped != "budget":
            return weighed
        values.append(null_search(market, experiment, plan, len(values), block=case.block))


def weigh_all(cases: Sequence[Case], n_processes: int) -> Iterator[NullSweeps]:
    """Yield the outcome of each case, in order."""
    if n_processes == 1:
        yield from map(weigh, cases)
        return
    with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(weigh, cases)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regimes", nargs="+", choices=list(REGIMES), default=list(REGIMES), metavar="NAME")
    parser.add_argument("--samplers", nargs="+", default=["random", "tpe"], metavar="NAME")
    parser.add_argument("--n-seeds", type=int, default=40)
    parser.add_argument("--n-trials", type=int, default=300)
    parser.add_argument("--null-sweeps", type=int, default=19)
    parser.add_argument("--block", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args(arguments)
    cells = [(regime, sampler) for regime in options.regimes for sampler in options.samplers]
    cases = [
        Case(regime, sampler, seed, options.n_trials, options.null_sweeps, options.block)
        for regime, sampler in cells
        for seed in range(options.n_seeds)
    ]
    started = time.perf_counter()
    weighed = list(weigh_all(cases, options.processes))
    p = np.array([outcome.p for outcome in weighed]).reshape(len(cells), options.n_seeds)
    table = Table(title=f"{options.n_trials} trials, {options.null_sweeps} null sweeps, {options.n_seeds} seeds")
    for name in ("market", "search", *(f"p <= {level:g}" for level in LEVELS)):
        table.add_column(name)
    for (regime, sampler), row in zip(cells, p, strict=True):
        table.add_row(regime, sampler, *(f"{np.mean(row <= level):.2f}" for level in LEVELS))
    nulls = p[[regime in NULLS for regime, _ in cells]]
    if len(nulls):
        table.add_row("all without timing", "", *(f"{np.mean(nulls <= level):.3f}" for level in LEVELS))
    console = Console(width=120)
    console.print(table)
    n_runs = sum(1 + outcome.n_done for outcome in weighed)
    console.print(f"{n_runs:,} searches in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

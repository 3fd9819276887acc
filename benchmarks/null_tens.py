"""How often ten studies of the same noise, one after another, end with an edge that SURVIVES.

    python -m benchmarks.null_tens --n-tens 20

makes markets without timing and runs ten studies on each, as somebody does who does not give up: under other names and
seeds, each starting some bars later, the last five with every range narrowed around the winner so far. The ledger
counts them all, so that at most one ten in twenty should come to an edge.
"""

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np

from alphapulse.market.joining import bar_end
from alphapulse.market.market import Market
from alphapulse.search.dimensions import Dimension, FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.search import SearchPlan
from alphapulse.validation.ledger import Ledger, Span, Tried, count_openings, same_bars
from benchmarks.regimes import NULLS, default_experiment, make_market
from benchmarks.weighed_search import weigh_search

N_STUDIES, N_WIDE = 10, 5
BARS_LATER = 10
NARROWER = 0.2
"""Share of each range that a narrowed space keeps."""


@dataclass(frozen=True)
class Ten:
    """Ten studies of one market."""

    regime: str
    sampler: str
    seed: int
    n_trials: int
    n_null: int


def words(ten: Ten) -> list[str]:
    """Return the word of each of ten studies."""
    experiment = default_experiment(ten.regime)
    tried: list[Tried] = []
    openings: list[Span] = []
    found: list[str] = []
    winner, most = None, -np.inf
    for number in range(N_STUDIES):
        search, holdout = make_market(ten.regime, ten.seed, skip=number * BARS_LATER)
        searched, held = _span(search), _span(holdout)
        openings.append(held)
        ledger = Ledger(
            ten.n_trials,
            same_bars(searched, tried),
            count_openings(held, openings, [line for line in tried if line.span.shared(held) > 0.0]),
        )
        narrowed = experiment if number < N_WIDE or winner is None else _narrowed(experiment, winner)
        plan = SearchPlan(ten.sampler, ten.n_trials, ten.seed * N_STUDIES + number)
        weighed = weigh_search(search, holdout, narrowed, plan, n_null=ten.n_null, ledger=ledger)
        found.append(weighed.word)
        tried.append(Tried(f"study {number}", searched, ten.n_trials))
        if number < N_WIDE and weighed.nulls.observed > most:
            winner, most = weighed.chosen, weighed.nulls.observed
    return found


def _span(market: Market) -> Span:
    scored = market.bars.timestamp[market.first :]
    end = bar_end(scored[-1:], market.bars.timeframe)[0]
    return Span(float(scored[0]) / 1e9, float(end) / 1e9)


def _narrowed(experiment: Experiment, winner: np.ndarray) -> Experiment:
    dimensions = [_around(d, float(w)) for d, w in zip(experiment.space.dimensions, winner, strict=True)]
    return replace(experiment, space=SearchSpace(tuple(dimensions)))


def _around(dimension: Dimension, center: float) -> Dimension:
    low, high = dimension.bounds
    reach = NARROWER * (high - low) / 2
    low, high = max(low, center - reach), min(high, center + reach)
    if isinstance(dimension, IntDimension):
        return replace(dimension, low=int(np.floor(low)), high=int(np.ceil(high)))
    if isinstance(dimension, FloatDimension):
        return replace(dimension, low=low, high=high)
    return dimension


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regimes", nargs="+", choices=list(NULLS), default=["iid, no costs", "GARCH"], metavar="NAME")
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--n-tens", type=int, default=20, help="tens for each market")
    parser.add_argument("--n-trials", type=int, default=300)
    parser.add_argument("--null-sweeps", type=int, default=99)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args(arguments)
    tens = [
        Ten(regime, options.sampler, seed, options.n_trials, options.null_sweeps)
        for regime in options.regimes
        for seed in range(options.n_tens)
    ]
    started = time.perf_counter()
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(words, tens))
    for place, regime in enumerate(options.regimes):
        rows = found[place * options.n_tens : (place + 1) * options.n_tens]
        survived = sum("SURVIVES" in row for row in rows)
        luck = np.mean([word == "LIKELY LUCK" for row in rows for word in row])
        print(f"{regime}: an edge SURVIVES in {survived} of {len(rows)} tens; {luck:.0%} of studies LIKELY LUCK")
    print(f"{len(tens)} tens in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

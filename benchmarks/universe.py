"""What a bar of a trial costs on one symbol, and on many symbols under one search: `python benchmarks/universe.py`.

Processor time of one process, so that what else runs on the machine counts little. The strategy is sma_cross.
"""

import argparse
import time

import numpy as np

from alphapulse.market.bars import Bars
from alphapulse.market.market import Market
from alphapulse.market.surrogates import surrogate_market
from alphapulse.market.universe import universe_market
from alphapulse.search.dimensions import IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.resolve import resolve
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.worker import evaluate_batch

DAY = 86_400 * 10**9
SPACE = SearchSpace((IntDimension("strategy.fast", 2, 40), IntDimension("strategy.slow", 50, 250)))


def make_member(seed: int, n_bars: int) -> Market:
    """Return the market of a seeded random walk."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0.0003, 0.012, n_bars)))
    open_ = np.append(close[0], close[:-1])
    days = np.arange(n_bars * 2)
    columns = {
        "timestamp": days[(days + 3) % 7 < 5][:n_bars] * DAY,
        "open": open_,
        "high": np.maximum(open_, close) * 1.004,
        "low": np.minimum(open_, close) * 0.996,
        "close": close,
        "volume": np.full(n_bars, np.nan),
        "volatility": np.full(n_bars, np.nan),
    }
    for column in columns.values():
        column.flags.writeable = False
    return Market.of(Bars(symbol=f"S{seed}", timeframe="1d", **columns), 250, f"walk {seed}")


def seconds_of(market: Market, experiment: Experiment, parameters: np.ndarray) -> float:
    """Return the least processor time of three batches [s]."""
    evaluate_batch(market, experiment, parameters[:2])
    least = np.inf
    for _ in range(3):
        started = time.process_time()
        evaluate_batch(market, experiment, parameters)
        least = min(least, time.process_time() - started)
    return least


def main() -> None:
    """Print nanoseconds a bar of a trial, and what a surrogate of the universe takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=48)
    parser.add_argument("--trials", type=int, default=512)
    parser.add_argument("--bars", type=int, default=5_000)
    given = parser.parse_args()
    members = [make_member(seed, given.bars) for seed in range(given.symbols)]
    experiment = Experiment(SPACE, resolve("alphapulse.strategies.sma_cross.SmaCross", None), {})
    rng = np.random.default_rng(0)
    parameters = np.stack([rng.integers(2, 40, given.trials), rng.integers(50, 250, given.trials)], axis=1).astype(
        float
    )
    n_bars = members[0].n_scored * given.trials
    alone = seconds_of(members[0], experiment, parameters) / n_bars
    market = universe_market(members)
    together = seconds_of(market, experiment, parameters) / (n_bars * given.symbols)
    surrogate_market(market, 0)
    started = time.process_time()
    surrogate_market(market, 1)
    surrogate = time.process_time() - started
    print(f"one symbol: {1e9 * alone:.2f} ns a bar of a trial")
    print(f"{given.symbols} symbols: {1e9 * together:.2f} ns a bar of a trial ({together / alone - 1:+.0%})")
    print(f"a surrogate market of {given.symbols} symbols: {surrogate:.2f} s")


if __name__ == "__main__":
    main()

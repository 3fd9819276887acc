"""What a bar of a trial costs on one symbol, and on many symbols under one search: `python benchmarks/universe.py`.

Processor time of one process, so that what else runs on the machine counts little. The strategy is sma_cross; in one
account it is rotation, whose targets are rebalanced each bar or each month, and the engine alone is timed beside it.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from alphapulse.backtesting.account.batch import simulate_account
from alphapulse.backtesting.batch import EngineColumns
from alphapulse.backtesting.params import EngineParams, StopParams
from alphapulse.market.account import account_market
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

ROTATION = SearchSpace((IntDimension("strategy.momentum_window", 20, 250),))


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


def print_account(members: list[Market], n_trials: int) -> None:
    """Print what a bar of a symbol and trial takes where all symbols are in one account."""
    market = account_market(members)
    top = max(1, len(members) // 5)
    n_bars = market.n_scored * len(members)
    for frequency in ("bar", "month"):
        engine = EngineParams(rebalance_frequency=frequency, stop=StopParams(kind="percent", percent=0.2))
        experiment = Experiment(ROTATION, resolve("rotation"), {"top": top}, engine)
        parameters = np.random.default_rng(0).integers(20, 250, (n_trials, 1)).astype(float)
        whole = seconds_of(market, experiment, parameters) / (n_bars * n_trials)
        _, target, atr = next(experiment.definition.portfolio_block(market.bars, {"top": top}, 1).groups())
        started = time.process_time()
        simulate_account(market, Repeated(target, atr, n_trials), EngineColumns.build(engine, {}, n_trials))
        alone = (time.process_time() - started) / (n_bars * n_trials)
        print(
            f"{len(members)} symbols in one account, each {frequency}: {1e9 * whole:.1f} ns a bar of a symbol and "
            f"trial, {1e9 * alone:.1f} of them the engine"
        )


@dataclass
class Repeated:
    """The same targets for many trials: `AccountTargets`."""

    target: np.ndarray
    atr: np.ndarray
    n_trials: int
    failures: Mapping[int, str] = field(default_factory=dict)

    def groups(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield all trials."""
        yield np.arange(self.n_trials), self.target, self.atr


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
    for n_symbols in (2, 10, given.symbols):
        print_account(members[:n_symbols], max(8, given.trials // n_symbols))


if __name__ == "__main__":
    main()

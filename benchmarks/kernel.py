"""What the compiled engine costs, in nanoseconds of processor time a bar and trial.

    python -m benchmarks.kernel --n-trials 2048

prints a table for the default sweep of long_short on the sample's daily S&P 500: targets, engine (the
difference) and both, beside the same engine one trial at a time and the plain Python that is its specification.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from rich.console import Console
from rich.table import Table

from alphapulse.backtesting.batch import TILE_BARS, TILE_TRIALS, TRIALS_PER_CALL, EngineColumns, simulate_batch
from alphapulse.backtesting.metrics import METRICS
from alphapulse.backtesting.models import EngineParams
from alphapulse.backtesting.trial import ArrayTargets
from alphapulse.data_pipeline.providers.sample_provider import SampleProvider
from alphapulse.market.calendar import calendar_blocks, starts_period
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.market.market import Market
from alphapulse.strategies.base import Bars
from alphapulse.strategies.resolve import StrategyDefinition, resolve

REPEATS = 5
FIRST = 253


def sample_market() -> Market:
    """The daily S&P 500, 1999 to 2018, scored from its second year on."""
    (fetched,) = SampleProvider().fetch(["SAMPLE_SP500"], [], None, None)
    timestamp = fetched.bars["timestamp"].dt.as_unit("ns").astype("int64").to_numpy()
    prices = [np.ascontiguousarray(fetched.bars[name]) for name in ("open", "high", "low", "close")]
    unknown = np.full(len(timestamp), np.nan)
    bars = Bars("SAMPLE_SP500", "1d", timestamp, *prices, volume=unknown, volatility=unknown)
    ends, unit = calendar_blocks(timestamp, first=FIRST)
    week, month = (starts_period(timestamp, name, first=FIRST) for name in ("week", "month"))
    return Market(bars, FIRST, ends, unit, week, month, "")


def draw_trials(n_trials: int, seed: int = 0) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Random points of the default sweep: strategy columns and engine columns."""
    rng = np.random.default_rng(seed)
    strategy = {
        "ma_window": rng.integers(10, 251, n_trials),
        "rsi_window": rng.integers(5, 31, n_trials),
        "rsi_overbought": rng.uniform(60, 85, n_trials),
        "rsi_oversold": rng.uniform(15, 40, n_trials),
        "volatility_threshold": rng.uniform(10, 40, n_trials),
        "high_volatility_scale": rng.uniform(0, 1, n_trials),
        "reversion_weight": rng.uniform(0, 1, n_trials),
        "volatility_source": "realized",
    }
    return strategy, {"stop.multiplier": rng.uniform(1, 5, n_trials)}


def processor_seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Least processor time of `work` over some repeats; other processes on the machine disturb it little."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def reference_engine() -> ModuleType | None:
    """The plain engine of the tests, where they are."""
    tests = Path(__file__).parents[1] / "tests"
    if not tests.exists():
        return None
    # Its records of trades are a file beside it.
    sys.path.append(str(tests))
    return importlib.import_module("reference_engine")


def fill_all(
    definition: StrategyDefinition, market: Market, columns: dict[str, object], n: int, whole: bool
) -> np.ndarray:
    """Make all targets tile by tile; kept as one array (n_trials, n_bars) if `whole`."""
    block = definition.block(market.bars, columns, n, CACHE)
    n_bars = len(market.bars)
    kept = np.zeros((n, n_bars if whole else 0))
    for begin in range(0, n, TILE_TRIALS):
        trials = block.order[begin : begin + TILE_TRIALS]
        tile = np.empty((len(trials), TILE_BARS))
        for start in range(FIRST - 1, n_bars, TILE_BARS):
            stop = min(start + TILE_BARS, n_bars)
            if stop - start < TILE_BARS:
                tile = np.empty((len(trials), stop - start))
            block.fill(start, stop, trials, tile)
            if whole:
                kept[trials, start:stop] = tile
    return kept


CACHE = IndicatorCache(512 * 2**20)


def measure(n_trials: int) -> list[tuple[str, float]]:
    """Nanoseconds a bar and trial by name."""
    market = sample_market()
    definition = resolve("long_short")
    n = min(n_trials, TRIALS_PER_CALL)
    calls = [draw_trials(n, seed) for seed in range(max(1, n_trials // n))]
    columns = [EngineColumns.build(EngineParams(), engine, n) for _, engine in calls]
    per_bar = market.n_scored * n * len(calls) / 1e9

    def targets() -> None:
        for strategy, _ in calls:
            fill_all(definition, market, strategy, n, whole=False)

    def both() -> None:
        for (strategy, _), column in zip(calls, columns, strict=True):
            simulate_batch(market, definition.block(market.bars, strategy, n, CACHE), column)

    both()
    strategy, engine = calls[0]
    block = definition.block(market.bars, strategy, n, CACHE)
    ready = ArrayTargets(fill_all(definition, market, strategy, n, whole=True), block.atr, block.atr_row)
    outcome = simulate_batch(market, ready, columns[0])
    alone = [
        (
            ArrayTargets(ready.target[i : i + 1], ready.atr, ready.atr_row[i : i + 1]),
            EngineColumns.build(EngineParams(), {"stop.multiplier": engine["stop.multiplier"][i : i + 1]}),
        )
        for i in range(min(n, 16))
    ]
    trades = outcome.metrics[:, METRICS.index("n_trades")].mean() / market.n_scored
    filling, together = processor_seconds(targets) / per_bar, processor_seconds(both) / per_bar
    rows = [
        ("long_short targets", filling),
        ("engine", together - filling),
        ("targets and engine", together),
        (
            "engine, one trial at a time",
            processor_seconds(lambda: [simulate_batch(market, t, c) for t, c in alone])
            / (market.n_scored * len(alone) / 1e9),
        ),
    ]
    reference = reference_engine()
    if reference is not None:
        lists = [x.tolist() for x in (market.bars.open, market.bars.high, market.bars.low, market.bars.close)]
        target, atr = ready.target[0].tolist(), ready.atr[ready.atr_row[0]].tolist()
        work = lambda: reference.run_reference(*lists, target, atr, EngineParams(), 252.0, FIRST)  # noqa: E731
        rows.append(("engine in plain Python", processor_seconds(work, 2) / (market.n_scored / 1e9)))
    rows.append(("trades a bar and trial", trades))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-trials", type=int, default=2048)
    options = parser.parse_args(arguments)
    table = Table(title="Kernel: processor time a bar and trial", title_justify="left")
    table.add_column("what")
    table.add_column("ns", justify="right")
    for name, value in measure(options.n_trials):
        table.add_row(name, f"{value:,.3f}" if value < 1 else f"{value:,.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()

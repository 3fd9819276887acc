"""Kinds of markets to search: without anything to time, and with timing planted in them."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

from alphapulse.backtesting.models import EngineParams
from alphapulse.config.found import resource_dir
from alphapulse.config.grammar import read_space
from alphapulse.data_pipeline.loading import History
from alphapulse.market.market import Market
from alphapulse.strategies.resolve import resolve
from alphapulse.sweep.experiment import Experiment
from benchmarks import made_markets as made

LONG_ONLY = {"short_threshold": -1.0}
FREE = {"commission": 0.0, "slippage": 0.0}
AGAINST = {"strategy.ma_window": "int(interval(2,20))", "strategy.trend_weight": "interval(-1,1)"}
WITH = {"strategy.ma_window": "int(interval(5,60))"}
"""Spaces of rules against the last days, and of rules with the trend of some weeks: what is planted is in them."""
GRID = {
    "strategy.ma_window": "range(10,260,10)",
    "strategy.reversion_weight": "0.0,0.3,0.6,1.0",
    "engine.stop.multiplier": "1.0,2.0,4.0",
}


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
    "next day reverses, 1.5": Regime(made.reversing, engine=FREE, space=AGAINST),
    "the same under GARCH": Regime(functools.partial(made.garch, reversal=1.5), engine=FREE, space=AGAINST),
    "flips every 20 bars, 2.0": Regime(functools.partial(made.flipping, every=20, sharpe=2.0), engine=FREE, space=WITH),
    "flips every 90 bars, 1.5": Regime(functools.partial(made.flipping, every=90, sharpe=1.5), engine=FREE, space=WITH),
}
REGIMES = NULLS | PLANTED


@functools.cache
def default_experiment(regime: str, sampler: str = "random") -> Experiment:
    """Return the default sweep's experiment with the changes of a regime; a grid has a space of 300 points."""
    changes = REGIMES[regime]
    swept = GRID
    if sampler != "grid":
        default = yaml.safe_load((resource_dir("sweeps") / "long_short_daily.yaml").read_text(encoding="utf-8"))
        swept = default["space"] | changes.space
    return Experiment(
        read_space(swept),
        resolve("long_short"),
        {"volatility_source": "realized", **changes.strategy},
        EngineParams(**changes.engine),
    )


def make_market(regime: str, seed: int, *, skip: int = 0) -> tuple[Market, Market]:
    """Return what a search of a made market sees and what is held out from it, without its first `skip` bars."""
    rng = np.random.default_rng([seed, sorted(REGIMES).index(regime)])
    bars = REGIMES[regime].make(rng)[skip:]
    search, holdout = History(bars, made.LOOKBACK, f"{regime} {seed} {skip}").split(made.HOLDOUT)
    assert holdout is not None
    return search, holdout

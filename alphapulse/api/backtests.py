"""One backtest from Python."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from alphapulse.api.bars import universe_of, use_bars
from alphapulse.api.cells import target_of
from alphapulse.api.figures import as_figure
from alphapulse.backtesting.metrics import METRICS
from alphapulse.config.assembly import assemble
from alphapulse.config.schema import TARGET, BacktestConfig
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.universe import load_markets
from alphapulse.market.market import Market
from alphapulse.reports.curves import backtest_trial, write_tear_sheet
from alphapulse.reports.formatting import format_metric
from alphapulse.reports.weighing import benchmark_metrics
from alphapulse.search.space import SearchSpace
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.gate import run_gate
from alphapulse.sweep.inputs import define_strategy, gate_markets

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from alphapulse.backtesting.models import BacktestResult


@dataclass(frozen=True)
class Backtest:
    """One backtest: its curves, trades and metrics, beside buy and hold.

    Attributes
    ----------
    name : str
        What was run.
    result : BacktestResult
        Curves, trades and metrics.
    bought : Series
        Returns of buy and hold on the same bars [1].
    benchmark : mapping of str to float
        Metrics of buy and hold.
    market : Market
    experiment : Experiment
    parameters : (n_dimensions,) float64
        Of the experiment's space.
    """

    name: str
    result: "BacktestResult" = field(repr=False)
    bought: pd.Series = field(repr=False)
    benchmark: Mapping[str, float] = field(repr=False)
    market: Market = field(repr=False)
    experiment: Experiment = field(repr=False)
    parameters: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, name: str, market: Market, experiment: Experiment, parameters: np.ndarray) -> "Backtest":
        """Run a setting of an experiment over the scored bars of a market."""
        result, bought = backtest_trial(market, experiment, parameters)
        return cls(name, result, bought, benchmark_metrics(experiment, market), market, experiment, parameters)

    @property
    def metrics(self) -> dict[str, float]:
        """Every metric by name; NaN where undefined."""
        return self.result.metrics

    @property
    def equity(self) -> pd.Series:
        """Equity at the close of each bar [quote]."""
        return self.result.equity

    @property
    def trades(self) -> pd.DataFrame:
        """The trades, one row each."""
        return self.result.trades

    def plot(self) -> "Figure":
        """Return equity beside buy and hold, on a logarithmic scale, as a plotly figure."""
        capital = self.experiment.engine.initial_capital
        lines = (
            (self.name, self.equity / capital, "@chosen"),
            ("buy and hold", (1 + self.bought).cumprod(), "@market"),
        )
        traces: list[dict[str, Any]] = [
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": [str(moment)[:16] for moment in curve.index],
                "y": curve.tolist(),
                "line": {"color": colour},
            }
            for name, curve, colour in lines
        ]
        title = f"{self.name} on {self.market.bars.symbol}"
        return as_figure(traces, {"title": {"text": title}, "yaxis": {"type": "log", "title": {"text": "growth of 1"}}})

    def tear_sheet(self, path: str) -> None:
        """Write QuantStats' tear sheet to an HTML file."""
        from pathlib import Path

        write_tear_sheet(self.result, self.bought, self.experiment, self.market, Path(path))

    def __repr__(self) -> str:
        shown = ("sharpe_ratio", "total_return", "max_drawdown", "n_trades")
        told = ", ".join(f"{name} {format_metric(name, self.metrics[name])}" for name in shown)
        return f"<Backtest {self.name}: {told}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td>{format_metric(name, self.metrics[name])}</td>"
            f"<td>{format_metric(name, self.benchmark.get(name))}</td></tr>"
            for name in METRICS
        )
        return f"<table><tr><th></th><th>{escape(self.name)}</th><th>buy and hold</th></tr>{rows}</table>"


def run_backtest(
    strategy: Any,
    bars: Any = None,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    universe: str | Mapping[str, Any] | None = None,
    engine: Mapping[str, Any] | None = None,
    validation: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> Backtest:
    """Run one backtest of a strategy, over all bars.

    Parameters
    ----------
    strategy : class, function or str
        A strategy, or its dotted path; one of a notebook's cell or a script does.
    bars : DataFrame, path or str, optional
        A frame with open, high, low, close (and volume) by time, a CSV file, or the symbol of stored bars; None is the
        sample. A frame or file is stored under `symbol`. A dict of frames by symbol, or a list of stored symbols, are
        many.
    symbol : str, optional
    timeframe : str, optional
        Length of a bar; None is what a file has, else a day.
    universe : str or mapping, optional
        Of many symbols "each" tries the strategy on each alone and "account" holds all in one account, or keys such as
        {"kind": "each", "score": "median"}; by default the account of a class with `targets`, else each.
    engine : mapping, optional
        Keys of `engine`, such as {"commission": 0.0005, "stop": {"kind": "none"}}.
    validation : mapping, optional
        Keys of `validation`, such as {"lookahead": "off"}; {"holdout": 0.2} leaves the end of the bars out.
    **parameters
        Parameters of the strategy.

    Returns
    -------
    Backtest

    Raises
    ------
    AlphaPulseError
        For whatever a user can cause: bars that cannot be, a strategy that sees the future.

    Examples
    --------
    >>> import alphapulse as ap
    >>> ap.run_backtest("sma_cross", fast=20, slow=100).metrics["n_trades"] > 0
    True
    """
    database = open_database()
    target = target_of(strategy)
    values = {
        "universe": universe_of(bars, universe, target),
        "data": use_bars(database, bars, symbol, timeframe),
        "strategy": {TARGET: target, **parameters},
        "engine": dict(engine or {}),
        "validation": {"holdout": 0.0} | dict(validation or {}),
    }
    config = assemble(BacktestConfig, values)
    definition, fixed = define_strategy(config.strategy)
    looks = definition.reads_volatility(fixed)
    markets = load_markets(
        database,
        config.data,
        config.universe,
        definition.lookback(fixed),
        config.engine.series,
        holdout=config.validation.holdout,
        needs_volatility=looks,
    )
    market = markets.market
    for shown in gate_markets(market):
        run_gate(definition, shown.bars, fixed, {}, config.validation)
    experiment = Experiment(SearchSpace(()), definition, fixed, config.engine)
    return Backtest.of(definition.name, market, experiment, np.empty(0))

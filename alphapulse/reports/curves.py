"""One trial again with its curves, beside buy and hold: what tables keep no room for."""

import html
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from alphapulse.backtesting.batch import benchmark_returns
from alphapulse.backtesting.models import BacktestResult
from alphapulse.backtesting.trial import run_trial
from alphapulse.errors import StrategyError
from alphapulse.market.market import Market
from alphapulse.reports.tear_sheet import analyze_results
from alphapulse.sweep.experiment import Experiment
from alphapulse.typing import Float64Array1D


def backtest_trial(
    market: Market, experiment: Experiment, parameters: Float64Array1D
) -> tuple[BacktestResult, pd.Series]:
    """Return one trial with its curves, and the returns of buy and hold on the same bars.

    Raises
    ------
    StrategyError
        If the strategy cannot be built or run with these parameters.
    """
    values, engine = experiment.values(parameters)
    bars = market.bars
    block = experiment.definition.block(bars, values, 1)
    if block.failures:
        raise StrategyError(f"{experiment.definition.name} failed: {block.failures[0]}")
    target = np.empty((1, len(bars)))
    block.fill(0, len(bars), np.zeros(1, dtype=np.int64), target)
    average = block.atr[block.atr_row[0]] if len(block.atr) else None
    try:
        result = run_trial(market, target[0], average, engine)
    except ValueError as error:
        raise StrategyError(f"{experiment.definition.name} failed: {error}") from error
    bought = benchmark_returns(bars, market.first)[market.first :]
    return result, pd.Series(bought, result.returns.index, name=bars.symbol)


def write_tear_sheet(
    result: BacktestResult,
    benchmark: pd.Series,
    experiment: Experiment,
    market: Market,
    path: Path,
    head: Sequence[str] = (),
) -> None:
    """Write the QuantStats tear sheet of a trial to `path`, with the lines of `head` above it."""
    analyze_results(
        result,
        benchmark,
        path,
        title=f"{experiment.definition.name} on {market.bars.symbol} {market.bars.timeframe}",
        benchmark_title=f"Buy and hold {market.bars.symbol}",
        periods_per_year=experiment.engine.bars_per_year(market.bars),
        risk_free_rate=experiment.engine.rate_of_cash,
    )
    if head:
        page = path.read_text(encoding="utf-8")
        lines = "".join(f"<div>{html.escape(line)}</div>" for line in head)
        told = f'<div style="max-width:960px;margin:12px auto;font:14px/1.5 sans-serif">{lines}</div>'
        path.write_text(re.sub(r"(<body[^>]*>)", lambda body: body.group() + told, page, count=1), encoding="utf-8")

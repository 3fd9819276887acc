"""One trial again with its curves, beside buy and hold: what tables keep no room for."""

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from alphapulse.backtesting.account.trial import run_account_trial
from alphapulse.backtesting.batch import benchmark_returns
from alphapulse.backtesting.curve_metrics import curve_metrics
from alphapulse.backtesting.metrics import METRICS
from alphapulse.backtesting.models import BacktestResult
from alphapulse.backtesting.trial import run_trial
from alphapulse.errors import StrategyError
from alphapulse.market.market import Market
from alphapulse.market.universe import Parts
from alphapulse.reports.tear_sheet import analyze_results
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.worker import evaluate_batch
from alphapulse.typing import Float64Array1D


def backtest_trial(
    market: Market, experiment: Experiment, parameters: Float64Array1D
) -> tuple[BacktestResult, pd.Series]:
    """Return one trial with its curves, and the returns of buy and hold on the same bars; of many symbols together.

    Raises
    ------
    StrategyError
        If the strategy cannot be built or run with these parameters.
    """
    values, engine = experiment.values(parameters)
    bars = market.bars
    if market.members:
        return _portfolio(market, experiment, parameters)
    if market.is_account:
        return _account(market, experiment, parameters)
    block = experiment.definition.block(bars, values, 1)
    if block.failures:
        raise StrategyError(f"{experiment.definition.name} failed: {block.failures[0]}")
    target = np.empty((1, len(bars)))
    block.fill(0, len(bars), np.zeros(1, dtype=np.int64), target)
    average = block.atr[block.atr_row[0]].copy() if len(block.atr) else None
    # The run needs none of its indicators any more, which are several times its curves.
    del block
    try:
        result = run_trial(market, target[0], average, engine)
    except ValueError as error:
        raise StrategyError(f"{experiment.definition.name} failed: {error}") from error
    bought = benchmark_returns(bars, market.first)[market.first :]
    return result, pd.Series(bought, result.returns.index, name=bars.symbol)


def _account(market: Market, experiment: Experiment, parameters: Float64Array1D) -> tuple[BacktestResult, pd.Series]:
    """Return one trial of an account, and the returns of its symbols in equal parts."""
    values, engine = experiment.values(parameters)
    block = experiment.definition.portfolio_block(market.bars, values, 1)
    decided = next(block.groups(), None)
    if decided is None:
        raise StrategyError(f"{experiment.definition.name} failed: {block.failures[0]}")
    result = run_account_trial(market, decided[1], decided[2], engine)
    bought = benchmark_returns(market.bars, market.first)[market.first :]
    return result, pd.Series(bought, result.returns.index, name=market.bars.symbol)


def _portfolio(market: Market, experiment: Experiment, parameters: Float64Array1D) -> tuple[BacktestResult, pd.Series]:
    """Return the portfolio of one trial's accounts on all symbols, with the trades of all, and the symbols held alike.

    Its allocation is the mean of those of the symbols that have bars.
    """
    _, engine = experiment.values(parameters)
    alone = [backtest_trial(member, experiment, parameters)[0] for member in market.members]
    parts = Parts(market, 1)
    for place, result in enumerate(alone):
        parts.add(place, engine.initial_capital, result.equity.to_numpy())
    worth = parts.worth()[:, 0]
    times = pd.DatetimeIndex(market.bars.timestamp[market.first :].astype("datetime64[ns]"), tz="UTC", name="timestamp")
    returns = np.diff(worth, prepend=1.0)
    before = np.r_[1.0, worth[:-1]]
    returns = np.divide(returns, before, out=np.zeros_like(returns), where=before > 0.0)
    scored = evaluate_batch(market, replace(experiment, bootstrap=None, robustness=None), parameters[None, :]).trials
    metrics = dict(zip(METRICS, scored.metrics[0].tolist(), strict=True))
    names = [member.bars.symbol for member in market.members]
    result = BacktestResult(
        equity=pd.Series(worth * engine.initial_capital, times, name="equity"),
        returns=pd.Series(returns, times, name="returns"),
        allocation=pd.concat([one.allocation for one in alone], axis=1)
        .mean(axis=1)
        .reindex(times)
        .rename("allocation"),
        trades=_of_all(names, [one.trades for one in alone]),
        fills=_of_all(names, [one.fills for one in alone]),
        metrics=metrics | curve_metrics(returns, times.asi8, ()),
        ruined=any(one.ruined for one in alone),
        n_both=sum(one.n_both for one in alone),
    )
    bought = benchmark_returns(market.bars, market.first)[market.first :]
    return result, pd.Series(bought, times, name=market.bars.symbol)


def _of_all(symbols: list[str], tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all symbols by time, with the symbol of each."""
    named = [table.assign(symbol=symbol) for symbol, table in zip(symbols, tables, strict=True)]
    return pd.concat(named, ignore_index=True).sort_values("timestamp", kind="stable").reset_index(drop=True)


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

"""How the chosen trial fares in other worlds: dearer and cheaper, a bar later, filled elsewhere."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from alphapulse.backtesting.batch import EngineColumns, simulate_batch
from alphapulse.backtesting.metrics import METRICS
from alphapulse.backtesting.params import EngineParams, Execution
from alphapulse.backtesting.recording import Recording
from alphapulse.backtesting.trial import ArrayTargets
from alphapulse.market.market import Market
from alphapulse.market.targets import TargetBlock
from alphapulse.search.space import SearchSpace
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.worker import evaluate_batch
from alphapulse.typing import Float64Array1D

COSTS = (
    "commission",
    "commission_per_order",
    "commission_per_unit",
    "commission_minimum",
    "slippage",
    "stop_slippage",
)
TIMES = (0, 1, 2, 4)
AS_IT_IS = "as it is"
HIGHEST = 0.5
SHOWN = ("sharpe_ratio", "cagr", "max_drawdown", "n_trades", "costs_paid")


def sensitivity(experiment: Experiment, market: Market, parameters: Float64Array1D) -> dict[str, Any]:
    """Return how a trial fares on the scored bars of `market` under other facts of the world.

    Returns
    -------
    dict
        `rows`: one a world, with its name and the metrics `SHOWN`; `bars_touching_both`: bars of the trial as it is
        that reached stop and take profit, of which the stop was taken to be the first. Empty where the strategy fails.
    """
    values, engine = experiment.values(parameters)
    bars = market.bars
    if market.members or market.is_account:
        return {"rows": list(_rows_of_universe(experiment, market, parameters)), "bars_touching_both": 0}
    block = experiment.definition.block(bars, values, 1)
    if block.failures:
        return {}
    rows, ends = [], Recording.of_ends()
    for name, changed, is_late in _worlds(engine):
        targets = _late(block, len(bars)) if is_late else block
        recording = ends if name == AS_IT_IS else None
        metrics = simulate_batch(market, targets, EngineColumns.build(changed), recording=recording).metrics[0]
        rows.append({"world": name} | {m: float(metrics[METRICS.index(m)]) for m in SHOWN})
    return {"rows": rows, "bars_touching_both": int(ends.ends[2])}


def _late(block: TargetBlock, n_bars: int) -> TargetBlock:
    """Return the targets of the one trial of a block, each a bar later."""
    late = np.zeros(n_bars)
    block.fill(0, n_bars - 1, np.zeros(1, dtype=np.int64), late[None, 1:])
    average = block.atr[block.atr_row[0]] if len(block.atr) else None
    return ArrayTargets.of(late, average)


def _rows_of_universe(experiment: Experiment, market: Market, parameters: Float64Array1D) -> Iterator[dict[str, Any]]:
    """Yield how the portfolio of many symbols fares in each world but the one whose decisions come late."""
    values, engine = experiment.values(parameters)
    fixed = replace(experiment, space=SearchSpace(()), strategy=values, bootstrap=None, robustness=None)
    for name, changed, is_late in _worlds(engine):
        if not is_late:
            trials = evaluate_batch(market, replace(fixed, engine=changed), np.empty((1, 0))).trials
            yield {"world": name} | {m: float(trials.metrics[0, METRICS.index(m)]) for m in SHOWN}


def _worlds(engine: EngineParams) -> Iterator[tuple[str, EngineParams, bool]]:
    """Yield the name of each world, its engine, and whether targets come a bar later."""
    for times in TIMES:
        scaled = {name: getattr(engine, name) * times for name in COSTS}
        for name in ("commission", "slippage", "stop_slippage"):
            scaled[name] = min(max(scaled[name], -HIGHEST), HIGHEST)
        yield f"costs x {times}" if times != 1 else AS_IT_IS, engine.with_values(scaled), False
    yield "one bar later", engine, True
    for execution in get_args(Execution):
        if execution != engine.execution:
            yield f"execution {execution}", engine.with_values({"execution": execution}), False

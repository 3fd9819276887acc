"""One backtest with its files: `python -m alphapulse.backtest`."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphapulse.backtesting.metrics import METRICS
from alphapulse.backtesting.models import EngineParams
from alphapulse.config.schema import BacktestConfig
from alphapulse.data_pipeline.loading import load_history
from alphapulse.data_pipeline.opening import open_database
from alphapulse.reports.curves import backtest_trial, write_tear_sheet
from alphapulse.reports.formatting import metrics_table, print_json, print_places, print_warnings, stdout_console
from alphapulse.reports.summary import describe_data
from alphapulse.reports.weighing import benchmark_metrics
from alphapulse.search.space import SearchSpace
from alphapulse.study.ledger import held_out_within, record_backtest
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.gate import run_gate
from alphapulse.sweep.inputs import define_strategy, study_bars, warn

TEAR_SHEET = "tear_sheet.html"
TRADES = "trades.csv"


def run_backtest(config: BacktestConfig, directory: Path) -> None:
    """Run one backtest over the bars that a sweep would search; print its metrics, write its files to `directory`.

    Raises
    ------
    AlphaPulseError
        Whatever a user can cause, in one line.
    """
    database = open_database(config.db)
    definition, values = define_strategy(config.strategy)
    history = load_history(database, config.data, definition.lookback(values))
    market, holdout = history.split(config.validation.holdout)
    warnings = (*warn(market.bars, config.engine), *history.volatility_warnings())
    if not config.quiet:
        print_warnings(warnings)
    gate = run_gate(definition, market.bars, values, {}, config.validation)
    bars = study_bars(config.data.symbols, market, None)
    opened = held_out_within(database, bars)
    record_backtest(database, bars, _name_in_ledger(definition.name, values, config.engine))
    experiment = Experiment(SearchSpace(()), definition, values, config.engine)
    result, benchmark = backtest_trial(market, experiment, np.empty(0))
    places = {"trades": str(directory / TRADES), "tear sheet": str(directory / TEAR_SHEET)}
    result.trades.to_csv(directory / TRADES, index=False)
    write_tear_sheet(result, benchmark, experiment, market, directory / TEAR_SHEET)
    bought = benchmark_metrics(experiment, market)
    data = describe_data(market, holdout)
    if config.output == "json":
        document: dict[str, Any] = {
            "strategy": definition.target,
            "parameters": definition.convert(values),
            "data": data,
            "look_ahead_gate": gate,
            "opens_hold_out_of": opened,
            "metrics": result.metrics,
            "benchmark": bought,
            "ruined": result.ruined,
            "places": places,
            "warnings": warnings,
        }
        print_json(document)
        return
    out = stdout_console()
    rows = {definition.name: result.metrics, "buy & hold": bought}
    out.print(metrics_table(f"{definition.name} on {market.bars.symbol}", rows, METRICS))
    out.print(f"Data: {data}.", soft_wrap=True)
    if holdout is not None:
        out.print("The hold-out is left alone, as in a sweep; validation.holdout=0 scores it too.", soft_wrap=True)
    out.print(f"Look-ahead gate: {gate}.")
    if opened:
        out.print(
            f"This shows bars that are held out in {', '.join(opened)}: it counts as an opening of their hold-out.",
            soft_wrap=True,
        )
    if result.ruined:
        out.print("Ruined: equity fell to 0.")
    print_places(out, places)


def _name_in_ledger(strategy: str, values: Mapping[str, Any], engine: EngineParams) -> str:
    """Return a name that the same setting has again: tried twice, it is one try."""
    setting = repr(sorted(values.items())) + repr(engine)
    return f"backtest {strategy} {hashlib.sha256(setting.encode()).hexdigest()[:8]}"

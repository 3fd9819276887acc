"""The tear sheet of one trial, drawn in a process of its own: matplotlib holds the lock that the verdict needs."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from alphapulse.backtesting.market import Market
from alphapulse.sweep.experiment import Experiment
from alphapulse.typing import Float64Array1D


def draw_tear_sheet(market: Market, experiment: Experiment, parameters: Float64Array1D, path: Path) -> None:
    """Write the QuantStats tear sheet of one trial against buy and hold to `path`.

    Parameters
    ----------
    market : Market
    experiment : Experiment
    parameters : (n_dimensions,) float64
    path : Path
        HTML file.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(_draw, market, experiment, parameters, path).result()


def _draw(market: Market, experiment: Experiment, parameters: Float64Array1D, path: Path) -> None:
    from alphapulse.sweep.single import backtest_trial, write_tear_sheet

    result, benchmark = backtest_trial(market, experiment, parameters)
    write_tear_sheet(result, benchmark, experiment, market, path)

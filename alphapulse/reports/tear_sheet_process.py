"""The tear sheet of one trial, drawn in a process of its own: matplotlib holds the lock that the verdict needs."""

import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from alphapulse.market.market import Market
from alphapulse.sweep.experiment import Experiment
from alphapulse.typing import Float64Array1D


def draw_tear_sheet(
    market: Market, experiment: Experiment, parameters: Float64Array1D, path: Path, head: Sequence[str] = ()
) -> str | None:
    """Write the QuantStats tear sheet of one trial against buy and hold to `path`.

    Parameters
    ----------
    market : Market
    experiment : Experiment
    parameters : (n_dimensions,) float64
    path : Path
        HTML file.
    head : sequence of str
        What stands above it, one line each.

    Returns
    -------
    str or None
        Why there is none; None if it is drawn. A picture must not cost a sweep its verdict.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    # Unlike a pool's, this process ends by itself when its parent is killed.
    process = context.Process(target=_draw, args=(market, experiment, parameters, path, head, sender), daemon=True)
    process.start()
    sender.close()
    try:
        failure: str | None = receiver.recv()
    except EOFError:
        failure = "its process was killed"
    process.join()
    return failure


def _draw(
    market: Market,
    experiment: Experiment,
    parameters: Float64Array1D,
    path: Path,
    head: Sequence[str],
    answer: Connection,
) -> None:
    try:
        from alphapulse.reports.curves import backtest_trial, write_tear_sheet

        result, benchmark = backtest_trial(market, experiment, parameters)
        write_tear_sheet(result, benchmark, experiment, market, path, head)
    except Exception as error:
        answer.send(" ".join(f"{type(error).__name__}: {error}".split()))
    else:
        answer.send(None)

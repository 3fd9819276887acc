"""The chosen setting on surrogates of the hold-out: how often its timing does as well where there is none."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from alphapulse.market.market import Market
from alphapulse.market.surrogates import surrogate_market
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.search import value_of
from alphapulse.sweep.worker import forget
from alphapulse.sweep.workers.cluster import Cluster
from alphapulse.sweep.workers.losses import WorkerDiedError
from alphapulse.sweep.workers.tasks import RETRIES
from alphapulse.typing import Float64Array1D, Float64Array2D

SURROGATES_A_TASK = 50

SHORTEST_WARM_UP = 50_000
"""Bars before a hold-out that its surrogates always have, where there are as many."""


def run_holdout_test(
    cluster: Cluster, holdout: Market, experiment: Experiment, parameters: Float64Array1D, n: int, block: int
) -> tuple[list[float], float]:
    """Return the first objective of one setting on `n` surrogates of the hold-out, in order, and on itself.

    The surrogates are run by the workers, over no more warm-up than the setting decides by; see `needed`.
    """
    lean = needed(holdout, experiment, parameters)
    observed = value_of(lean, experiment, parameters)
    forget()
    shipment = cluster.put(lean, replace(experiment, bootstrap=None))
    calls = [
        (parameters, range(start, min(start + SURROGATES_A_TASK, n)), block) for start in range(0, n, SURROGATES_A_TASK)
    ]
    outcomes = cluster.gather(shipment, holdout_values, calls, n_retries=RETRIES)
    for outcome in outcomes:
        if isinstance(outcome, WorkerDiedError):
            raise outcome
    return [value for outcome in outcomes for value in outcome], observed


def needed(holdout: Market, experiment: Experiment, parameters: Float64Array1D) -> Market:
    """Return a hold-out without the early bars of a long warm-up, where the setting decides the same without them.

    Of the warm-up the last 50,000 bars stay, or twice, four times ... as many: the first with which every target, the
    average true range of every stop and the first objective are the same to the bit from the last bar before the
    hold-out on. Where none below half of the warm-up are, and of a universe, all of it stays.
    """
    length = SHORTEST_WARM_UP
    if holdout.members or 2 * length > holdout.first:
        return holdout
    whole, value = _decisions(holdout, experiment, parameters), value_of(holdout, experiment, parameters)
    while 2 * length <= holdout.first:
        shorter = Market.of(holdout.bars[holdout.first - length :], length, holdout.fingerprint)
        same = [
            np.array_equal(_decisions(shorter, experiment, parameters), whole, equal_nan=True),
            np.array_equal(value_of(shorter, experiment, parameters), value, equal_nan=True),
        ]
        if all(same):
            return shorter
        length *= 2
    return holdout


def _decisions(market: Market, experiment: Experiment, parameters: Float64Array1D) -> Float64Array2D:
    """Return targets and average true range (2, n_scored + 1) from the bar before the scored ones; NaN without any."""
    bars, start = market.bars, market.first - 1
    block = experiment.definition.block(bars, experiment.values(parameters)[0], 1)
    decisions = np.full((2, len(bars) - start), np.nan)
    if not block.failures:
        block.fill(start, len(bars), np.zeros(1, dtype=np.int64), decisions[:1])
        if len(block.atr):
            decisions[1] = block.atr[block.atr_row[0], start:]
    return decisions


def holdout_values(
    holdout: Market, experiment: Experiment, parameters: Float64Array1D, surrogates: Iterable[int], block: int = 1
) -> list[float]:
    """Return the first objective of one setting on some surrogates of the hold-out; NaN where it is undefined.

    Parameters
    ----------
    holdout : Market
        With all earlier bars that count as its warm-up, which stays as it is.
    experiment : Experiment
    parameters : (n_dimensions,) float64
        The setting; of it alone, without its neighbours or folds.
    surrogates : iterable of int
        Their numbers, from 0.
    block : int
        Length of the pieces of the hold-out that stay together [bars].
    """
    values = []
    for s in surrogates:
        forget()
        values.append(value_of(surrogate_market(holdout, s, block, first=holdout.first), experiment, parameters))
    return values

"""The chosen setting on surrogates of the hold-out: how often its timing does as well where there is none."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alphapulse.backtesting.batch import FAILED
from alphapulse.market.market import Market
from alphapulse.market.surrogates import surrogate_market
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.search import value_of
from alphapulse.sweep.worker import evaluate_batch, forget
from alphapulse.sweep.workers.cluster import Cluster
from alphapulse.sweep.workers.limits import Limits, begin_trial, end_trials, watched
from alphapulse.sweep.workers.losses import BatchLostError, WorkerDiedError
from alphapulse.sweep.workers.tasks import LOSSES
from alphapulse.typing import Float64Array1D, Float64Array2D
from alphapulse.validation.null_sweeps import MOST_FAILED, failed_value

SURROGATES_A_TASK = 50

DEATHS = 3
"""Workers that one surrogate may end before the setting has failed on it."""

SHORTEST_WARM_UP = 50_000
"""Bars before a hold-out that its surrogates always have, where there are as many."""


@dataclass(frozen=True)
class HoldoutTest:
    """What the chosen setting does on a hold-out.

    Attributes
    ----------
    values : list of float
        First objective on each surrogate of the hold-out, in order; `failed_value` where the setting fails. Fewer than
        were asked for where the test was given up.
    observed : float
        The same on the hold-out itself; NaN where it is undefined.
    failure : str
        Why the test was given up: the setting fails on the hold-out, or on surrogates of it; empty where it was not.
    is_closed : bool
        Whether the setting fails on the hold-out itself, which nobody should run again then.
    """

    values: list[float]
    observed: float
    failure: str = ""
    is_closed: bool = False


def run_holdout_test(
    cluster: Cluster,
    holdout: Market,
    experiment: Experiment,
    parameters: Float64Array1D,
    n: int,
    block: int,
    limits: Limits,
    watch: Callable[[int], None] = lambda n_done: None,
) -> HoldoutTest:
    """Run one setting on a hold-out and on `n` surrogates of it.

    The surrogates are run by the workers, over no more warm-up than the setting decides by; see `needed`. A strategy of
    the user's, which has not seen these prices and may end the process that it runs in, is not run here at all.

    Parameters
    ----------
    cluster : Cluster
    holdout : Market
    experiment : Experiment
    parameters : (n_dimensions,) float64
    n : int
    block : int
        Length of the pieces of the hold-out that stay together [bars].
    limits : Limits
        What a trial may cost.
    watch : callable, optional
        Called now and then with the number of surrogates that are done.
    """
    alone = replace(experiment, bootstrap=None)
    if experiment.definition.is_built_in:
        lean = needed(holdout, experiment, parameters)
        observed = value_of(lean, experiment, parameters)
        forget()
    else:
        shipment = cluster.put(holdout, alone)
        seen = cluster.gather(shipment, look_at_holdout, [(parameters, limits)], watch=lambda: watch(0))[0]
        if isinstance(seen, WorkerDiedError):
            return HoldoutTest([], math.nan, seen.reason, is_closed=True)
        observed, length, failure = seen
        if failure:
            return HoldoutTest([], math.nan, failure, is_closed=True)
        lean = _with_warm_up(holdout, length)
    values, failure = _on_surrogates(cluster, lean, alone, parameters, n, block, limits, watch)
    return HoldoutTest(values, observed, failure)


def _on_surrogates(
    cluster: Cluster,
    lean: Market,
    experiment: Experiment,
    parameters: Float64Array1D,
    n: int,
    block: int,
    limits: Limits,
    watch: Callable[[int], None],
) -> tuple[list[float], str]:
    """Return the values on surrogates in order, and why it was given up; a task that ends its worker is taken apart."""
    shipment = cluster.put(lean, experiment)
    failed = failed_value(maximize=experiment.directions[0] == "maximize")
    waiting: deque[tuple[Sequence[int], int]] = deque(
        (range(start, min(start + SURROGATES_A_TASK, n)), 0) for start in range(0, n, SURROGATES_A_TASK)
    )
    tasks: dict[object, tuple[Sequence[int], int]] = {}
    found: dict[int, float] = {}
    n_failed = n_lost = 0
    while waiting or tasks:
        watch(len(found))
        while waiting and len(tasks) < 2 * cluster.n_cpus:
            some, n_deaths = waiting.popleft()
            tasks[cluster.start(shipment, holdout_task, parameters, some, block, limits)] = some, n_deaths
        for reference in cluster.wait(list(tasks), timeout=0.5):
            some, n_deaths = tasks.pop(reference)
            try:
                values, reason = cluster.result(reference)
            except WorkerDiedError as error:
                if len(some) > 1:
                    waiting.extendleft(([s], 0) for s in some)
                    continue
                if n_deaths + 1 < DEATHS:
                    waiting.appendleft((some, n_deaths + 1))
                    continue
                values, reason = [failed], error.reason
            except BatchLostError:
                n_lost += 1
                if n_lost > LOSSES:
                    raise
                waiting.appendleft((some, n_deaths))
                continue
            found.update(zip(some, values, strict=False))
            n_failed += values.count(failed)
            if n_failed >= MOST_FAILED:
                return [found[s] for s in sorted(found)], f"on other orders of its moves, {reason}"
    return [found[s] for s in range(n)], ""


def look_at_holdout(
    holdout: Market, experiment: Experiment, parameters: Float64Array1D, limits: Limits
) -> tuple[float, int, str]:
    """Return the first objective of one setting on a hold-out, the warm-up that it needs [bars], and why it fails."""
    with watched(limits):
        alone = replace(experiment, bootstrap=None, robustness=None)
        trials = evaluate_batch(holdout, alone, parameters[None, :]).trials
        if trials.status[0] == FAILED:
            return math.nan, holdout.first, trials.errors.get(0, "")
        begin_trial()
        length = needed(holdout, experiment, parameters).first
        end_trials()
    return float(trials.values[0, 0]), length, ""


def _with_warm_up(holdout: Market, length: int) -> Market:
    if length == holdout.first:
        return holdout
    return Market.of(holdout.bars[holdout.first - length :], length, holdout.fingerprint)


def needed(holdout: Market, experiment: Experiment, parameters: Float64Array1D) -> Market:
    """Return a hold-out without the early bars of a long warm-up, where the setting decides the same without them.

    Of the warm-up the last 50,000 bars stay, or twice, four times ... as many: the first with which every target, the
    average true range of every stop and the first objective are the same to the bit from the last bar before the
    hold-out on. Where none below half of the warm-up are, and of many symbols, all of it stays.
    """
    length = SHORTEST_WARM_UP
    if holdout.members or holdout.is_account or 2 * length > holdout.first:
        return holdout
    whole, value = _decisions(holdout, experiment, parameters), value_of(holdout, experiment, parameters)
    while 2 * length <= holdout.first:
        shorter = _with_warm_up(holdout, length)
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


def holdout_task(
    holdout: Market,
    experiment: Experiment,
    parameters: Float64Array1D,
    surrogates: Sequence[int],
    block: int,
    limits: Limits,
) -> tuple[list[float], str]:
    """Return `holdout_values` under limits, and why the setting fails on the last surrogate on which it does."""
    with watched(limits):
        return _values_and_reason(holdout, experiment, parameters, surrogates, block)


def holdout_values(
    holdout: Market, experiment: Experiment, parameters: Float64Array1D, surrogates: Sequence[int], block: int = 1
) -> list[float]:
    """Return the first objective of one setting on some surrogates of the hold-out.

    It is NaN where it is undefined, `failed_value` where the setting fails; after `MOST_FAILED` of these it ends.

    Parameters
    ----------
    holdout : Market
        With all earlier bars that count as its warm-up, which stays as it is.
    experiment : Experiment
    parameters : (n_dimensions,) float64
        The setting; of it alone, without its neighbours or folds.
    surrogates : sequence of int
        Their numbers, from 0.
    block : int
        Length of the pieces of the hold-out that stay together [bars].
    """
    return _values_and_reason(holdout, experiment, parameters, surrogates, block)[0]


def _values_and_reason(
    holdout: Market, experiment: Experiment, parameters: Float64Array1D, surrogates: Sequence[int], block: int
) -> tuple[list[float], str]:
    values: list[float] = []
    alone = replace(experiment, bootstrap=None, robustness=None)
    failed, reason = failed_value(maximize=experiment.directions[0] == "maximize"), ""
    for s in surrogates:
        forget()
        surrogate = surrogate_market(holdout, s, block, first=holdout.first)
        trials = evaluate_batch(surrogate, alone, parameters[None, :]).trials
        if trials.status[0] != FAILED:
            values.append(float(trials.values[0, 0]))
            continue
        reason = trials.errors.get(0, "")
        values.append(failed)
        if values.count(failed) == MOST_FAILED:
            break
    return values, reason

"""A null sweep that ended its worker, run again with its trials in tasks of their own, as those of a study are."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphapulse.config.machines.cluster import ResourcesConfig
from alphapulse.market.market import Market
from alphapulse.market.surrogates import surrogate_market
from alphapulse.study.trials import Trials
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.search import SearchFailedError, SearchPlan, null_search
from alphapulse.sweep.worker import BatchResult, evaluate_batch
from alphapulse.sweep.workers.batches import Batch, Batches, TrialLimits
from alphapulse.sweep.workers.limits import Limits, watched
from alphapulse.sweep.workers.losses import FATAL
from alphapulse.sweep.workers.tasks import Shipment, Tasks, held_shipment
from alphapulse.typing import BoolArray1D, Float64Array2D, Int64Array1D

BATCH = 64
"""Trials of the largest batches: the first have one, and each without a fatal trial is followed by larger ones."""

AT_ONCE = 4

_surrogate: tuple[Market, int, int, Market] | None = None


@dataclass
class SurrogateWorkers:
    """Workers that evaluate batches on one surrogate market.

    Attributes
    ----------
    shipment : Shipment
        The market of the study, and its experiment without a bootstrap.
    s, block : int
        Number of the surrogate, and the length of its pieces [bars].
    tasks : Tasks
    """

    shipment: Shipment
    s: int
    block: int
    tasks: Tasks
    n_cpus: int = 1

    def submit(
        self, parameters: Float64Array2D, keep: BoolArray1D, threshold: float, limits: Limits, name: str = ""
    ) -> Any:
        """Start a batch under a name that Ray shows."""
        return self.tasks.start(
            self.shipment, evaluate_on_surrogate, self.s, self.block, parameters, limits, name=f"null {self.s} trials"
        )

    def wait(self, references: list[Any], timeout: float) -> list[Any]:
        """Return those that are done."""
        return self.tasks.wait(references, timeout)

    def result(self, reference: Any) -> BatchResult:
        """Return the outcome of one that is done."""
        result: BatchResult = self.tasks.result(reference)
        return result


def careful_null_search(
    market: Market,
    experiment: Experiment,
    plan: SearchPlan,
    s: int,
    *,
    block: int,
    limits: TrialLimits,
    resources: ResourcesConfig | None = None,
    suspects: Sequence[tuple[float, ...]] = (),
) -> tuple[float, list[tuple[float, ...]]]:
    """Return what `null_search` does, and the settings that ended their worker, which are failed trials.

    Parameters
    ----------
    market : Market
    experiment : Experiment
    plan : SearchPlan
    s, block : int
        As `null_search` has them.
    limits : TrialLimits
    resources : ResourcesConfig, optional
        What a task of trials asks for; one processor by default.
    suspects : sequence of tuple of float
        Settings that ended their worker on another surrogate: each runs alone at once.

    Raises
    ------
    SearchFailedError
        As `null_search` does, and where more trials end their worker or exceed a limit than `plan.most_fatal`.
    """
    suspected = set(suspects)
    batches: Batches[Batch] = Batches(SurrogateWorkers(held_shipment(), s, block, Tasks(resources)), experiment, limits)
    n_run = n_fatal = 0
    size = 1

    def submit(rows: Int64Array1D, parameters: Float64Array2D, n_deaths: int) -> None:
        keep = np.zeros(len(rows), dtype=np.bool_)
        batches.submit(Batch(None, rows, parameters[rows], keep, np.inf, n_deaths=n_deaths))

    def collect(trials: Trials) -> None:
        nonlocal n_run, n_fatal, size
        while batches.n_under_way:
            for batch, result in batches.collect(timeout=1.0):
                trials.put(batch.rows, result.trials)
                fatal = [reason for reason in result.trials.errors.values() if re.match(FATAL, reason)]
                n_run, n_fatal = n_run + len(batch.rows), n_fatal + len(fatal)
                size = 1 if fatal else min(2 * size, BATCH)
                if n_fatal > plan.most_fatal:
                    raise SearchFailedError(f"{n_fatal:,} of {n_run:,} trials, the last: {fatal[-1]}")

    def evaluate(parameters: Float64Array2D) -> Trials:
        trials = experiment.untried(parameters)
        is_suspect = np.array([tuple(row) in suspected for row in parameters.tolist()], dtype=np.bool_)
        others = np.flatnonzero(~is_suspect)
        while len(others):
            wave, others = others[: AT_ONCE * size], others[AT_ONCE * size :]
            for rows in np.split(wave, range(size, len(wave), size)):
                submit(rows, parameters, 0)
            collect(trials)
        # Such a setting would take its neighbours with it time and again.
        for row in np.flatnonzero(is_suspect):
            submit(np.array([row]), parameters, 1)
        collect(trials)
        return trials

    value = null_search(market, experiment, plan, s, block=block, evaluate=evaluate)
    return value, [tuple(row.tolist()) for row in batches.fatal]


def evaluate_on_surrogate(
    market: Market, experiment: Experiment, s: int, block: int, parameters: Float64Array2D, limits: Limits
) -> BatchResult:
    """Evaluate a batch on surrogate `s` of a market under limits."""
    global _surrogate
    if _surrogate is None or _surrogate[0] is not market or _surrogate[1:3] != (s, block):
        _surrogate = (market, s, block, surrogate_market(market, s, block))
    with watched(limits):
        nothing = np.zeros(len(parameters), dtype=np.bool_)
        return evaluate_batch(_surrogate[3], experiment, parameters, keep=nothing)

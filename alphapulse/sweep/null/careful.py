"""A null sweep that ended its worker, run again with its trials in tasks of their own, as those of a study are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphapulse.config.machines.cluster import ResourcesConfig
from alphapulse.market.market import Market
from alphapulse.market.surrogates import surrogate_market
from alphapulse.study.trials import Trials
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.search import SearchPlan, null_search
from alphapulse.sweep.worker import BatchResult, evaluate_batch
from alphapulse.sweep.workers.batches import Batch, Batches, TrialLimits
from alphapulse.sweep.workers.limits import Limits, watched
from alphapulse.sweep.workers.tasks import Shipment, Tasks, held_shipment
from alphapulse.typing import BoolArray1D, Float64Array2D

BATCH = 64

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
    """
    suspected = set(suspects)
    batches = Batches(SurrogateWorkers(held_shipment(), s, block, Tasks(resources)), experiment, limits)

    def evaluate(parameters: Float64Array2D) -> Trials:
        trials = experiment.untried(parameters)
        is_suspect = np.array([tuple(row) in suspected for row in parameters.tolist()], dtype=np.bool_)
        others = np.flatnonzero(~is_suspect)
        parts = [(rows, 0) for rows in np.split(others, range(BATCH, len(others), BATCH)) if len(rows)]
        # Such a setting would take its neighbours with it time and again.
        for rows, n_deaths in [*parts, *((np.array([row]), 1) for row in np.flatnonzero(is_suspect))]:
            keep = np.zeros(len(rows), dtype=np.bool_)
            batches.submit(Batch(None, rows, parameters[rows], keep, np.inf, n_deaths=n_deaths))
        while batches.n_under_way:
            for batch, result in batches.collect(timeout=1.0):
                trials.put(batch.rows, result.trials)
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

"""Which trial of a study is the one: the best, or with several objectives a member of the Pareto front."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphapulse.backtesting.metrics import METRICS
from alphapulse.compiling import jit
from alphapulse.config.schema import FIRST, KNEE
from alphapulse.search.expressions import read_expression
from alphapulse.study.trials import Trials
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D


@dataclass(frozen=True)
class Choice:
    """How one trial is chosen among those that break no condition; the earliest of equals.

    Attributes
    ----------
    directions : tuple of {"minimize", "maximize"}
        Each objective has one.
    how : str
        Of the Pareto front "first" is the best by the first objective, "knee" the one with the least sum of losses,
        each scaled to [0, 1] over the front, and an expression over metrics the one where it is highest.
    """

    directions: tuple[str, ...]
    how: str = FIRST

    def __call__(self, trials: Trials) -> int | None:
        """Return the row of the chosen trial, None where every trial failed or breaks a condition."""
        front = self.candidates(trials)
        if not len(front):
            return None
        metrics = dict(zip(METRICS, trials.metrics[front].T, strict=True))
        return int(front[self.among(trials.values[front], metrics)])

    def candidates(self, trials: Trials) -> Int64Array1D:
        """Return the rows of the trials that may be chosen, of these and of any more: their front, in order."""
        good = np.flatnonzero(trials.is_candidate)
        return good[self.front(trials.values[good])]

    def front(self, values: Float64Array2D) -> Int64Array1D:
        """Return the rows of values (n, n_objectives) that none dominates, in order; the first of equals alone."""
        losses = self._losses(values)
        order = np.lexsort((*losses.T[::-1],)) if len(losses) else np.empty(0, dtype=np.int64)
        rows: Int64Array1D = np.sort(_front(losses, order))
        return rows

    def among(self, values: Float64Array2D, metrics: Mapping[str, Float64Array1D]) -> int:
        """Return the place of the chosen one among the members of a front.

        Parameters
        ----------
        values : (n, n_objectives) float64
        metrics : mapping of str to (n,) float64
            Where the expression is undefined for all of them, the first objective decides.
        """
        losses = self._losses(values)
        score = losses[:, 0]
        if self.how == KNEE:
            score = _sum_of_scaled(losses)
        elif self.how != FIRST:
            wanted = np.broadcast_to(read_expression(self.how, "choose", METRICS).evaluate(metrics), len(losses))
            if not np.isnan(wanted).all():
                score = np.where(np.isnan(wanted), np.inf, -wanted)
        return int(np.argmin(score))

    def _losses(self, values: Float64Array2D) -> Float64Array2D:
        losses: Float64Array2D = values * np.array([-1.0 if d == "maximize" else 1.0 for d in self.directions])
        return losses


def _sum_of_scaled(losses: Float64Array2D) -> Float64Array1D:
    total = np.zeros(len(losses))
    for column in losses.T:
        spread = column.max() - column.min()
        if spread > 0.0:
            total += (column - column.min()) / spread
    return total


@jit
def _front(losses: Any, order: Any) -> Any:
    """Return the rows of losses (n, m) that none dominates, without repetitions, from their lexicographic order."""
    found = np.empty(len(order), np.int64)
    n_found = 0
    for row in order:
        is_free = True
        for place in range(n_found):
            # What comes earlier in the order is dominated by nothing that comes later.
            below = True
            for j in range(losses.shape[1]):
                below = below and losses[found[place], j] <= losses[row, j]
            if below:
                is_free = False
                break
        if is_free:
            found[n_found] = row
            n_found += 1
    return found[:n_found]

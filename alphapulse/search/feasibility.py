"""How far a trial is from what its results must be, and what that makes of its loss."""

from typing import Final

import numpy as np

from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D

INFEASIBLE: Final = 1e300
"""Least loss of a trial that breaks a condition: more than any that breaks none, less than that of a failed one."""


def total_violation(violations: Float64Array2D) -> Float64Array1D:
    """Return by how much trials break their conditions together (n,): 0 where they hold, inf where one is NaN.

    Parameters
    ----------
    violations : (n, n_conditions) float64
        Above 0 where a condition is broken, NaN where nothing can be said of it.
    """
    total = np.zeros(len(violations))
    # Column by column, so that no processor adds them in an order of its own.
    for column in violations.T:
        total += np.where(np.isnan(column), np.inf, np.maximum(column, 0.0))
    return total


def keeps_conditions(violations: Float64Array2D) -> BoolArray1D:
    """Return whether all conditions hold (n,); without a condition they do."""
    return np.asarray((violations <= 0.0).all(axis=1))


def penalised(losses: Float64Array2D, violations: Float64Array2D) -> Float64Array2D:
    """Return losses (n, n_objectives) by which feasible trials come first, the others by how much they break, as
    Deb's constrained domination has it; all losses of an infeasible trial are the same.

    Losses of trials that break nothing stay what they are, and inf stays inf.
    """
    broken = total_violation(violations)
    with np.errstate(invalid="ignore"):
        distance = np.where(np.isinf(broken), 1.0, broken / (1.0 + broken))
    is_infeasible = ((broken > 0.0) & np.isfinite(losses).all(axis=1))[:, None]
    result: Float64Array2D = np.where(is_infeasible, (INFEASIBLE * (1.0 + distance))[:, None], losses)
    return result

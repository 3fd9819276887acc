"""Targets of many trials, handed from a strategy to the engine: the seam that both sides know."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from alphapulse.typing import Float64Array2D, Int64Array1D


class TargetBlock(Protocol):
    """Targets of a block of trials, handed to the engine tile by tile."""

    failures: Mapping[int, str]
    """Trials (by place in the block) that have no targets, and why."""

    atr: Float64Array2D
    """Average true range (n_windows, n_bars) [quote], one row a distinct window; NaN where undefined."""

    atr_row: Int64Array1D
    """Row of `atr` that each trial uses (n_trials,)."""

    @property
    def order(self) -> Int64Array1D:
        """Every trial once (n_trials,), those that decide alike side by side: the engine trades neighbours together."""

    def fill(self, start: int, stop: int, trials: Int64Array1D, out: Float64Array2D) -> None:
        """Write the targets of `trials` (k,) for bars [start, stop) to `out` (k, stop - start); 0 for failed trials."""


class AccountTargets(Protocol):
    """Targets of a block of trials in one account, handed to the engine strategy by strategy."""

    failures: Mapping[int, str]
    """Trials (by place in the block) that have no targets, and why; complete after the last group."""

    def groups(self) -> Iterator[tuple[Int64Array1D, Float64Array2D, Float64Array2D]]:
        """Yield trials that decide alike (k,), their targets [1] and average true ranges [quote].

        Both are (n_bars, n_symbols); the targets of one group are not kept.
        """

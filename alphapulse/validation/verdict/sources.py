"""Where a verdict reads a study: in pieces, since a database may hold more trials than memory; or from arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int64Array1D


class StoredPart(NamedTuple):
    """The trials of a study that can be read, where not all can.

    Attributes
    ----------
    numbers : (n,) int64
        Which they are, ascending.
    is_drawn : (n,) bool
        Those of them that stand for all: a random sample, whatever they are worth.
    sharpes : (3,) float64
        Number, mean and sum of squared deviations of the per-bar Sharpe ratios of all trials.
    sentence : str
        What is stored, in words.
    """

    numbers: Int64Array1D
    is_drawn: BoolArray1D
    sharpes: Float64Array1D
    sentence: str


class TrialSource(Protocol):
    """All trials of a study, failed ones too, numbered from 0; or a part of them."""

    @property
    def n_trials(self) -> int:
        """How many there are."""

    def part(self) -> StoredPart | None:
        """Return which trials can be read; None is all of them."""

    def sharpes(self) -> Iterator[Float64Array1D]:
        """Yield the per-bar Sharpe ratio of each trial in order, in pieces; NaN for a failed one [1].

        Where a part can be read these are the ratios of that part.
        """

    def read(self, trials: Int64Array1D) -> tuple[Float64Array2D, Float64Array1D]:
        """Return parameters (n, n_parameters) and per-bar Sharpe ratios (n,) of some trials, given ascending."""

    def may_be_chosen(self, trials: Int64Array1D) -> BoolArray1D:
        """Return which of some trials break no condition on results (n,), given ascending."""


class BlockSource(Protocol):
    """The trials of a study whose block moments are kept."""

    @property
    def n_kept(self) -> int:
        """How many there are."""

    def read(self) -> Iterator[tuple[Int64Array1D, Float64Array2D, Float64Array2D]]:
        """Yield trials (n,), sums and squares (n, n_blocks) of their returns [1], in pieces, by trial."""


@dataclass(frozen=True)
class TrialArrays:
    """Trials in memory.

    Attributes
    ----------
    values : ndarray (n_trials,)
        Per-bar Sharpe ratios; NaN for a failed trial [1].
    parameters : ndarray (n_trials, n_parameters), optional
        None stands for no parameters.
    """

    values: Float64Array1D
    parameters: Float64Array2D | None = None

    @property
    def n_trials(self) -> int:
        """How many there are."""
        return len(self.values)

    def part(self) -> StoredPart | None:
        """Return that all can be read."""
        return None

    def sharpes(self) -> Iterator[Float64Array1D]:
        """Yield the Sharpe ratios at once."""
        yield self.values

    def read(self, trials: Int64Array1D) -> tuple[Float64Array2D, Float64Array1D]:
        """Return parameters and Sharpe ratios of some trials."""
        table = np.empty((len(self.values), 0)) if self.parameters is None else self.parameters
        return table[trials], self.values[trials]

    def may_be_chosen(self, trials: Int64Array1D) -> BoolArray1D:
        """Return that all of them are."""
        return np.ones(len(trials), dtype=np.bool_)


@dataclass(frozen=True)
class BlockArrays:
    """Block moments in memory.

    Attributes
    ----------
    sums, squares : ndarray (n_kept, n_blocks)
        Sums of returns and of their squares in each block [1].
    trials : ndarray (n_kept,), optional
        Trials that they belong to, ascending; by default 0, 1 and so on.
    """

    sums: Float64Array2D
    squares: Float64Array2D
    trials: Int64Array1D | None = None

    @property
    def n_kept(self) -> int:
        """How many there are."""
        return len(self.sums)

    def read(self) -> Iterator[tuple[Int64Array1D, Float64Array2D, Float64Array2D]]:
        """Yield them at once."""
        yield np.arange(len(self.sums)) if self.trials is None else self.trials, self.sums, self.squares

"""A generation of trials between its proposal and its commit."""

from dataclasses import dataclass, field

import numpy as np

from alphapulse.study.trials import BlockMoments, SymbolMetrics, Trials
from alphapulse.sweep.duplicates import Answers
from alphapulse.sweep.worker import BatchResult
from alphapulse.typing import BoolArray1D, Int64Array1D


@dataclass
class Work:
    """A generation under way; rows [offset, stop) are to be run."""

    number: int
    first_trial: int
    trials: Trials
    offset: int
    stop: int
    answers: Answers
    done: BoolArray1D
    batches: list[tuple[Int64Array1D, BatchResult]] = field(default_factory=list)
    n_submitted: int = 0
    n_waiting: int = 0
    n_bytes: int = 0

    def __post_init__(self) -> None:
        trials = self.trials
        self.n_bytes = sum(part.nbytes for part in (trials.parameters, trials.values, trials.metrics))

    @property
    def n_unsubmitted(self) -> int:
        """Number of trials that nobody runs yet."""
        return len(self.answers.run) - self.n_submitted

    @property
    def complete(self) -> bool:
        """Whether all trials that are to be run have an outcome."""
        return self.n_unsubmitted == 0 and self.n_waiting == 0

    @property
    def is_whole(self) -> bool:
        """Whether all trials of the generation are to be run."""
        return self.stop == len(self.trials)

    def next_rows(self, size: int) -> Int64Array1D:
        """Return up to `size` rows that nobody runs yet."""
        return self.answers.run[self.n_submitted : self.n_submitted + size]

    def take(self, rows: Int64Array1D, result: BatchResult) -> None:
        """Write the outcome of a batch to its rows."""
        self.trials.put(rows, result.trials)
        self.done[rows] = True
        self.batches.append((rows, result))
        self.n_waiting -= len(rows)
        self.n_bytes += result.kept.sums.nbytes + result.kept.squares.nbytes

    def fill_same(self) -> None:
        """Write the outcome of rows that equal another row of this generation."""
        same, first = self.answers.same, self.answers.first
        self.trials.answer(same, self.trials[first])
        self.done[same] = self.done[first]

    @property
    def n_evaluated(self) -> int:
        """Number of trials that have an outcome and are not committed."""
        return int(np.count_nonzero(self.done[self.offset : self.stop]))

    def finished(self) -> int:
        """Return the first row of [offset, stop) that has no outcome, or `stop`."""
        missing = np.flatnonzero(~self.done[self.offset : self.stop])
        return self.offset + int(missing[0]) if len(missing) else self.stop

    def cut(self, stop: int) -> tuple[int, list[tuple[Int64Array1D, BatchResult]]]:
        """Take out the batches before `stop` and return them in order; where one reaches beyond, `stop` moves there."""
        stop = min([stop, *(int(rows[0]) for rows, _ in self.batches if rows[-1] >= stop)])
        cut = sorted((b for b in self.batches if b[0][-1] < stop), key=lambda batch: int(batch[0][0]))
        self.batches = [b for b in self.batches if b[0][-1] >= stop]
        return stop, cut


def on_symbols(first_trial: int, batches: list[tuple[Int64Array1D, BatchResult]]) -> SymbolMetrics | None:
    """Return the metrics that batches have on each symbol, by number in the study; None without a universe."""
    parts = [(rows, result.by_symbol) for rows, result in batches if result.by_symbol is not None]
    if not parts:
        return None
    numbers = np.concatenate([first_trial + rows[part.trials] for rows, part in parts])
    return SymbolMetrics(numbers, parts[0][1].symbols, np.concatenate([part.metrics for _, part in parts]))


def kept_blocks(
    first_trial: int, batches: list[tuple[Int64Array1D, BatchResult]], is_kept: BoolArray1D
) -> BlockMoments:
    """Return block moments that batches of a generation brought, by number in the study.

    Parameters
    ----------
    first_trial : int
        Number of the generation's first trial.
    batches : list of rows and result
    is_kept : (n_trials,) bool
        Trials of the generation whose block moments are kept; a batch may have brought more.
    """
    parts = []
    for rows, result in batches:
        kept = is_kept[rows[result.kept.trials]]
        parts.append([first_trial + rows[result.kept.trials][kept], result.kept.sums[kept], result.kept.squares[kept]])
    parts = [part for part in parts if len(part[0])]
    if not parts:
        return BlockMoments(np.empty(0, dtype=np.int64), np.empty((0, 0)), np.empty((0, 0)))
    return BlockMoments(*(np.concatenate(column) for column in zip(*parts, strict=True)))

"""What the driver keeps of all trials where a part of them is stored: sums, the best, the front, what is drawn."""

import math
from collections.abc import Callable

import numpy as np

from alphapulse.study.choice import Choice
from alphapulse.study.columns import StudyColumns
from alphapulse.study.part import drawn
from alphapulse.study.part.sums import Sums
from alphapulse.study.records import Generation, Part
from alphapulse.study.trials import BlockMoments, SymbolMetrics, Trials
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.patience import losses_of, signs_of
from alphapulse.sweep.scale.stretch import Rules, StretchResult
from alphapulse.sweep.study_state import N_BEST as N_BEST_BLOCKS
from alphapulse.sweep.study_state import StudyState
from alphapulse.sweep.workers.losses import FATAL
from alphapulse.typing import BoolArray1D, Float64Array2D, Int64Array1D
from alphapulse.validation.verdict.gathering import take_in


class Keeper:
    """Takes in stretches in the order of their trials, and says what of them is to be stored.

    What is stored after the last trial is a function of the trials alone, however they were cut into stretches: the
    best by the first objective, the front of several, what is drawn by its number, what was given first, and what
    ended its worker.

    Parameters
    ----------
    experiment : Experiment
    state : StudyState
        State after the trials that are stored; changed.
    sums : Sums
        The same; changed.
    periods_per_year : float
        Turns annual Sharpe ratios into those per bar [1].
    generation_size : int
        Trials of a generation.
    n_given : int
        First trials that are all stored.
    keep_blocks : int
        Most trials that keep their block moments for being drawn.
    has_patience : bool
        Whether generations without a better value are counted; stretches then lie within a generation each.
    """

    def __init__(
        self,
        experiment: Experiment,
        state: StudyState,
        sums: Sums,
        *,
        periods_per_year: float,
        generation_size: int,
        n_given: int,
        keep_blocks: int,
        has_patience: bool,
    ) -> None:
        n_objectives = len(experiment.directions)
        self.state, self.sums = state, sums
        self._directions = experiment.directions
        self._root = math.sqrt(periods_per_year)
        self._size = generation_size
        self._has_patience = has_patience
        self._rules = Rules(sums.n_planned, drawn.N_DRAWN, min(keep_blocks, drawn.N_BLOCKS), max(n_given, 1))
        self._choice = Choice(("minimize",) * n_objectives)
        self._best, self._scores = np.empty(0, dtype=np.int64), np.empty(0)
        self._front, self._losses = np.empty(0, dtype=np.int64), np.empty((0, n_objectives))
        self._first_score = math.nan
        self._moments = np.array(sums.sharpes)
        self._n_committed = sums.n_trials
        self._results: list[StretchResult] = []

    def restore(self, columns: StudyColumns) -> None:
        """Read back what is known of the trials that are stored."""
        numbers, trials = columns.numbered_trials(0, self.sums.n_trials)
        if not len(numbers):
            return
        sign = 1.0 if self._directions[0] == "maximize" else -1.0
        scores = np.where(trials.is_candidate, sign * trials.values[:, 0], np.nan)
        self._rank(numbers, scores)
        losses = losses_of(trials, signs_of(self._directions))
        finite = np.isfinite(losses).all(axis=1)
        self._lead(numbers[finite], losses[finite])
        self._first_score = float(scores[0])

    @property
    def rules(self) -> Rules:
        """What is kept of a stretch, by what is known of the best by now."""
        best, blocks = (
            float(self._scores[n - 1]) if len(self._scores) >= n else -math.inf for n in (drawn.N_BEST, N_BEST_BLOCKS)
        )
        return self._rules._replace(best=best, best_blocks=blocks)

    @property
    def best(self) -> float:
        """Best value of the first objective, larger is better; -inf without one."""
        return float(self._scores[0]) if len(self._scores) else -math.inf

    @property
    def n_trials(self) -> int:
        """Trials that were taken in."""
        return self.sums.n_trials

    @property
    def n_rows(self) -> int:
        """Trials that were kept since the last commit, some of which may not stay."""
        return sum(len(result.numbers) for result in self._results)

    def take(self, result: StretchResult) -> None:
        """Take in the next stretch."""
        sums, scores = self.sums, result.scores
        sums.n_distinct = None
        if result.first == 0:
            self._first_score = float(scores[0])
        others = scores if result.first else scores[1:]
        sums.n_worse += int(np.count_nonzero(np.isnan(others) | (others < self._first_score)))
        sums.fail(result.failures)
        sums.n_infeasible += result.n_infeasible
        sums.n_drawn += result.n_drawn
        take_in(result.sharpes / self._root, self._moments)
        sums.sharpes = self._moments.tolist()
        self.state.merge(result.observed, result.maxima, scores)
        self.state.seconds += result.elapsed
        self._rank(result.numbers, scores[result.numbers - result.first])
        sums.n_best = len(self._best)
        self._wait(self._lead(result.front, result.front_losses), len(scores))
        self._results.append(result)

    def _rank(self, numbers: Int64Array1D, scores: np.ndarray) -> None:
        """Take in scores by number; NaN is none."""
        good = scores >= self.rules.best
        numbers, scores = np.append(self._best, numbers[good]), np.append(self._scores, scores[good])
        order = np.lexsort((numbers, -scores))[: drawn.N_BEST]
        self._best, self._scores = numbers[order], scores[order]

    def _lead(self, numbers: Int64Array1D, losses: Float64Array2D) -> bool:
        """Take in losses by number; return whether the front is another one."""
        n_before = len(self._front)
        numbers, losses = np.append(self._front, numbers), np.concatenate([self._losses, losses])
        kept = self._choice.front(losses)
        self._front, self._losses = numbers[kept], losses[kept]
        return bool((kept >= n_before).any())

    def _wait(self, improves: bool, n_trials: int) -> None:
        """Count the trials and, with patience, the generations without a better value."""
        sums = self.sums
        sums.n_trials += n_trials
        if not self._has_patience:
            return
        sums.improves |= improves
        if sums.n_trials % self._size == 0:
            sums.n_waited, sums.improves = 0 if sums.improves else sums.n_waited + 1, False

    def piece(self) -> Generation | None:
        """Return what is to be stored of the trials taken in since the last piece; None where there are none."""
        if self.sums.n_trials == self._n_committed:
            return None
        results, self._results = self._results, []
        numbers = np.concatenate([result.numbers for result in results])
        stays = np.concatenate([result.stays for result in results])
        kept = np.flatnonzero(stays | np.isin(numbers, self._best) | np.isin(numbers, self._front))
        first, self._n_committed = self._n_committed, self.sums.n_trials
        numbers = numbers[kept]
        return Generation(
            number=first // self._size,
            first_trial=first,
            trials=Trials.joined([result.trials for result in results])[kept],
            blocks=self._blocks(results),
            state=self.state.to_bytes(),
            by_symbol=_on_symbols(results, numbers),
            part=Part(numbers, numbers // self._size, self.sums.n_trials - first, self.sums.to_json()),
        )

    def _blocks(self, results: list[StretchResult]) -> BlockMoments:
        parts = [result.kept for result in results if len(result.kept.trials)]
        if not parts:
            return BlockMoments(np.empty(0, dtype=np.int64), np.empty((0, 0)), np.empty((0, 0)))
        trials, sums, squares = (np.concatenate(column) for column in zip(*parts, strict=True))
        kept = self._keeps_blocks(trials)
        return BlockMoments(trials[kept], sums[kept], squares[kept])

    def _keeps_blocks(self, numbers: Int64Array1D) -> BoolArray1D:
        kept: BoolArray1D = self._rules.draw_blocks(numbers) | np.isin(numbers, self._best[:N_BEST_BLOCKS])
        return kept

    def discard_surplus(self, columns: StudyColumns, discard: Callable[[list[int], list[int]], None]) -> None:
        """Let go of what is stored and was displaced since, when all pieces are stored; `discard` takes two lists of
        numbers: of trials, and of those that lose their block moments alone or as well.
        """
        numbers, fatal = columns.numbers(), columns.failed_for(FATAL)[0]
        stays = self._rules.stay(numbers)
        for others in (self._best, self._front, fatal):
            stays |= np.isin(numbers, others)
        blocks = columns.numbers("trial_blocks")
        discard(numbers[~stays].tolist(), blocks[~self._keeps_blocks(blocks)].tolist())


def _on_symbols(results: list[StretchResult], numbers: Int64Array1D) -> SymbolMetrics | None:
    parts = [result.by_symbol for result in results if result.by_symbol is not None]
    if not parts:
        return None
    trials = np.concatenate([part.trials for part in parts])
    kept = np.isin(trials, numbers)
    return SymbolMetrics(trials[kept], parts[0].symbols, np.concatenate([part.metrics for part in parts])[kept])

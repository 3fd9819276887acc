"""Answers to trials that a study has run before, in memory that does not grow with it."""

from dataclasses import dataclass

import numpy as np

from alphapulse.search.space import SearchSpace
from alphapulse.study.trials import Trials
from alphapulse.typing import Float64Array2D, Int64Array1D

CAPACITY = 2**17
EMPTY = -1
# Odd, of 64 bits: Knuth's multiplicative hashing spreads neighbouring points over the slots.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Answers:
    """Which trials of a generation have to run, and the outcome of those that have not.

    Attributes
    ----------
    run : (n_run,) int64
        Rows to evaluate.
    known : (n_known,) int64
        Rows answered from earlier generations.
    slot : (n_known,) int64
        Where their outcome is kept.
    same : (n_same,) int64
        Rows equal to another row of this generation.
    first : (n_same,) int64
        The row that each of them equals, one of `run`.
    waits : bool
        Whether some of `known` have no outcome yet; then ask again later.
    """

    run: Int64Array1D
    known: Int64Array1D
    slot: Int64Array1D
    same: Int64Array1D
    first: Int64Array1D
    waits: bool = False

    def between(self, start: int, stop: int) -> "Answers":
        """Return the answers for rows [start, stop); the rows before `start` have an outcome already."""
        run = self.run[(self.run >= start) & (self.run < stop)]
        known = (self.known >= start) & (self.known < stop)
        same = (self.same >= start) & (self.same < stop)
        return Answers(run, self.known[known], self.slot[known], self.same[same], self.first[same])


class Duplicates:
    """Outcomes by point of a finite space, in a table of fixed size.

    Spaces of up to `CAPACITY` points have a slot for each point. In larger ones a point shares its slot
    with others and the latest stays, so what is found again is what was proposed recently. A point that
    is not found runs again, with the same result. Where a continuous key is active, none is looked for.

    Parameters
    ----------
    space : SearchSpace
    n_objectives : int
        Number of values that a trial tells the search.
    n_conditions : int
        Number of conditions on its results.
    """

    def __init__(self, space: SearchSpace, n_objectives: int, n_conditions: int = 0) -> None:
        self._space = space
        n_codes = space.n_codes
        self.finite = n_codes is not None and 0 < n_codes < 2**62
        n_slots = min(n_codes or 0, CAPACITY) if self.finite else 0
        self._direct = self.finite and n_slots == n_codes
        self._code = np.full(n_slots, EMPTY, dtype=np.int64)
        self._is_open = np.zeros(n_slots, dtype=np.bool_)
        self._outcomes = Trials.blank(np.empty((n_slots, 0)), n_objectives, n_conditions)

    def find(self, parameters: Float64Array2D) -> Answers:
        """Return which of the trials (n_trials, n_dimensions) have to run; call `fill` before the next `expect`."""
        n_trials = len(parameters)
        nothing = np.empty(0, dtype=np.int64)
        if not self.finite:
            return Answers(np.arange(n_trials), nothing, nothing, nothing, nothing)
        code = self._space.codes(parameters)
        slot = self._slots(code)
        is_known = (self._code[slot] == code) & (code >= 0)
        rows = np.flatnonzero(~is_known)
        _, first, inverse = np.unique(code[rows], return_index=True, return_inverse=True)
        first_row = np.where(code[rows] < 0, rows, rows[first][inverse])
        is_first = first_row == rows
        known = np.flatnonzero(is_known)
        waits = bool(self._is_open[slot[known]].any())
        return Answers(rows[is_first], known, slot[known], rows[~is_first], first_row[~is_first], waits)

    def fill(self, answers: Answers, trials: Trials) -> None:
        """Write the outcome of the trials of earlier generations to their rows of `trials`."""
        trials.answer(answers.known, self._outcomes[answers.slot])

    def expect(self, parameters: Float64Array2D) -> None:
        """Let trials (n_trials, n_dimensions) answer later ones, as soon as their outcome is recorded."""
        if not self.finite:
            return
        code = self._space.codes(parameters)
        code = code[code >= 0]
        slot = self._slots(code)
        # Of rows that share a slot the last one stays, in every column.
        last = len(slot) - 1 - np.unique(slot[::-1], return_index=True)[1]
        slot, code = slot[last], code[last]
        is_other = self._code[slot] != code
        self._code[slot[is_other]] = code[is_other]
        self._is_open[slot[is_other]] = True

    def record(self, trials: Trials) -> None:
        """Keep the outcome of trials that were expected, where others have not taken their place since."""
        if not self.finite:
            return
        code = self._space.codes(trials.parameters)
        slot = self._slots(code)
        rows = np.flatnonzero(self._is_open[slot] & (self._code[slot] == code))
        rows = rows[np.unique(slot[rows], return_index=True)[1]]
        self._outcomes.put(slot[rows], trials[rows])
        self._is_open[slot[rows]] = False

    def _slots(self, code: Int64Array1D) -> Int64Array1D:
        if self._direct:
            return code
        mixed = code.astype(np.uint64) * MULTIPLIER
        slots: Int64Array1D = (mixed >> np.uint64(64 - CAPACITY.bit_length() + 1)).astype(np.int64)
        return slots

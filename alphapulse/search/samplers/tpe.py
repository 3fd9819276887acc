"""Tree-structured Parzen estimator: what the good trials have that the others have not."""

from collections.abc import Sequence
from functools import cache
from typing import ClassVar

import numpy as np

from alphapulse.numerics import exp, log
from alphapulse.search.samplers._base import HistorySampler, given
from alphapulse.search.samplers._candidates import propose_points
from alphapulse.search.samplers._pareto import crowding_distance, non_domination_rank
from alphapulse.search.samplers._parzen import Layout, Observed, kernel_weights, sorted_places
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array1D, Float64Array2D, Float64Array3D, Int64Array1D, Int64Array2D

N_BELOW = 25
"""Most trials that count as good, as Optuna's `default_gamma`."""

N_BELOW_PARETO = 100
"""The same with several objectives; Optuna has no bound there, which would let the cost of a proposal grow."""

N_KEPT = 512
"""Trials kept beside the good ones: beyond, a uniform random sample, so that the cost of a proposal stays flat."""

FIRST_SIZE, GENERATION_SIZE = 4, 16
"""Generations grow from the one to the other, see `Schedule`; as many trials again are in flight. What a short search
lives on is the results of the trials just before, and what costs time is a fit, of which each generation has some."""

ISLAND_SIZE = 4
"""Proposals of a generation that share a model: a generation of 16 has four islands.

Each island knows its own trials only and settles on a hill of its own, where one fit a generation would settle on the
first; with fewer proposals in flight it also learns more often.
"""

N_BEFORE_REFINING, N_BEFORE_REFINING_EARLY = 500, 100
"""After so many trials half of a generation refines the best of all.

Their kernels have a width from a ladder, from Optuna's narrowest (1/27 of the range: its magic clip) to a thousandth;
it finds the summit that many fits would. While generations grow, before there are islands, it does so sooner.
"""

REFINING, ALL = -1, -2
"""In place of an island: proposals that refine the best of all, or that learn from all without refining."""

WIDEST_RUNG, NARROWEST_RUNG = 0.03, 0.001


class TPESampler(HistorySampler):
    """Optuna's TPE (defaults of Optuna 5) in generations.

    The trials are split into the best min(ceil(n/10), 25) and the others; each group is a mixture of products of
    truncated normals (categorical: of smoothed counts), one kernel a trial and a flat prior kernel. A proposal is the
    one of `n_ei_candidates` draws from the good mixture with the highest ratio of the two densities. Proposals of this
    and the last generation count as bad until their results are learnt (constant liar), so that they spread.

    Where Optuna fits anew before every trial, a generation is divided: with a single objective, islands of
    `ISLAND_SIZE` proposals that learn from their own trials, and, after `N_BEFORE_REFINING` trials, a half that refines
    the best of all. While generations grow they have one model of all trials, as Optuna's.

    With several objectives the good trials are the first in order of non-domination rank, then crowding distance, and
    the dimensions are independent unless `multivariate` says otherwise, as Optuna does.

    Failed trials rank last: they count as bad, where Optuna leaves them out, so that the search keeps away from them.

    Parameters
    ----------
    generation_size : int, optional
        Trials of every generation; None lets them grow.
    n_startup_trials : int, default 10
        Random trials before the first fit; the lag makes it two generations at least.
    n_ei_candidates : int, default 24
        This many draws are weighed for each proposal.
    multivariate : bool, optional
        Whether a proposal is drawn jointly; None is Optuna's own: with a single objective.
    """

    name: ClassVar[str] = "tpe"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        directions: Sequence[str],
        generation_size: int | None = None,
        n_startup_trials: int | None = None,
        n_ei_candidates: int | None = None,
        multivariate: bool | None = None,
    ) -> None:
        super().__init__(
            space,
            seed=seed,
            directions=directions,
            generation_size=given(generation_size, GENERATION_SIZE),
            first_size=given(generation_size, FIRST_SIZE),
        )
        self.n_startup_trials = given(n_startup_trials, 10)
        self.n_ei_candidates = given(n_ei_candidates, 24)
        self.multivariate = self.n_objectives == 1 if multivariate is None else multivariate
        self._proposed: dict[int, Float64Array2D] = {}
        single = self.n_objectives == 1
        self._n_islands = max(self.generation_size // ISLAND_SIZE, 1) if single else 1
        self._n_seen = 0
        n_elite = N_BELOW if single else N_BELOW_PARETO
        self._all = _Pool(len(space), self.n_objectives, n_elite, N_KEPT)
        p = len(space)
        self._groups = [slice(0, p)] if self.multivariate else [slice(j, j + 1) for j in range(p)]
        self._layouts = [Layout.of(self.encoding, np.arange(g.start, g.stop)) for g in self._groups]
        self._islands = [
            _Pool(len(space), self.n_objectives, n_elite, N_KEPT // self._n_islands) for _ in range(self._n_islands)
        ]

    def propose(self, generation: int) -> Float64Array2D:
        """Return the parameters (m, p) of a generation."""
        # What a ladder takes is compiled with the first proposal, not in the midst of a search.
        _rungs(1)
        before = generation - 1
        n_told = sum(len(told.parameters) for told in self._told.get(before, []))
        if before >= 0 and before not in self._proposed and n_told < self.schedule.size(before):
            # A resumed study was told less than it had proposed: what is in flight is drawn again.
            super().propose(before)
        return super().propose(generation)

    def _absorb(self, generation: int, parameters: Float64Array2D, losses: Float64Array2D) -> None:
        k = len(parameters)
        number = np.arange(self._n_seen, self._n_seen + k)
        key = self.uniforms(generation, k, stream=1)
        rows = np.column_stack([number, key, losses, self.encoding.encode(parameters)])
        self._n_seen += k
        owner = self._owner(generation)[:k]
        if self._grows(generation):
            # The islands share what there is when they begin.
            owner = number % self._n_islands
        self._all.absorb(rows)
        for island, pool in enumerate(self._islands):
            pool.absorb(rows[owner == island])

    def _grows(self, generation: int) -> bool:
        """Return whether a generation is smaller than the later ones."""
        return self.schedule.size(generation) < self.generation_size

    def _owner(self, generation: int) -> Int64Array1D:
        """Return the island (m,) that each place of a generation belongs to, REFINING or ALL where it knows all."""
        m = self.schedule.size(generation)
        owner, n_before = np.arange(m) % self._n_islands, N_BEFORE_REFINING
        if self._grows(generation):
            owner, n_before = np.full(m, ALL), N_BEFORE_REFINING_EARLY if self.n_objectives == 1 else N_BEFORE_REFINING
        if self.schedule.first_trial(generation) >= n_before:
            owner[m - m // 2 :] = REFINING
        return owner

    def settle(self, generation: int, parameters: Float64Array2D) -> None:
        """Take what is run of a generation for what is in flight."""
        self._proposed = {g: x for g, x in self._proposed.items() if g == generation - 1} | {generation: parameters}

    def _draw(self, generation: int) -> Float64Array2D:
        parameters = self._next(generation)
        self.settle(generation, parameters)
        return parameters

    def _next(self, generation: int) -> Float64Array2D:
        m, p = self.schedule.size(generation), len(self.space)
        unit = self.uniforms(generation, m, p)
        if self._n_seen < max(self.n_startup_trials, 1):
            return self.encoding.decode(unit)
        in_flight = self.encoding.encode(self._in_flight(generation))
        owner, owner_before = self._owner(generation), self._owner(generation - 1)[: len(in_flight)]
        draws = [self._uniforms_of(generation, columns) for columns in self._groups]
        for island in np.unique(owner):
            places = np.flatnonzero(owner == island)
            mates = in_flight if island < 0 else in_flight[(owner_before == island) | (owner_before == ALL)]
            pool = self._all if island < 0 else self._islands[island]
            rungs = _rungs(len(places)) if island == REFINING else np.zeros(len(places))
            unit[places] = self._points(pool, mates, rungs, [d[places] for d in draws])
        return self.encoding.decode(unit)

    def _uniforms_of(self, generation: int, columns: slice) -> Float64Array3D:
        """Return what the candidates of a generation are drawn from in some dimensions (m, n_candidates, 1 + q)."""
        shape = self.schedule.size(generation), self.n_ei_candidates, 1 + columns.stop - columns.start
        draws: Float64Array3D = self.uniforms(generation, *shape, stream=2 + columns.start)
        return draws

    def _points(
        self, pool: "_Pool", in_flight: Float64Array2D, rungs: Float64Array1D, draws: list[Float64Array3D]
    ) -> Float64Array2D:
        """Return a point (m, p) for each rung, from uniforms (m, n_candidates, 1 + q) of each group of dimensions."""
        below, above = pool.split()
        n_below, n_above = len(below.unit), len(above.unit)
        weights_below = np.ones(n_below + 1) if self.n_objectives > 1 else kernel_weights(n_below, 1.0)
        # The prior weighs against all the trials that the sample of them stands for.
        weights_above = kernel_weights(n_above, n_above / max(pool.n_seen - n_below, 1))
        unit = np.empty((len(rungs), len(self.space)))
        for columns, layout, drawn in zip(self._groups, self._layouts, draws, strict=True):
            unit[:, columns] = propose_points(
                below.observed(columns, weights_below), above.observed(columns, weights_above), layout,
                np.ascontiguousarray(in_flight[:, columns]), rungs, drawn,
            )  # fmt: skip
        return unit

    def _in_flight(self, generation: int) -> Float64Array2D:
        """Return the parameters of the generation before, not yet learnt from, whether proposed here or told."""
        before = generation - 1
        if before in self._proposed:
            return self._proposed[before]
        return np.concatenate([told.parameters for told in self._told[before]])


@cache
def _rungs(n: int) -> Float64Array1D:
    """Return the widths (n,) of the ladder, evenly spaced in the logarithm."""
    first, last = log(WIDEST_RUNG), log(NARROWEST_RUNG)
    return np.array([exp(first + (last - first) * i / max(n - 1, 1)) for i in range(n)])


class _Sorted:
    """Trials of a pool by number, and their order in each dimension.

    Attributes
    ----------
    number : (n,)
        Ascending.
    unit : (n, p)
        Their points of the unit cube.
    order : (p, n)
        As in `Observed`.
    """

    def __init__(self, number: Float64Array1D, unit: Float64Array2D, order: Int64Array2D) -> None:
        self.number, self.unit, self.order = number, unit, order

    @classmethod
    def empty(cls, p: int) -> "_Sorted":
        return cls(np.empty(0), np.empty((0, p)), np.empty((p, 0), np.int64))

    def moved_to(self, number: Float64Array1D, unit: Float64Array2D) -> "_Sorted":
        """Return other trials, most of them the same, sorted from the order of these."""
        return _Sorted(number, unit, sorted_places(unit, number, self.number, self.order))

    def observed(self, columns: slice, weight: Float64Array1D) -> Observed:
        """Return the dimensions `columns` for a mixture with kernels of these weights (n + 1,)."""
        return Observed(np.ascontiguousarray(self.unit[:, columns]), self.order[columns], weight)


class _Pool:
    """What is kept of a stream of trials: the best in order, and a uniform random sample of the others by number.

    Both are rows of numbers: the trial's number and random key, its losses, its point of the unit cube.
    """

    def __init__(self, p: int, n_objectives: int, n_elite: int, n_kept: int) -> None:
        self.n_elite, self.n_kept = n_elite, n_kept
        self.elite, self.others = np.empty((0, 2 + n_objectives + p)), np.empty((0, 2 + n_objectives + p))
        self.n_seen = 0
        self._first_of_unit = 2 + n_objectives
        self._below, self._above = _Sorted.empty(p), _Sorted.empty(p)

    def absorb(self, rows: Float64Array2D) -> None:
        """Sort further trials into the best and the others."""
        self.n_seen += len(rows)
        ranked = np.concatenate([self.elite, rows])
        ranked = ranked[_order(ranked[:, 2 : self._first_of_unit])]
        self.elite = ranked[: self.n_elite]
        others = np.concatenate([self.others, ranked[self.n_elite :]])
        if len(others) > self.n_kept:
            others = others[np.argsort(others[:, 1], kind="stable")[: self.n_kept]]
        self.others = others[np.argsort(others[:, 0], kind="stable")]

    def split(self) -> tuple[_Sorted, _Sorted]:
        """Return the good trials, min(ceil(n/10), n_elite), and the rest of what is kept."""
        n_below = min(-(-self.n_seen // 10), len(self.elite))
        above = np.concatenate([self.others, self.elite[n_below:]])
        self._below = self._sorted(self._below, self.elite[:n_below])
        self._above = self._sorted(self._above, above)
        return self._below, self._above

    def _sorted(self, last: _Sorted, rows: Float64Array2D) -> _Sorted:
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        return last.moved_to(rows[:, 0].copy(), rows[:, self._first_of_unit :].copy())


def _order(losses: Float64Array2D) -> Int64Array1D:
    """Return the places (n,) of losses (n, n_objectives), best first, ties in the order given."""
    if losses.shape[1] == 1:
        return np.argsort(losses[:, 0], kind="stable")
    rank = non_domination_rank(losses)
    return np.lexsort((-crowding_distance(losses, rank), rank))

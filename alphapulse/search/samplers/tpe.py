"""Tree-structured Parzen estimator: what the good trials have that the others have not."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from alphapulse.numerics import exp, log
from alphapulse.search.samplers._base import HistorySampler, given
from alphapulse.search.samplers._pareto import crowding_distance, non_domination_rank
from alphapulse.search.samplers._parzen import Layout, Mixture, best_candidate, kernel_weights
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D

N_BELOW = 25
"""Most trials that count as good, as Optuna's `default_gamma`."""

N_BELOW_PARETO = 100
"""The same with several objectives; Optuna has no bound there, which would let the cost of a proposal grow."""

N_KEPT = 512
"""Trials kept beside the good ones: beyond, a uniform random sample, so that the cost of a proposal stays flat."""

GENERATION_SIZE = 16
"""As many again are in flight. 32 would save overhead, but cost what a short search lives on, the results of the trials
just before: after 500 trials the best of Hartmann's function is then four times as far off."""

ISLAND_SIZE = 4
"""Proposals of a generation that share a model: a generation of 16 has four islands.

Each island knows its own trials only and settles on a hill of its own, where one fit a generation would settle on the
first; with fewer proposals in flight it also learns more often.
"""

N_BEFORE_REFINING = 500
"""After so many trials half of a generation refines the best of all islands.

Their kernels have a width from a ladder, from Optuna's narrowest (1/27 of the range: its magic clip) to a thousandth;
it finds the summit that many fits would.
"""

WIDEST_RUNG, NARROWEST_RUNG = 0.03, 0.001


class TPESampler(HistorySampler):
    """Optuna's TPE (defaults of Optuna 5) in generations.

    The trials are split into the best min(ceil(n/10), 25) and the others; each group is a mixture of products of
    truncated normals (categorical: of smoothed counts), one kernel a trial and a flat prior kernel. A proposal is the
    one of `n_ei_candidates` draws from the good mixture with the highest ratio of the two densities. Proposals of this
    and the last generation count as bad until their results are learnt (constant liar), so that they spread.

    Where Optuna fits anew before every trial, a generation is divided: with a single objective, islands of
    `ISLAND_SIZE` proposals that learn from their own trials, and, after `N_BEFORE_REFINING` trials, a half that refines
    the best of all.

    With several objectives the good trials are the first in order of non-domination rank, then crowding distance, and
    the dimensions are independent unless `multivariate` says otherwise, as Optuna does.

    Failed trials rank last: they count as bad, where Optuna leaves them out, so that the search keeps away from them.

    Parameters
    ----------
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
            space, seed=seed, directions=directions, generation_size=given(generation_size, GENERATION_SIZE)
        )
        self.n_startup_trials = given(n_startup_trials, 10)
        self.n_ei_candidates = given(n_ei_candidates, 24)
        self.multivariate = self.n_objectives == 1 if multivariate is None else multivariate
        self._proposed: dict[int, Float64Array2D] = {}
        single = self.n_objectives == 1
        self._n_islands = max(self.generation_size // ISLAND_SIZE, 1) if single else 1
        self._n_seen = 0
        n_elite = N_BELOW if single else N_BELOW_PARETO
        self._all = _Pool.empty(len(space), self.n_objectives, n_elite, N_KEPT)
        self._islands = [
            _Pool.empty(len(space), self.n_objectives, n_elite, N_KEPT // self._n_islands)
            for _ in range(self._n_islands)
        ]

    def propose(self, generation: int) -> Float64Array2D:
        """Return the parameters (generation_size, p) of a generation."""
        before = generation - 1
        n_told = sum(len(parameters) for parameters, _ in self._told.get(before, []))
        if before >= 0 and before not in self._proposed and n_told < self.generation_size:
            # A resumed study was told less than it had proposed: what is in flight is drawn again.
            super().propose(before)
        return super().propose(generation)

    def _absorb(self, generation: int, parameters: Float64Array2D, losses: Float64Array2D) -> None:
        k = len(parameters)
        rows = _Rows(
            np.arange(self._n_seen, self._n_seen + k),
            self.encoding.encode(parameters),
            losses,
            self.uniforms(generation, k, stream=1),
        )
        self._n_seen += k
        owner = self._owner(generation)[:k]
        self._all.absorb(rows)
        for island, pool in enumerate(self._islands):
            pool.absorb(rows.take(np.flatnonzero(owner == island)))

    def _owner(self, generation: int) -> Int64Array1D:
        """Return the island (generation_size,) that each place of a generation belongs to, -1 where it refines."""
        m = self.generation_size
        owner = np.arange(m) % self._n_islands
        if generation * m >= N_BEFORE_REFINING:
            owner[m - m // 2 :] = -1
        return owner

    def _draw(self, generation: int) -> Float64Array2D:
        parameters = self._next(generation)
        self._proposed = {g: x for g, x in self._proposed.items() if g == generation - 1} | {generation: parameters}
        return parameters

    def _next(self, generation: int) -> Float64Array2D:
        m, p = self.generation_size, len(self.space)
        unit = self.uniforms(generation, m, p)
        if self._n_seen < max(self.n_startup_trials, 1):
            return self.encoding.decode(unit)
        in_flight = self.encoding.encode(self._in_flight(generation))
        owner, owner_before = self._owner(generation), self._owner(generation - 1)[: len(in_flight)]
        for island in np.unique(owner):
            places = np.flatnonzero(owner == island)
            mates = in_flight if island < 0 else in_flight[owner_before == island]
            pool = self._all if island < 0 else self._islands[island]
            self._propose(generation, places, pool, mates, unit, refining=bool(island < 0))
        return self.encoding.decode(unit)

    def _propose(
        self,
        generation: int,
        places: Int64Array1D,
        pool: "_Pool",
        in_flight: Float64Array2D,
        unit: Float64Array2D,
        *,
        refining: bool,
    ) -> None:
        """Write the proposals of some places to unit (m, p); trials in flight count as bad (constant liar)."""
        below, above = pool.split()
        weights_below = kernel_weights(len(below.number), 1.0)
        if self.n_objectives > 1:
            weights_below[:] = 1.0
        # The prior weighs against all the trials that the sample of them stands for.
        weights_above = kernel_weights(len(above.number), len(above.number) / max(pool.n_seen - len(below.number), 1))
        p = len(self.space)
        for group in [np.arange(p)] if self.multivariate else [np.array([j]) for j in range(p)]:
            columns = slice(int(group[0]), int(group[-1]) + 1)
            layout, plain = Layout.of(self.encoding, group), np.zeros(len(group))
            shape = self.generation_size, self.n_ei_candidates, 1 + len(group)
            draws = self.uniforms(generation, *shape, stream=2 + columns.start)
            room = len(in_flight) + len(places)
            bad = Mixture.fit(above.unit[:, columns], weights_above, layout, plain, room=room)
            n_bad = len(weights_above)
            for point in in_flight[:, columns]:
                bad.add(n_bad, point)
                n_bad += 1
            good = Mixture.fit(below.unit[:, columns], weights_below, layout, plain)
            for i, place in enumerate(places):
                if refining:
                    widths = np.maximum(_rung(i, len(places)), layout.narrowest)
                    good = Mixture.fit(below.unit[:, columns], weights_below, layout, widths)
                unit[place, columns] = best_candidate(good, bad.density(n_bad), draws[place])
                bad.add(n_bad, unit[place, columns])
                n_bad += 1

    def _in_flight(self, generation: int) -> Float64Array2D:
        """Return the parameters of the generation before, not yet learnt from, whether proposed here or told."""
        before = generation - 1
        if before in self._proposed:
            return self._proposed[before]
        return np.concatenate([parameters for parameters, _ in self._told[before]])


def _rung(i: int, n: int) -> float:
    """Return the width of kernel i of n of the ladder, evenly spaced in the logarithm."""
    return exp(log(WIDEST_RUNG) + (log(NARROWEST_RUNG) - log(WIDEST_RUNG)) * i / max(n - 1, 1))


class _Rows:
    """Trials as columns: number (n,), unit (n, p), losses (n, n_objectives), random key (n,)."""

    def __init__(self, number: Int64Array1D, unit: Float64Array2D, losses: Float64Array2D, key: Float64Array1D) -> None:
        self.number, self.unit, self.losses, self.key = number, unit, losses, key

    @classmethod
    def empty(cls, p: int, n_objectives: int) -> "_Rows":
        return cls(np.empty(0, np.int64), np.empty((0, p)), np.empty((0, n_objectives)), np.empty(0))

    @classmethod
    def join(cls, a: "_Rows", b: "_Rows") -> "_Rows":
        return cls(
            np.concatenate([a.number, b.number]), np.concatenate([a.unit, b.unit]),
            np.concatenate([a.losses, b.losses]), np.concatenate([a.key, b.key]),
        )  # fmt: skip

    def take(self, places: Int64Array1D) -> "_Rows":
        return _Rows(self.number[places], self.unit[places], self.losses[places], self.key[places])


class _Pool:
    """What is kept of a stream of trials: the best in order, and a uniform random sample of the others by number."""

    def __init__(self, elite: _Rows, others: _Rows, n_elite: int, n_kept: int) -> None:
        self.elite, self.others, self.n_elite, self.n_kept = elite, others, n_elite, n_kept
        self.n_seen = 0

    @classmethod
    def empty(cls, p: int, n_objectives: int, n_elite: int, n_kept: int) -> "_Pool":
        return cls(_Rows.empty(p, n_objectives), _Rows.empty(p, n_objectives), n_elite, n_kept)

    def absorb(self, rows: _Rows) -> None:
        """Sort further trials into the best and the others."""
        self.n_seen += len(rows.number)
        ranked = _Rows.join(self.elite, rows)
        ranked = ranked.take(_order(ranked.losses))
        self.elite = ranked.take(np.arange(min(self.n_elite, len(ranked.number))))
        rest = _Rows.join(self.others, ranked.take(np.arange(self.n_elite, len(ranked.number))))
        if len(rest.number) > self.n_kept:
            rest = rest.take(np.argsort(rest.key, kind="stable")[: self.n_kept])
        self.others = rest.take(np.argsort(rest.number, kind="stable"))

    def split(self) -> tuple[_Rows, _Rows]:
        """Return the good trials, min(ceil(n/10), n_elite), and the rest of what is kept, each by number."""
        n_below = min(-(-self.n_seen // 10), len(self.elite.number))
        below = self.elite.take(np.arange(n_below))
        above = _Rows.join(self.others, self.elite.take(np.arange(n_below, len(self.elite.number))))
        return (
            below.take(np.argsort(below.number, kind="stable")),
            above.take(np.argsort(above.number, kind="stable")),
        )


def _order(losses: Float64Array2D) -> Int64Array1D:
    """Return the places (n,) of losses (n, n_objectives), best first, ties in the order given."""
    if losses.shape[1] == 1:
        return np.argsort(losses[:, 0], kind="stable")
    rank = non_domination_rank(losses)
    return np.lexsort((-crowding_distance(losses, rank), rank))

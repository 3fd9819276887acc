"""Tree-structured Parzen estimator: what the good trials have that the others have not."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from alphapulse.compiling import jit
from alphapulse.numerics import exp, log, normal_cdf, normal_quantile
from alphapulse.sweep.samplers._base import HistorySampler, given
from alphapulse.sweep.samplers._encoding import CATEGORICAL, STEPPED, Encoding
from alphapulse.sweep.samplers._pareto import crowding_distance, non_domination_rank
from alphapulse.sweep.space import SearchSpace
from alphapulse.typing import Float64Array1D, Float64Array2D, Int8Array1D, Int64Array1D

N_BELOW = 25
"""Most trials that count as good, as Optuna's `default_gamma`."""

N_BELOW_PARETO = 100
"""The same with several objectives; Optuna has no bound there, which would let the cost of a proposal grow."""

N_KEPT = 512
"""Trials kept beside the good ones: beyond, a uniform random sample, so that the cost of a proposal stays flat."""

TABLE_SIZE = 64
"""Stepped dimensions up to this size have the exact mass of each value in each kernel."""

N_BEFORE_REFINING = 500
REFINING_SHARE = 2
"""After so many trials one proposal in two refines: its kernels have a width from a ladder of widths.

Optuna's magic clip keeps kernels wider than 1/27 of the range, and its precision comes from many fits; with one fit
a generation the ladder, from that width down to a thousandth, takes their place.
"""

WIDEST_RUNG, NARROWEST_RUNG = 0.03, 0.001

TINY = 1e-300


class TPESampler(HistorySampler):
    """Optuna's TPE (defaults of Optuna 5) with one fit a generation.

    The trials are split into the best min(ceil(n/10), 25) and the others; each group is a mixture of products of
    truncated normals (categorical: of smoothed counts), one kernel a trial and a flat prior kernel. A proposal is the
    one of `n_ei_candidates` draws from the good mixture with the highest ratio of the two densities; the proposals of
    a generation share the mixtures and draw candidates of their own; after 500 trials half of them refine (see
    `REFINING_SHARE`), where Optuna refines by fitting anew before every trial.

    With several objectives the good trials are the first in order of non-domination rank, then crowding distance, and
    the dimensions are independent unless `multivariate` says otherwise, as Optuna does.

    Failed trials rank last: they count as bad, where Optuna leaves them out, so that the search keeps away from them.

    Parameters
    ----------
    n_startup_trials : int, default 10
        Random trials before the first fit; the lag makes it two generations at least.
    n_ei_candidates : int, default 24
        Draws a proposal.
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
        super().__init__(space, seed=seed, directions=directions, generation_size=given(generation_size, 32))
        self.n_startup_trials = given(n_startup_trials, 10)
        self.n_ei_candidates = given(n_ei_candidates, 24)
        self.multivariate = self.n_objectives == 1 if multivariate is None else multivariate
        p = len(space)
        self._n_seen = 0
        self._n_elite = N_BELOW if self.n_objectives == 1 else N_BELOW_PARETO
        # Elite in order of rank; the others in the order of their trials, with the key that decides who stays.
        self._elite = _Rows.empty(p, self.n_objectives)
        self._others = _Rows.empty(p, self.n_objectives)

    def _absorb(self, generation: int, parameters: Float64Array2D, losses: Float64Array2D) -> None:
        k = len(parameters)
        fresh = _Rows(
            np.arange(self._n_seen, self._n_seen + k),
            self.encoding.encode(parameters),
            losses,
            self.uniforms(generation, k, stream=1),
        )
        self._n_seen += k
        ranked = _Rows.join(self._elite, fresh)
        ranked = ranked.take(_order(ranked.losses))
        self._elite = ranked.take(np.arange(min(self._n_elite, len(ranked.number))))
        rest = _Rows.join(self._others, ranked.take(np.arange(self._n_elite, len(ranked.number))))
        if len(rest.number) > N_KEPT:
            rest = rest.take(np.argsort(rest.key, kind="stable")[:N_KEPT])
        self._others = rest.take(np.argsort(rest.number, kind="stable"))

    def _draw(self, generation: int) -> Float64Array2D:
        m, p = self.generation_size, len(self.space)
        if self._n_seen < self.n_startup_trials:
            return self.encoding.decode(self.uniforms(generation, m, p))
        n_below = min(-(-self._n_seen // 10), self._n_elite)
        below = self._elite.take(np.arange(min(n_below, len(self._elite.number))))
        above = _Rows.join(self._others, self._elite.take(np.arange(len(below.number), len(self._elite.number))))
        below = below.take(np.argsort(below.number, kind="stable"))
        above = above.take(np.argsort(above.number, kind="stable"))
        weights_below = _weights(len(below.number), 1.0)
        if self.n_objectives > 1:
            weights_below[:] = 1.0
        # The prior weighs against all the trials that the sample of them stands for.
        weights_above = _weights(len(above.number), len(above.number) / max(self._n_seen - len(below.number), 1))
        groups = [np.arange(p)] if self.multivariate else [np.array([j]) for j in range(p)]
        n_refining = m // REFINING_SHARE if self._n_seen >= N_BEFORE_REFINING else 0
        n_plain = m - n_refining
        rungs = [(slice(0, n_plain), 0.0)]
        rungs += [(slice(n_plain + i, n_plain + i + 1), _rung(i, n_refining)) for i in range(n_refining)]
        unit = np.empty((m, p))
        for group in groups:
            draws = self.uniforms(generation, m, self.n_ei_candidates, 1 + len(group), stream=2 + int(group[0]))
            layout = _Layout.of(self.encoding, group)
            shape = layout.kind, layout.size, layout.edges, layout.offsets
            bad = _fit(np.ascontiguousarray(above.unit[:, group]), weights_above, *shape, np.zeros(len(group)))
            for part, width in rungs:
                widths = np.maximum(width, layout.narrowest) if width else np.zeros(len(group))
                good = _fit(np.ascontiguousarray(below.unit[:, group]), weights_below, *shape, widths)
                unit[part, group[0] : group[-1] + 1] = _best_candidates(good, bad, *shape, draws[part])
        return self.encoding.decode(unit)


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


class _Layout:
    """Where the exact masses of a group of dimensions lie.

    kind (q,) and size (q,) as in `Encoding`, size 0 where the density is used; edges (cells + q,) of the tabled
    cells in the unit interval, offsets (q,) of the first of each dimension, among edges; narrowest (q,), half a cell:
    below it a kernel would only propose its own centre again.
    """

    def __init__(
        self,
        kind: Int8Array1D,
        size: Int64Array1D,
        edges: Float64Array1D,
        offsets: Int64Array1D,
        narrowest: Float64Array1D,
    ) -> None:
        self.kind, self.size, self.edges, self.offsets, self.narrowest = kind, size, edges, offsets, narrowest

    @classmethod
    def of(cls, encoding: Encoding, group: Int64Array1D) -> "_Layout":
        size = encoding.size[group].copy()
        narrowest = np.array([min(0.5 / n, 1.0) if n else 0.0 for n in size])
        edges: list[Float64Array1D] = []
        offsets = np.zeros(len(group), np.int64)
        for i, j in enumerate(group):
            offsets[i] = sum(len(e) for e in edges)
            if encoding.kind[j] == STEPPED and size[i] > TABLE_SIZE:
                size[i] = 0
            if encoding.kind[j] == CATEGORICAL or size[i] == 0:
                edges.append(np.zeros(size[i] + 1))
                continue
            at = encoding.low[j] + (np.arange(size[i] + 1) - 0.5) * encoding.step[j]
            if encoding.logarithmic[j]:
                at = np.array([log(float(x)) for x in at])
            edges.append((at - encoding.start[j]) / encoding.width[j])
        return cls(encoding.kind[group], size, np.concatenate(edges), offsets, narrowest)


def _order(losses: Float64Array2D) -> Int64Array1D:
    """Return the places (n,) of losses (n, n_objectives), best first, ties in the order given."""
    if losses.shape[1] == 1:
        return np.argsort(losses[:, 0], kind="stable")
    rank = non_domination_rank(losses)
    return np.lexsort((-crowding_distance(losses, rank), rank))


def _weights(n: int, prior: float) -> Float64Array1D:
    """Return the weights (n + 1,) of trials in order and the prior: 1/n to 1, flat over the last 25 (Bergstra 2013)."""
    if n < 25:
        return np.append(np.ones(n), prior)
    ramp = 1.0 / n + (1.0 - 1.0 / n) * np.arange(n - 25) / max(n - 26, 1)
    return np.concatenate([ramp, np.ones(25), [prior]])


def _fit(unit: Any, weights: Any, kind: Any, size: Any, edges: Any, offsets: Any, widths: Any) -> Any:
    """Return the mixture over trials unit (n, q) and the prior: see `_mixture`."""
    return _mixture(unit, np.argsort(unit, axis=0, kind="stable"), weights, kind, size, edges, offsets, widths)


@jit
def _mixture(unit: Any, order: Any, weights: Any, kind: Any, size: Any, edges: Any, offsets: Any, widths: Any) -> Any:
    """Return the mixture over n trials and the prior; order (n, q) sorts each column of unit.

    A kernel's sigma is its farther neighbour's distance, within [1 / min(100, n + 2), 1], the magic clip, where widths
    (q,) is 0, else within [width, 3 width]; the prior's is 1.

    Centres (n+1, q), sigma (n+1, q), cdf at 0 and mass in [0, 1] of the untruncated normals (n+1, q), log weight with
    the normalisation (n+1,), log masses of the tabled cells (n_edges, n+1), probability of each kernel (n+1,).
    """
    n, q = unit.shape
    centre, sigma = np.full((n + 1, q), 0.5), np.ones((n + 1, q))
    below, inside = np.zeros((n + 1, q)), np.ones((n + 1, q))
    table = np.ones((edges.size, n + 1))
    probability, constant = np.ones(n + 1), np.empty(n + 1)
    for j in range(q):
        least = widths[j] if widths[j] > 0.0 else 1.0 / min(100.0, n + 2.0)
        most = min(3.0 * widths[j], 1.0) if widths[j] > 0.0 else 1.0
        for i in range(n):
            x = unit[order[i, j], j]
            left = x - (unit[order[i - 1, j], j] if i > 0 else 0.0)
            right = (unit[order[i + 1, j], j] if i < n - 1 else 1.0) - x
            # The ends of the range are no neighbours of the outermost trials (consider_endpoints=False).
            if n >= 2:
                left = right if i == 0 else left
                right = left if i == n - 1 else right
            centre[order[i, j], j] = x
            sigma[order[i, j], j] = min(max(left, right, least), most)
    probability[:] = weights
    total = 0.0
    for k in range(n + 1):
        total += probability[k]
    for k in range(n + 1):
        probability[k] /= total
        scale = probability[k]
        for j in range(q):
            first = offsets[j]
            if kind[j] == 0:
                # Counts smoothed by the prior weight, spread over the kernels as Optuna does.
                prior = 1.0 / (n + 1)
                seen = min(int(centre[k, j] * size[j]), size[j] - 1) if k < n else -1
                for c in range(size[j]):
                    counted = prior + (1.0 if c == seen else 0.0)
                    table[first + c, k] = counted / (size[j] * prior + (1.0 if k < n else 0.0))
                continue
            left = 0.0
            # One call for the two ends and the edges of the cells: inlined at each call, it is slow to compile.
            for c in range(2 if size[j] == 0 else size[j] + 3):
                at = edges[first + c - 2] if c >= 2 else np.float64(c)
                right = normal_cdf((at - centre[k, j]) / sigma[k, j])
                if c == 0:
                    below[k, j] = right
                elif c == 1:
                    inside[k, j] = right - below[k, j]
                elif c > 2:
                    table[first + c - 3, k] = max(right - left, TINY) / inside[k, j]
                left = right
            if size[j] == 0:
                scale /= sigma[k, j] * inside[k, j]
        constant[k] = log(scale)
    for c in range(edges.size):
        for k in range(n + 1):
            table[c, k] = log(table[c, k])
    return centre, sigma, below, inside, constant, table, probability


@jit
def _log_density(
    x: Any, cell: Any, size: Any, offsets: Any, centre: Any, inverse: Any, constant: Any, table: Any, scratch: Any
) -> Any:
    """Return the logarithm of the mixture at one point: x (q,) where dense, cell (q,) where tabled."""
    n, q = centre.shape
    for k in range(n):
        scratch[k] = constant[k]
    for j in range(q):
        if size[j] > 0:
            place = offsets[j] + cell[j]
            for k in range(n):
                scratch[k] += table[place, k]
        else:
            for k in range(n):
                z = (x[j] - centre[k, j]) * inverse[k, j]
                scratch[k] -= 0.5 * z * z
    peak = scratch[0]
    for k in range(1, n):
        peak = max(peak, scratch[k])
    total = 0.0
    for k in range(n):
        total += exp(scratch[k] - peak)
    return peak + log(total)


@jit
def _best_candidates(good: Any, bad: Any, kind: Any, size: Any, edges: Any, offsets: Any, draws: Any) -> Any:
    """Return the proposals (m, q) in the unit cube: of each row of draws (m, n_candidates, 1+q) the best ratio."""
    m, n_candidates, _ = draws.shape
    q = kind.size
    centre, sigma, below, inside, constant, table, probability = good
    bad_centre, bad_sigma, _, _, bad_constant, bad_table, _ = bad
    inverse, bad_inverse = 1.0 / sigma, 1.0 / bad_sigma
    n = centre.shape[0]
    scratch = np.empty(max(n, bad_centre.shape[0]))
    out = np.empty((m, q))
    x, cell = np.empty(q), np.zeros(q, np.int64)
    for i in range(m):
        best = -np.inf
        for c in range(n_candidates):
            k, passed = 0, probability[0]
            while k < n - 1 and draws[i, c, 0] >= passed:
                k += 1
                passed += probability[k]
            for j in range(q):
                u, first = draws[i, c, 1 + j], offsets[j]
                if kind[j] == 0:
                    place, mass = 0, exp(table[first, k])
                    while place < size[j] - 1 and u >= mass:
                        place += 1
                        mass += exp(table[first + place, k])
                    cell[j], x[j] = place, (place + 0.5) / size[j]
                    continue
                x[j] = centre[k, j] + sigma[k, j] * normal_quantile(below[k, j] + u * inside[k, j])
                x[j] = min(max(x[j], 0.0), 1.0)
                if size[j] > 0:
                    place = 0
                    while place < size[j] - 1 and x[j] >= edges[first + place + 1]:
                        place += 1
                    cell[j], x[j] = place, 0.5 * (edges[first + place] + edges[first + place + 1])
            score = _log_density(x, cell, size, offsets, centre, inverse, constant, table, scratch)
            score -= _log_density(x, cell, size, offsets, bad_centre, bad_inverse, bad_constant, bad_table, scratch)
            if score > best or c == 0:
                best = score
                out[i] = x
    return out

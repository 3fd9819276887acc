"""Parzen estimator: a mixture of one kernel a trial and a flat prior, over a product of dimensions."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphapulse.compiling import jit
from alphapulse.numerics import exp, log, normal_cdf, normal_quantile
from alphapulse.search.samplers._encoding import CATEGORICAL, STEPPED, Encoding
from alphapulse.typing import Float64Array1D, Float64Array2D, Int8Array1D, Int64Array1D

TABLE_SIZE = 64
"""Stepped dimensions up to this size have the exact mass of each value in each kernel."""

TINY = 1e-300


class Layout:
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

    @property
    def shape(self) -> tuple[Int8Array1D, Int64Array1D, Float64Array1D, Int64Array1D]:
        """Return kind, size, edges and offsets."""
        return self.kind, self.size, self.edges, self.offsets

    @classmethod
    def of(cls, encoding: Encoding, group: Int64Array1D) -> "Layout":
        """Return the layout of the dimensions `group` (q,)."""
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


def kernel_weights(n: int, prior: float) -> Float64Array1D:
    """Return the weights (n + 1,) of trials in order and the prior: 1/n to 1, flat over the last 25 (Bergstra 2013)."""
    if n < 25:
        return np.append(np.ones(n), prior)
    ramp = 1.0 / n + (1.0 - 1.0 / n) * np.arange(n - 25) / max(n - 26, 1)
    return np.concatenate([ramp, np.ones(25), [prior]])


@dataclass(frozen=True, eq=False)
class Mixture:
    """Kernels over q dimensions of the unit cube, with room for more.

    A numeric kernel is a normal cut to [0, 1], a categorical one the smoothed count of its trial.

    Attributes
    ----------
    layout : Layout
    columns : (n_trials, q)
        Coordinates of the fitted trials, each column sorted.
    centre, sigma, below, inside : (capacity, q)
        Parameters of the normals; below and inside are their cdf at 0 and their mass in [0, 1] before the cut.
    constant : (capacity,)
        Logarithm of weight and normalisation.
    table : (n_edges, capacity)
        Log masses of the tabled cells: a row a cell, where the kernels lie side by side.
    weight : (n,)
        Weights of the fitted kernels, the prior last; they sum to 1.
    """

    layout: Layout
    columns: Float64Array2D
    centre: Float64Array2D
    sigma: Float64Array2D
    below: Float64Array2D
    inside: Float64Array2D
    constant: Float64Array1D
    table: Float64Array2D
    weight: Float64Array1D

    @classmethod
    def fit(
        cls, unit: Float64Array2D, weights: Float64Array1D, layout: Layout, widths: Float64Array1D, room: int = 0
    ) -> "Mixture":
        """Return the mixture over trials unit (n, q) with weights (n + 1,), the prior's last.

        A kernel's sigma is its farther neighbour's distance, within [1 / min(100, n + 2), 1], the magic clip, where
        widths (q,) is 0, else within [width, 3 width]; the prior's is 1. `room` kernels may be added later.
        """
        n, q = unit.shape
        order = np.argsort(unit, axis=0, kind="stable")
        sigma = _bandwidths(unit, order, widths)
        centre = np.concatenate([unit, np.full((1, q), 0.5)])
        weight = weights / _total(weights)
        capacity = n + 1 + room
        mixture = cls(
            layout, np.take_along_axis(unit, order, axis=0), np.zeros((capacity, q)), np.ones((capacity, q)),
            np.zeros((capacity, q)), np.ones((capacity, q)), np.zeros(capacity),
            np.zeros((layout.edges.size, capacity)), weight,
        )  # fmt: skip
        mixture._write(0, centre, sigma, weight, 1.0 / (n + 1), n)
        return mixture

    def add(self, place: int, point: Float64Array1D) -> None:
        """Write the kernel of another trial at point (q,), with the weight of a recent one, to a place in the room.

        The weights then sum to more than 1: a constant, which no comparison of points sees.
        """
        n = len(self.columns)
        sigma = _bandwidth_at(self.columns, point)
        weight = self.weight[-2:-1] if n else self.weight
        self._write(place, point[None], sigma[None], weight, 1.0 / (n + 1), 1)

    def _write(
        self, first: int, centre: Float64Array2D, sigma: Float64Array2D, weight: Float64Array1D, prior: float, n: int
    ) -> None:
        _kernels(
            first, centre, sigma, weight, prior, n, *self.layout.shape, self.centre, self.sigma, self.below,
            self.inside, self.constant, self.table,
        )  # fmt: skip

    def density(self, n: int) -> tuple[Any, ...]:
        """Return what `log_density` reads of the first n kernels."""
        return n, self.centre, 1.0 / self.sigma, self.constant, self.table


@jit
def _total(weights: Any) -> Any:
    total = 0.0
    for k in range(weights.size):
        total += weights[k]
    return total


@jit
def _bandwidths(unit: Any, order: Any, widths: Any) -> Any:
    """Return sigma (n + 1, q) of trials unit (n, q) and the prior; order (n, q) sorts each column."""
    n, q = unit.shape
    sigma = np.ones((n + 1, q))
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
            sigma[order[i, j], j] = min(max(left, right, least), most)
    return sigma


@jit
def _bandwidth_at(columns: Any, point: Any) -> Any:
    """Return sigma (q,) of one more trial among sorted columns (n, q), by the rule of `_bandwidths`."""
    n, q = columns.shape
    sigma = np.ones(q)
    for j in range(q):
        first, last = 0, n
        while first < last:
            middle = (first + last) // 2
            if columns[middle, j] < point[j]:
                first = middle + 1
            else:
                last = middle
        left = point[j] - (columns[first - 1, j] if first > 0 else 0.0)
        right = (columns[first, j] if first < n else 1.0) - point[j]
        if n >= 1:
            left = right if first == 0 else left
            right = left if first == n else right
        sigma[j] = min(max(left, right, 1.0 / min(100.0, n + 2.0)), 1.0)
    return sigma


@jit
def _kernels(
    first: Any, new_centre: Any, new_sigma: Any, weight: Any, prior: Any, n_trials: Any, kind: Any, size: Any,
    edges: Any, offsets: Any, centre: Any, sigma: Any, below: Any, inside: Any, constant: Any, table: Any,
) -> None:  # fmt: skip
    """Write kernels to the arrays of a `Mixture` from place `first` on; those from the n_trials-th on are the prior."""
    m, q = new_centre.shape
    for i in range(m):
        k = first + i
        scale = weight[i]
        for j in range(q):
            start = offsets[j]
            if kind[j] == 0:
                # Counts smoothed by the prior weight, spread over the kernels as Optuna does.
                seen = min(int(new_centre[i, j] * size[j]), size[j] - 1) if i < n_trials else -1
                for c in range(size[j]):
                    counted = prior + (1.0 if c == seen else 0.0)
                    table[start + c, k] = counted / (size[j] * prior + (1.0 if i < n_trials else 0.0))
            else:
                centre[k, j], sigma[k, j] = new_centre[i, j], new_sigma[i, j]
                left = 0.0
                # One call for the ends and the edges of the cells: inlined at each call, it is slow to compile.
                for c in range(2 if size[j] == 0 else size[j] + 3):
                    at = edges[start + c - 2] if c >= 2 else np.float64(c)
                    right = normal_cdf((at - centre[k, j]) / sigma[k, j])
                    if c == 0:
                        below[k, j] = right
                    elif c == 1:
                        inside[k, j] = right - below[k, j]
                    elif c > 2:
                        table[start + c - 3, k] = max(right - left, TINY) / inside[k, j]
                    left = right
                if size[j] == 0:
                    scale /= sigma[k, j] * inside[k, j]
            for c in range(size[j]):
                table[start + c, k] = log(table[start + c, k])
        constant[k] = log(scale)


@jit
def log_density(
    x: Any, cell: Any, size: Any, offsets: Any, n: Any, centre: Any, inverse: Any, constant: Any, table: Any,
    scratch: Any,
) -> Any:  # fmt: skip
    """Return the logarithm of the mixture at one point: x (q,) where dense, cell (q,) where tabled.

    The factor sqrt(2 pi) of each dense dimension is left out.
    """
    for k in range(n):
        scratch[k] = constant[k]
    for j in range(x.size):
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


def best_candidate(good: Mixture, bad: tuple[Any, ...], draws: Float64Array2D) -> Float64Array1D:
    """Return the point (q,) with the highest ratio of good to bad among one draw a row of draws (n, 1 + q)."""
    layout = good.layout
    point: Float64Array1D = _best_candidate(
        layout.shape, good.weight, good.sigma, good.below, good.inside, good.density(len(good.weight)), bad, draws
    )
    return point


@jit
def _best_candidate(
    shape: Any, weight: Any, sigma: Any, below: Any, inside: Any, good: Any, bad: Any, draws: Any
) -> Any:
    kind, size, edges, offsets = shape
    n, centre, inverse, constant, table = good
    n_bad, bad_centre, bad_inverse, bad_constant, bad_table = bad
    scratch = np.empty(max(n, n_bad))
    q = kind.size
    out, x, cell = np.zeros(q), np.empty(q), np.zeros(q, np.int64)
    best = -np.inf
    for c in range(draws.shape[0]):
        k, passed = 0, weight[0]
        while k < n - 1 and draws[c, 0] >= passed:
            k += 1
            passed += weight[k]
        for j in range(q):
            u, first = draws[c, 1 + j], offsets[j]
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
        score = log_density(x, cell, size, offsets, n, centre, inverse, constant, table, scratch)
        score -= log_density(x, cell, size, offsets, n_bad, bad_centre, bad_inverse, bad_constant, bad_table, scratch)
        if score > best or c == 0:
            best = score
            out[:] = x
    return out

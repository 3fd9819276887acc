"""Parzen estimator: a mixture of one kernel a trial and a flat prior, over a product of dimensions."""

from typing import Any, NamedTuple

import numpy as np

from alphapulse.compiling import jit, jit_inside, jit_inside_allocating
from alphapulse.numerics import exp, log, normal_cdf
from alphapulse.search.samplers._encoding import CATEGORICAL, STEPPED, Encoding
from alphapulse.typing import Float64Array1D, Float64Array2D, Float64Array3D, Int8Array1D, Int64Array1D, Int64Array2D

TABLE_SIZE = 64
"""Stepped dimensions up to this size have the exact mass of each value in each kernel."""

N_REMEMBERED = 256
"""Kernels of a tabled dimension whose masses are remembered: most trials share a value, and with it a kernel."""

TINY = 1e-300


class Layout(NamedTuple):
    """Where the exact masses of a group of q dimensions lie.

    Attributes
    ----------
    kind, size : (q,)
        As in `Encoding`, size 0 where the density is used.
    edges : (n_edges,)
        Of the tabled cells in the unit interval, one more than cells a dimension.
    offsets : (q,)
        Of the first of each dimension, among edges.
    narrowest : (q,)
        Half a cell: below it a kernel would only propose its own centre again.
    known : (q, N_REMEMBERED, 4)
        Centre, sigma, `below` and `inside` of kernels of tabled dimensions, computed for any mixture of this layout;
        sigma is 0 in an empty slot. Centre and sigma are all that their masses depend on: it changes no bits.
    known_masses : (N_REMEMBERED, n_edges)
        Log masses of their cells.
    """

    kind: Int8Array1D
    size: Int64Array1D
    edges: Float64Array1D
    offsets: Int64Array1D
    narrowest: Float64Array1D
    known: Float64Array3D
    known_masses: Float64Array2D

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
        joined = np.concatenate(edges)
        known, masses = np.zeros((len(group), N_REMEMBERED, 4)), np.zeros((N_REMEMBERED, joined.size))
        return cls(encoding.kind[group], size, joined, offsets, narrowest, known, masses)


class Observed(NamedTuple):
    """Trials that a mixture is fitted to.

    Attributes
    ----------
    unit : (n, q)
        Points of the unit cube, in order of their number.
    order : (q, n)
        Places of the trials, sorted by each coordinate; of equal ones the earlier comes first.
    weight : (n + 1,)
        Of the kernels, the prior's last.
    """

    unit: Float64Array2D
    order: Int64Array2D
    weight: Float64Array1D


class Mixture(NamedTuple):
    """Kernels over q dimensions of the unit cube, with room for more.

    A numeric kernel is a normal cut to [0, 1], a categorical one the smoothed count of its trial. The kernels of a
    dimension lie side by side, so that loops over them vectorise.

    Attributes
    ----------
    columns : (q, n)
        Coordinates of the fitted trials, sorted.
    centre, sigma, inverse, below, inside : (q, capacity)
        Parameters of the normals: inverse is 1 / sigma, below and inside are their cdf at 0 and their mass in [0, 1]
        before the cut.
    constant : (capacity,)
        Logarithm of weight and normalisation.
    table : (n_edges, capacity)
        Log masses of the tabled cells, a row a cell.
    weight : (n + 1,)
        Weights of the fitted kernels, the prior last; they sum to 1.
    """

    columns: Float64Array2D
    centre: Float64Array2D
    sigma: Float64Array2D
    inverse: Float64Array2D
    below: Float64Array2D
    inside: Float64Array2D
    constant: Float64Array1D
    table: Float64Array2D
    weight: Float64Array1D


def kernel_weights(n: int, prior: float) -> Float64Array1D:
    """Return the weights (n + 1,) of trials in order and the prior: 1/n to 1, flat over the last 25 (Bergstra 2013)."""
    weights = np.ones(n + 1)
    if n >= 25:
        weights[: n - 25] = 1.0 / n + (1.0 - 1.0 / n) * np.arange(n - 25) / max(n - 26, 1)
    weights[n] = prior
    return weights


@jit
def sorted_places(unit: Any, number: Any, last_number: Any, last_order: Any) -> Any:
    """Return the places (p, n) of trials unit (n, p), sorted by each coordinate; of equal ones the earlier is first.

    Parameters
    ----------
    unit : (n, p)
    number : (n,)
        Of the trials, ascending.
    last_number, last_order : (n_last,), (p, n_last)
        The same of other trials: the more of them are the same, the less is left to sort.
    """
    n, p = unit.shape
    place_of = np.full(last_number.size, -1)
    fresh = np.empty(n, np.int64)
    n_fresh, i = 0, 0
    for k in range(n):
        while i < last_number.size and last_number[i] < number[k]:
            i += 1
        if i < last_number.size and last_number[i] == number[k]:
            place_of[i] = k
        else:
            fresh[n_fresh] = k
            n_fresh += 1
    order = np.empty((p, n), np.int64)
    for j in range(p):
        places, m = order[j], 0
        for i in range(last_number.size):
            if place_of[last_order[j, i]] >= 0:
                places[m] = place_of[last_order[j, i]]
                m += 1
        for i in range(n_fresh):
            place = fresh[i]
            x, k = unit[place, j], m + i
            while k > 0 and (unit[places[k - 1], j] > x or (unit[places[k - 1], j] == x and places[k - 1] > place)):
                places[k] = places[k - 1]
                k -= 1
            places[k] = place
    return order


@jit_inside_allocating
def fit(observed: Any, layout: Any, widths: Any, capacity: Any) -> Any:
    """Return the mixture over n observed trials, with room for `capacity` kernels, n + 1 at least.

    A kernel's sigma is its farther neighbour's distance, within [1 / min(100, n + 2), 1], the magic clip, where
    widths (q,) is 0, else within [width, 3 width]; the prior's is 1.
    """
    unit, order, weights = observed
    n, q = unit.shape
    total = 0.0
    for k in range(weights.size):
        total += weights[k]
    columns = np.empty((q, n))
    for j in range(q):
        for i in range(n):
            columns[j, i] = unit[order[j, i], j]
    mixture = Mixture(
        columns, np.empty((q, capacity)), np.empty((q, capacity)), np.empty((q, capacity)), np.empty((q, capacity)),
        np.empty((q, capacity)), np.empty(capacity), np.empty((layout.edges.size, capacity)), np.empty(n + 1),
    )  # fmt: skip
    for k in range(n + 1):
        mixture.weight[k] = weights[k] / total
        mixture.constant[k] = mixture.weight[k]
    _bandwidths(columns, order, widths, mixture.sigma)
    for j in range(q):
        for k in range(n):
            mixture.centre[j, k] = unit[k, j]
        mixture.centre[j, n] = 0.5
    # A literal 0 would be a type of its own, and the function compiled twice.
    _write(mixture, layout, np.int64(0), n + 1)
    return mixture


@jit_inside_allocating
def add(mixture: Any, layout: Any, place: Any, point: Any) -> None:
    """Write the kernel of another trial at point (q,), with the weight of a recent one, to a place in the room.

    The weights then sum to more than 1: a constant, which no comparison of points sees.
    """
    n = mixture.columns.shape[1]
    for j in range(point.size):
        mixture.centre[j, place] = point[j]
    _bandwidth_at(mixture.columns, point, mixture.sigma[:, place])
    mixture.constant[place] = mixture.weight[max(n - 1, 0)]
    _write(mixture, layout, place, place + 1)


@jit_inside
def _bandwidths(columns: Any, order: Any, widths: Any, sigma: Any) -> None:
    """Write sigma (q, n + 1 or more) of trials and the prior from sorted columns (q, n) of trials order (q, n)."""
    q, n = columns.shape
    for j in range(q):
        least = widths[j] if widths[j] > 0.0 else 1.0 / min(100.0, n + 2.0)
        most = min(3.0 * widths[j], 1.0) if widths[j] > 0.0 else 1.0
        for i in range(n):
            x = columns[j, i]
            left = x - (columns[j, i - 1] if i > 0 else 0.0)
            right = (columns[j, i + 1] if i < n - 1 else 1.0) - x
            # The ends of the range are no neighbours of the outermost trials (consider_endpoints=False).
            if n >= 2:
                left = right if i == 0 else left
                right = left if i == n - 1 else right
            sigma[j, order[j, i]] = min(max(left, right, least), most)
        sigma[j, n] = 1.0


@jit_inside
def _bandwidth_at(columns: Any, point: Any, sigma: Any) -> None:
    """Write sigma (q,) of one more trial among sorted columns (q, n), by the rule of `_bandwidths`."""
    q, n = columns.shape
    for j in range(q):
        first, last = 0, n
        while first < last:
            middle = (first + last) // 2
            if columns[j, middle] < point[j]:
                first = middle + 1
            else:
                last = middle
        left = point[j] - (columns[j, first - 1] if first > 0 else 0.0)
        right = (columns[j, first] if first < n else 1.0) - point[j]
        if n >= 1:
            left = right if first == 0 else left
            right = left if first == n else right
        sigma[j] = min(max(left, right, 1.0 / min(100.0, n + 2.0)), 1.0)


@jit_inside
def _write(mixture: Any, layout: Any, first: Any, last: Any) -> None:
    """Complete the kernels first to last - 1, which have their centre, sigma and, as constant, their weight."""
    columns, centre, sigma, inverse, below, inside, constant, table, _ = mixture
    kind, sizes, edges, offsets, _, known, known_masses = layout
    n = columns.shape[1]
    for j in range(kind.size):
        start, size = offsets[j], sizes[j]
        for k in range(first, last):
            if kind[j] == 0:
                # Counts smoothed by the prior weight, spread over the kernels as Optuna does; the prior's are equal.
                prior, seen = 1.0 / (n + 1), 0.0 if k == n else 1.0
                total = size * prior + seen
                for c in range(size):
                    table[start + c, k] = log(prior / total)
                table[start + min(int(centre[j, k] * size), size - 1), k] = log((prior + seen) / total)
                continue
            mu, spread = centre[j, k], sigma[j, k]
            inverse[j, k] = 1.0 / spread
            slot = (int(mu * size) + size * int(spread * size * 2.0 + 0.5)) % N_REMEMBERED
            found = known[j, slot]
            if size == 0 or found[0] != mu or found[1] != spread:
                found[0], found[1] = mu, spread
                left = 0.0
                # One call for the ends and the edges of the cells: inlined at each call, it is slow to compile.
                for c in range(2 if size == 0 else size + 3):
                    at = edges[start + c - 2] if c >= 2 else np.float64(c)
                    right = normal_cdf((at - mu) / spread)
                    if c == 0:
                        found[2] = right
                    elif c == 1:
                        found[3] = right - found[2]
                    elif c > 2:
                        known_masses[slot, start + c - 3] = log(max(right - left, TINY) / found[3])
                    left = right
            below[j, k], inside[j, k] = found[2], found[3]
            if size == 0:
                constant[k] /= spread * found[3]
            for c in range(start, start + size):
                table[c, k] = known_masses[slot, c]
    for k in range(first, last):
        constant[k] = log(constant[k])


@jit_inside
def densities(x: Any, cell: Any, mixture: Any, layout: Any, n: Any, scratch: Any) -> Any:
    """Write the first n kernels at one point, x (q,) where dense and cell (q,) where tabled, to scratch (n or more,).

    They are over the largest of them, whose logarithm is returned. The factor sqrt(2 pi) of each dense dimension is
    left out.
    """
    centre, inverse, constant, table = mixture.centre, mixture.inverse, mixture.constant, mixture.table
    for k in range(n):
        scratch[k] = constant[k]
    for j in range(x.size):
        if layout.size[j] > 0:
            place = layout.offsets[j] + cell[j]
            for k in range(n):
                scratch[k] += table[place, k]
        else:
            for k in range(n):
                z = (x[j] - centre[j, k]) * inverse[j, k]
                scratch[k] -= 0.5 * z * z
    peak = scratch[0]
    for k in range(1, n):
        peak = max(peak, scratch[k])
    # Apart from their sum, whose order is kept, so that it vectorises.
    for k in range(n):
        scratch[k] = exp(scratch[k] - peak)
    return peak


@jit_inside
def log_sums(peaks: Any, rows: Any, n: Any, out: Any) -> None:
    """Write the logarithms (m,) of the densities at m points, from peaks (m,) and rows (m, n or more) of `densities`.

    Each row is added up in order. Four are side by side, since an addition waits for the one before it.
    """
    m = peaks.size
    for first in range(0, m - m % 4, 4):
        a = b = c = d = 0.0
        for k in range(n):
            a += rows[first, k]
            b += rows[first + 1, k]
            c += rows[first + 2, k]
            d += rows[first + 3, k]
        out[first], out[first + 1], out[first + 2], out[first + 3] = a, b, c, d
    for i in range(m - m % 4, m):
        out[i] = 0.0
        for k in range(n):
            out[i] += rows[i, k]
    for i in range(m):
        out[i] = peaks[i] + log(out[i])

"""What a pair of mixtures proposes: of some draws from the good one the most unlike the bad one, point after point."""

from typing import Any

import numpy as np

from alphapulse.compiling import jit, jit_inside, jit_inside_allocating
from alphapulse.numerics import exp, normal_quantile
from alphapulse.search.samplers._parzen import add, densities, fit, log_sums


@jit
def propose_points(good: Any, bad: Any, layout: Any, in_flight: Any, rungs: Any, draws: Any) -> Any:
    """Return a point (m, q) for each row of draws: the candidate with the highest ratio of good to bad.

    What is in flight, and each point proposed, counts as bad from then on (constant liar).

    Parameters
    ----------
    good, bad : Observed
    layout : Layout
    in_flight : (n_in_flight, q)
    rungs : (m,)
        Width of the good kernels, 0 where it is the magic clip that bounds them.
    draws : (m, n_candidates, 1 + q)
        Uniform numbers.
    """
    m, q = rungs.size, layout.kind.size
    n_in_flight, n_bad = len(in_flight), bad.weight.size
    points, widths = np.empty((n_in_flight + m, q)), np.zeros(q)
    bad_mixture = fit(bad, layout, widths, n_bad + len(points))
    for k in range(len(points)):
        i = k - n_in_flight
        for j in range(q):
            if i < 0:
                points[k, j] = in_flight[k, j]
            elif rungs[i] > 0.0:
                widths[j] = max(rungs[i], layout.narrowest[j])
        if i == 0 or (i > 0 and rungs[i] > 0.0):
            good_mixture = fit(good, layout, widths, good.weight.size)
        if i >= 0:
            _best_candidate(good_mixture, bad_mixture, layout, n_bad + k, draws[i], points[k])
        add(bad_mixture, layout, n_bad + k, points[k])
    return points[n_in_flight:]


@jit_inside_allocating
def _best_candidate(good: Any, bad: Any, layout: Any, n_bad: Any, draws: Any, out: Any) -> None:
    """Write the point (q,) with the highest ratio of good to bad among one draw a row of draws (n, 1 + q)."""
    n, q, m = good.weight.size, layout.kind.size, draws.shape[0]
    points, cell = np.empty((m, q)), np.zeros(q, np.int64)
    near_good, near_bad = np.empty((m, n)), np.empty((m, n_bad))
    score, against, peaks, bad_peaks = np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    for c in range(m):
        _draw(good, layout, draws[c], points[c], cell)
        peaks[c] = densities(points[c], cell, good, layout, n, near_good[c])
        bad_peaks[c] = densities(points[c], cell, bad, layout, n_bad, near_bad[c])
    log_sums(peaks, near_good, n, score)
    log_sums(bad_peaks, near_bad, n_bad, against)
    best = 0
    for c in range(m):
        score[c] -= against[c]
        if score[c] > score[best]:
            best = c
    for j in range(q):
        out[j] = points[best, j]


@jit_inside
def _draw(mixture: Any, layout: Any, draw: Any, x: Any, cell: Any) -> None:
    """Write a point x (q,) of the mixture, and its cell (q,) where tabled, from uniforms draw (1 + q,)."""
    weight = mixture.weight
    k, passed = 0, weight[0]
    while k < weight.size - 1 and draw[0] >= passed:
        k += 1
        passed += weight[k]
    for j in range(x.size):
        u, first, size = draw[1 + j], layout.offsets[j], layout.size[j]
        if layout.kind[j] == 0:
            place, mass = 0, exp(mixture.table[first, k])
            while place < size - 1 and u >= mass:
                place += 1
                mass += exp(mixture.table[first + place, k])
            cell[j], x[j] = place, (place + 0.5) / size
            continue
        z = normal_quantile(mixture.below[j, k] + u * mixture.inside[j, k])
        x[j] = min(max(mixture.centre[j, k] + mixture.sigma[j, k] * z, 0.0), 1.0)
        if size > 0:
            place = 0
            while place < size - 1 and x[j] >= layout.edges[first + place + 1]:
                place += 1
            cell[j], x[j] = place, 0.5 * (layout.edges[first + place] + layout.edges[first + place + 1])

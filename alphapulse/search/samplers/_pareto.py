"""Orders of several objectives: non-domination rank and crowding distance, with stable ties."""

import numpy as np

from alphapulse.compiling import jit
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D


@jit
def non_domination_rank(losses: Float64Array2D) -> Int64Array1D:
    """Return the rank (n,) of losses (n, n_objectives): 0 is dominated by none, r by none but ranks below r."""
    n, m = losses.shape
    n_over = np.zeros(n, np.int64)
    dominated = np.zeros((n, n), np.bool_)
    for a in range(n):
        for b in range(n):
            worse, better = False, False
            for j in range(m):
                worse = worse or losses[a, j] > losses[b, j]
                better = better or losses[a, j] < losses[b, j]
            if better and not worse:
                dominated[a, b] = True
                n_over[b] += 1
    rank = np.full(n, -1)
    current, n_ranked = 0, 0
    while n_ranked < n:
        for a in range(n):
            if rank[a] < 0 and n_over[a] == 0:
                rank[a] = current
                n_ranked += 1
        for a in range(n):
            if rank[a] == current:
                for b in range(n):
                    n_over[b] -= 1 if dominated[a, b] else 0
        current += 1
    return rank


@jit
def crowding_distance(losses: Float64Array2D, rank: Int64Array1D) -> Float64Array1D:
    """Return the crowding distance (n,) of each point among those of its rank (Deb 2002); inf at the ends.

    Infinite losses (failed trials) have distance 0.
    """
    n, m = losses.shape
    distance = np.zeros(n)
    for j in range(m):
        order = np.argsort(losses[:, j], kind="mergesort")
        order = order[np.argsort(rank[order], kind="mergesort")]
        first = 0
        while first < n:
            last = first
            while last + 1 < n and rank[order[last + 1]] == rank[order[first]]:
                last += 1
            low, high = losses[order[first], j], losses[order[last], j]
            if high < np.inf:
                distance[order[first]] = np.inf
                distance[order[last]] = np.inf
                for i in range(first + 1, last):
                    if high > low:
                        distance[order[i]] += (losses[order[i + 1], j] - losses[order[i - 1], j]) / (high - low)
            first = last + 1
    return distance

"""The objective over pairs of the most important keys, the plateau outlined."""

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd

from alphapulse.reports.page.chart import Chart, axis, cells, number, rounded, short
from alphapulse.reports.page.subject import Subject
from alphapulse.search.dimensions import Dimension, IntDimension
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D

MOST_BINS = 20
N_KEYS = 3
PLATEAU = 0.8


@dataclass(frozen=True)
class Bins:
    """One swept key cut into bins.

    Attributes
    ----------
    labels : list of str
        One a bin.
    place : (n,) int64
        The bin of each trial.
    """

    labels: list[str]
    place: Int64Array1D

    @classmethod
    def of(cls, dimension: Dimension, parameters: Float64Array1D, most: int = MOST_BINS) -> "Bins":
        """Return the bins of a dimension: its values where they are few, else equal parts of its range."""
        if not dimension.is_ordered or (dimension.size is not None and dimension.size <= most):
            values, place = np.unique(parameters, return_inverse=True)
            return cls(cells([dimension.value(value) for value in values]), place.astype(np.int64))
        low, high = dimension.bounds
        scaled = np.log if dimension.log else np.asarray
        edges = np.linspace(float(scaled(low)), float(scaled(high)), most + 1)
        place = np.clip(np.searchsorted(edges, scaled(parameters), side="right") - 1, 0, most - 1)
        shown = np.exp(edges) if dimension.log else edges
        if not isinstance(dimension, IntDimension):
            return cls([f"{a:.4g} to {b:.4g}" for a, b in pairwise(shown)], place.astype(np.int64))
        # The whole numbers of each part; the last one has its upper end as well.
        firsts = np.ceil(shown - 1e-9).astype(np.int64)
        firsts[-1] = int(high) + 1
        labels = [f"{a}" if b - a < 2 else f"{a} to {b - 1}" for a, b in pairwise(firsts.tolist())]
        return cls(labels, place.astype(np.int64))


def heat_map_charts(subject: Subject) -> list[Chart]:
    """Return a heat map for each pair of the three most important keys."""
    keys = subject.important[:N_KEYS]
    pairs = [(a, b) for a, b in combinations(keys, 2) if len(subject.points.known_of(a, b)) >= 10]
    return [heat_map(subject, a, b) for a, b in pairs]


def heat_map(subject: Subject, first: int, second: int) -> Chart:
    """Return the heat map of two swept keys, by their places in the space, over the trials in which both are active."""
    points, dimensions = subject.points, subject.study.space.dimensions
    known = points.known_of(first, second)
    across = Bins.of(dimensions[first], points.parameters[known, first])
    up = Bins.of(dimensions[second], points.parameters[known, second])
    shape = len(up.labels), len(across.labels)
    grouped = pd.Series(points.values[known]).groupby(up.place * shape[1] + across.place)
    median, best, n = (np.full(shape, fill) for fill in (np.nan, np.nan, 0.0))
    for table, found in (
        (median, grouped.median()),
        (best, grouped.max() if subject.maximize else grouped.min()),
        (n, grouped.size()),
    ):
        table.flat[found.index.to_numpy()] = found.to_numpy()
    neighbours = _neighbours(median, n)
    mine = _cell_of_chosen(subject, across, up, known)
    names = [short(dimensions[place].key) for place in (first, second)]
    hover = [
        [
            f"{names[0]} {across.labels[j]}<br>{names[1]} {up.labels[i]}<br>{n[i, j]:,.0f} trials, median "
            f"{number(median[i, j])}, best {number(best[i, j])}<br>neighbours: {number(neighbours[i, j])}"
            for j in range(shape[1])
        ]
        for i in range(shape[0])
    ]
    traces: list[dict[str, Any]] = [
        {
            "type": "heatmap",
            "z": [rounded(row, 4) for row in median],
            "text": hover,
            "hoverinfo": "text",
            "colorscale": "Cividis",
            "reversescale": not subject.maximize,
            "colorbar": {"thickness": 12, "outlinewidth": 0},
        }
    ]
    outline = _outline(_plateau(median, mine, maximize=subject.maximize))
    if outline[0]:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": outline[0],
                "y": outline[1],
                "name": "plateau",
                "line": {"color": "@outline", "width": 2.5},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    if mine is not None:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [mine[1]],
                "y": [mine[0]],
                "name": "chosen",
                "marker": {"symbol": "star", "size": 14, "color": "@ours", "line": {"color": "white", "width": 1}},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    order = np.argsort(-np.nan_to_num(median if subject.maximize else -median, nan=-np.inf), axis=None)[:10]
    rows = [
        [across.labels[j], up.labels[i], number(median[i, j]), number(neighbours[i, j]), f"{n[i, j]:,.0f}"]
        for i, j in (np.unravel_index(place, shape) for place in order.tolist())
        if np.isfinite(median[i, j])
    ]
    return Chart(
        f"heat-{first}-{second}",
        f"{names[0]} and {names[1]}",
        f"Median {subject.objective} of the trials in each cell; the star is {subject.name}, the line its plateau: "
        f"cells around it with at least {PLATEAU:.0%} of the best cell's median.",
        traces,
        {"xaxis": _ticks(across.labels, names[0]), "yaxis": _ticks(up.labels, names[1])},
        [*names, "median", "neighbours", "trials"],
        rows,
        400,
    )


def _ticks(labels: list[str], title: str) -> dict[str, Any]:
    step = max(1, len(labels) // 8)
    shown = list(range(0, len(labels), step))
    text = [labels[place].partition(" to ")[0] for place in shown]
    return axis(title, tickvals=shown, ticktext=text, showgrid=False, zeroline=False)


def _neighbours(median: Float64Array2D, n: Float64Array2D) -> Float64Array2D:
    """Return the mean of the medians of each cell and those around it, by their trials."""
    weight = np.where(np.isnan(median), 0.0, n)
    sums, weights = np.zeros_like(n), np.zeros_like(n)
    value, padded = np.pad(np.nan_to_num(median) * weight, 1), np.pad(weight, 1)
    for i in range(3):
        for j in range(3):
            sums += value[i : i + n.shape[0], j : j + n.shape[1]]
            weights += padded[i : i + n.shape[0], j : j + n.shape[1]]
    return np.where(weights > 0, sums / np.where(weights > 0, weights, 1.0), np.nan)


def _cell_of_chosen(subject: Subject, across: Bins, up: Bins, known: Int64Array1D) -> tuple[int, int] | None:
    if subject.chosen is None:
        return None
    row = int(np.searchsorted(known, subject.chosen["number"]))
    if row >= len(known) or known[row] != subject.chosen["number"]:
        return None
    return int(up.place[row]), int(across.place[row])


def _plateau(median: Float64Array2D, mine: tuple[int, int] | None, *, maximize: bool) -> np.ndarray:
    """Return the cells that hang together with that of the chosen trial and are nearly as good as the best one."""
    inside = np.zeros(median.shape, dtype=bool)
    if mine is None or not np.isfinite(median).any():
        return inside
    sign = 1.0 if maximize else -1.0
    signed = sign * median
    top = np.nanmax(signed)
    reach = top - (1 - PLATEAU) * abs(top)
    good = np.nan_to_num(signed, nan=-np.inf) >= reach
    pending = [mine]
    while pending:
        i, j = pending.pop()
        if inside[i, j] or not (good[i, j] or (i, j) == mine):
            continue
        inside[i, j] = True
        around = ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1))
        pending += [(a, b) for a, b in around if 0 <= a < median.shape[0] and 0 <= b < median.shape[1]]
    return inside


def _outline(inside: np.ndarray) -> tuple[list[float | None], list[float | None]]:
    """Return the border of cells as one line of pieces."""
    x: list[float | None] = []
    y: list[float | None] = []
    padded = np.pad(inside, 1)
    for i, j in zip(*np.nonzero(inside), strict=True):
        sides = (
            (padded[i, j + 1], (j - 0.5, i - 0.5), (j + 0.5, i - 0.5)),
            (padded[i + 2, j + 1], (j - 0.5, i + 0.5), (j + 0.5, i + 0.5)),
            (padded[i + 1, j], (j - 0.5, i - 0.5), (j - 0.5, i + 0.5)),
            (padded[i + 1, j + 2], (j + 0.5, i - 0.5), (j + 0.5, i + 0.5)),
        )
        for is_inside, start, end in sides:
            if not is_inside:
                x += [float(start[0]), float(end[0]), None]
                y += [float(start[1]), float(end[1]), None]
    return x, y

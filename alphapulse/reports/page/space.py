"""All swept keys at once as parallel coordinates, and each by itself as a slice."""

from typing import Any

import numpy as np

from alphapulse.reports.page.chart import Chart, axis, number, rounded, short
from alphapulse.reports.page.heat_maps import Bins
from alphapulse.reports.page.subject import Subject
from alphapulse.search.dimensions import Dimension

N_BEST, N_SPREAD = 300, 700
N_SLICES = 8
INACTIVE = "inactive"


def space_charts(subject: Subject) -> list[Chart]:
    """Return parallel coordinates of the best trials and a spread of all, then slices by importance."""
    if len(subject.points.known) < 10:
        return []
    shown = [place for place in subject.important[:N_SLICES] if len(subject.points.known_of(place))]
    return [_parallel(subject), *(_slice(subject, place) for place in shown)]


def _parallel(subject: Subject) -> Chart:
    points, known = subject.points, subject.points.known
    signed = points.values[known] if subject.maximize else -points.values[known]
    best = known[np.argsort(-signed, kind="stable")[:N_BEST]]
    spread = known[np.linspace(0, len(known) - 1, min(len(known), N_SPREAD)).astype(np.int64)]
    shown = np.unique(np.r_[best, spread])
    values = points.values[shown]
    # The best lines are drawn last, on top of the others.
    shown = shown[np.argsort(values if subject.maximize else -values, kind="stable")]
    order = subject.important[:8]
    dimensions = [
        _coordinate(subject.study.space.dimensions[place], points.parameters[shown, place]) for place in order
    ]
    dimensions.append({"label": subject.objective, "values": rounded(points.values[shown], 5)})
    rows = [
        [f"{points.numbers[trial]:,}", *(_text(subject, place, trial) for place in order), number(points.values[trial])]
        for trial in best[:10].tolist()
    ]
    return Chart(
        "parallel",
        "Parallel coordinates",
        f"{len(shown):,} trials, the best ones and a spread of all; drag along an axis to keep those that pass there.",
        [
            {
                "type": "parcoords",
                "dimensions": dimensions,
                "line": {
                    "color": rounded(points.values[shown], 5),
                    "colorscale": "Cividis",
                    "reversescale": not subject.maximize,
                },
                "labelangle": -18,
                "labelside": "bottom",
                "labelfont": {"size": 11},
                # Its numbers lie under the labels; the ticks say the same.
                "rangefont": {"size": 10, "color": "rgba(0,0,0,0)"},
                "tickfont": {"size": 10},
            }
        ],
        {"margin": {"l": 50, "r": 40, "t": 20, "b": 90}},
        ["trial", *(short(subject.study.space.keys[place]) for place in order), subject.objective],
        rows,
        420,
        is_wide=True,
    )


def _coordinate(dimension: Dimension, parameters: np.ndarray) -> dict[str, Any]:
    """Return an axis; below it all pass the trials in which the key is inactive."""
    missing = np.isnan(parameters)
    low, high = dimension.bounds
    below = low - 0.1 * ((high - low) or 1.0) if dimension.is_ordered else -1.0
    values = np.where(missing, below, parameters)
    found: dict[str, Any] = {"label": short(dimension.key), "values": rounded(values, 5)}
    if dimension.is_ordered and not missing.any():
        return found
    places = np.linspace(low, high, 5) if dimension.is_ordered else np.unique(parameters[~missing])
    texts = [f"{p:.4g}" if dimension.is_ordered else str(dimension.value(p)) for p in places]
    ends = ([below], [INACTIVE]) if missing.any() else ([], [])
    return found | {"tickvals": [*ends[0], *places.tolist()], "ticktext": [*ends[1], *texts]}


def _text(subject: Subject, place: int, trial: int) -> str:
    parameter = subject.points.parameters[trial, place]
    if np.isnan(parameter):
        return INACTIVE
    value = subject.study.space.dimensions[place].value(parameter)
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _slice(subject: Subject, place: int) -> Chart:
    points, known = subject.points, subject.points.known_of(place)
    dimension = subject.study.space.dimensions[place]
    bins = Bins.of(dimension, points.parameters[known, place])
    values = points.values[known]
    quantiles = (0.1, 0.5, 0.9, 1.0 if subject.maximize else 0.0)
    found = np.full((len(quantiles), len(bins.labels)), np.nan)
    n = np.bincount(bins.place, minlength=len(bins.labels))
    for b in range(len(bins.labels)):
        if n[b]:
            found[:, b] = np.quantile(values[bins.place == b], quantiles)
    labels = [label.partition(" to ")[0] for label in bins.labels]
    filled = np.flatnonzero(n)
    line = {"type": "scatter", "x": filled.tolist()}
    step = max(1, len(labels) // 6)
    shown = list(range(0, len(labels), step))
    name = short(dimension.key)
    return Chart(
        f"slice-{place}",
        name,
        f"{subject.objective.capitalize()} over {name}: best, median, and the middle 80 % of the trials.",
        [
            line
            | {
                "y": rounded(found[0, filled]),
                "mode": "lines",
                "line": {"width": 0},
                "showlegend": False,
                "hoverinfo": "skip",
            },
            line
            | {
                "y": rounded(found[2, filled]),
                "mode": "lines",
                "line": {"width": 0},
                "fill": "tonexty",
                "fillcolor": "@band",
                "showlegend": False,
                "hoverinfo": "skip",
            },
            line | {"y": rounded(found[1, filled]), "mode": "lines", "name": "median", "line": {"color": "@chosen"}},
            line
            | {
                "y": rounded(found[3, filled]),
                "mode": "markers",
                "name": "best",
                "marker": {"color": "@ours", "size": 6},
            },
        ],
        {"xaxis": axis("", tickvals=shown, ticktext=[labels[p] for p in shown]), "yaxis": axis("")},
        [name, "10 %", "median", "90 %", "best", "trials"],
        [[bins.labels[b], *(number(found[q, b]) for q in range(4)), f"{n[b]:,}"] for b in range(len(labels))],
        280,
    )

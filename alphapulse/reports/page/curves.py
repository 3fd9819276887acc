"""Equity, drawdown and rolling Sharpe ratio over time, through the hold-out."""

from itertools import pairwise
from typing import Any

import numpy as np

from alphapulse.reports.page.chart import Chart, axis, dates, number, rounded, thinned
from alphapulse.reports.page.subject import Curve, Subject
from alphapulse.typing import Float64Array1D

COLOURS = ("@chosen", "@market", "@robust")
DASHES = ("solid", "dot", "dash")


def curve_charts(subject: Subject) -> list[Chart]:
    """Return the three charts; none where the bars cannot be had."""
    if not subject.curves:
        return []
    assert subject.inputs is not None
    year = max(2, round(subject.inputs.experiment.engine.bars_per_year(subject.inputs.market.bars)))
    rate = subject.inputs.experiment.engine.rate_of_cash / year
    held = "" if subject.holdout_start is None else " The shaded part is the hold-out, which the search never saw."
    rolling = [_rolling_sharpe(curve.returns - rate, year) for curve in subject.curves]
    by_year = _years(subject.curves[0])
    return [
        Chart(
            "equity",
            "Equity",
            f"Growth of 1, costs included, on a logarithmic scale.{held}",
            _traces(subject, [curve.equity for curve in subject.curves]),
            _layout(subject, axis("growth of 1", type="log")),
            ["end of", *(curve.name for curve in subject.curves)],
            _rows(subject, [curve.equity for curve in subject.curves], ",.3f", by_year),
            400,
            is_wide=True,
        ),
        Chart(
            "drawdown",
            "Drawdown",
            "Loss since the highest equity so far.",
            _traces(subject, [curve.drawdown for curve in subject.curves], lowest=True),
            _layout(subject, axis("", tickformat=".0%")),
            ["end of", *(curve.name for curve in subject.curves)],
            _rows(subject, [curve.drawdown for curve in subject.curves], ".1%", by_year),
            300,
        ),
        Chart(
            "rolling",
            "Rolling Sharpe ratio",
            f"Of the last year ({year:,} bars) at each bar; an edge that is real does not come from one stretch.",
            _traces(subject, rolling),
            _layout(subject, axis("")),
            ["end of", *(curve.name for curve in subject.curves)],
            _rows(subject, rolling, ",.2f", by_year),
            300,
        ),
    ]


def _rolling_sharpe(excess: Float64Array1D, window: int) -> Float64Array1D:
    """Return the annual Sharpe ratio of the last `window` bars at each bar; NaN before that and without variance."""
    out = np.full(len(excess), np.nan)
    if len(excess) < window:
        return out
    sums = np.cumsum(np.r_[0.0, excess])
    squares = np.cumsum(np.r_[0.0, excess * excess])
    mean = (sums[window:] - sums[:-window]) / window
    variance = np.maximum((squares[window:] - squares[:-window]) / window - mean * mean, 0.0) * window / (window - 1)
    with np.errstate(all="ignore"):
        out[window - 1 :] = np.where(variance > 1e-12, mean / np.sqrt(variance), np.nan) * np.sqrt(window)
    return out


def _traces(subject: Subject, values: list[Float64Array1D], *, lowest: bool = False) -> list[dict[str, Any]]:
    traces = []
    for place, (curve, column) in enumerate(zip(subject.curves, values, strict=True)):
        # Of each stretch that is left out the lowest point stands for a drawdown, the last for the rest.
        shown = _lowest_places(column) if lowest else thinned(len(column))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": curve.name,
                "x": dates(curve.timestamp[shown], is_intraday=subject.is_intraday),
                "y": rounded(column[shown]),
                "line": {"color": COLOURS[place], "dash": DASHES[place], "width": 2 if place == 0 else 1.5},
            }
        )
    return traces


def _lowest_places(column: Float64Array1D, most: int = 1_000) -> np.ndarray:
    edges = np.linspace(0, len(column), min(len(column), most) + 1).astype(np.int64)
    found = [start + int(np.argmin(column[start:stop])) for start, stop in pairwise(edges)]
    return np.unique([0, *found, len(column) - 1])


def _layout(subject: Subject, y: dict[str, Any]) -> dict[str, Any]:
    return {"xaxis": axis(type="date"), "yaxis": y, "hovermode": "x unified"} | shade(subject)


def shade(subject: Subject) -> dict[str, Any]:
    """Return the shapes that mark the hold-out on a chart over time."""
    if subject.holdout_start is None:
        return {}
    start, end = dates(np.array([subject.holdout_start, subject.curves[0].timestamp[-1]]))
    return {
        "shapes": [
            {
                "type": "rect",
                "xref": "x",
                "yref": "paper",
                "x0": start,
                "x1": end,
                "y0": 0,
                "y1": 1,
                "fillcolor": "@shade",
                "line": {"width": 0},
                "layer": "below",
            }
        ],
        "annotations": [
            {
                "x": start,
                "xref": "x",
                "y": 1,
                "yref": "paper",
                "text": "hold-out",
                "showarrow": False,
                "xanchor": "left",
                "yanchor": "bottom",
                "font": {"size": 11},
            }
        ],
    }


def _years(curve: Curve) -> np.ndarray:
    """Return the last bar of each calendar year."""
    years = curve.timestamp.astype("datetime64[ns]").astype("datetime64[Y]")
    return np.flatnonzero(np.r_[years[1:] != years[:-1], True])


def _rows(subject: Subject, values: list[Float64Array1D], form: str, places: np.ndarray) -> list[list[str]]:
    stamps = dates(subject.curves[0].timestamp[places])
    rows = []
    for stamp, place in zip(stamps, places.tolist(), strict=True):
        rows.append([stamp, *(number(column[place], form) if place < len(column) else "-" for column in values)])
    return rows

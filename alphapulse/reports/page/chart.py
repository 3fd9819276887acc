"""A chart of the report: a figure for plotly.js as plain values, one sentence on how to read it, and its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_POINTS = 2_000
MOST_ROWS = 40

PALETTES: Mapping[str, Mapping[str, Any]] = {
    "light": {
        "text": "#1f2328",
        "grid": "#e3e6ea",
        "chosen": "#0072b2",
        "market": "#7a7f87",
        "robust": "#009e73",
        "ours": "#d55e00",
        "null": "#9aa3ad",
        "buy": "#0072b2",
        "sell": "#d55e00",
        "shade": "rgba(230,159,0,.14)",
        "band": "rgba(0,114,178,.16)",
        "outline": "#ffffff",
        "diverging": [[0, "#b35806"], [0.5, "#f7f7f7"], [1, "#2166ac"]],
    },
    "dark": {
        "text": "#e6e8eb",
        "grid": "#33383f",
        "chosen": "#56b4e9",
        "market": "#9aa3ad",
        "robust": "#2fc795",
        "ours": "#ff8c42",
        "null": "#6c7580",
        "buy": "#56b4e9",
        "sell": "#ff8c42",
        "shade": "rgba(230,159,0,.18)",
        "band": "rgba(86,180,233,.2)",
        "outline": "#ffffff",
        "diverging": [[0, "#e08214"], [0.5, "#2b2f36"], [1, "#56b4e9"]],
    },
}
"""What the colours that begin with @ stand for on a light and on a dark page; none is told by red against green."""


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes
    ----------
    name : str
        Stands in the page's addresses.
    title : str
    lead : str
        What it shows and how to read it.
    traces : list of dict
        Traces of plotly.js. A colour that begins with @ is one of the page's, which has two sets of them.
    layout : dict
        Layout of plotly.js beside what all charts share.
    headings : sequence of str
        Of the table of its numbers.
    rows : sequence of sequence of str
    height : int
        In pixels.
    is_wide : bool
        Whether it takes the whole width of the page.
    """

    name: str
    title: str
    lead: str
    traces: list[dict[str, Any]]
    layout: Mapping[str, Any]
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    height: int = 360
    is_wide: bool = False


def rounded(values: Any, digits: int = 6) -> list[float | None]:
    """Return numbers with so many significant digits, as JSON takes them; what is not finite is None."""
    array = np.asarray(values, dtype=np.float64)
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in array.tolist()]


def dates(timestamps: np.ndarray, *, is_intraday: bool = False) -> list[str]:
    """Return nanoseconds since 1970 as texts that plotly.js reads as dates."""
    unit = "m" if is_intraday else "D"
    return [str(t) for t in np.asarray(timestamps).astype("datetime64[ns]").astype(f"datetime64[{unit}]")]


def thinned(n: int, most: int = MOST_POINTS) -> np.ndarray:
    """Return at most `most` places among `n`, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64)) if n else np.empty(0, dtype=np.int64)


def number(value: Any, form: str = ",.3f") -> str:
    """Return a number as text; what is missing is a dash."""
    return "-" if value is None or not np.isfinite(float(value)) else format(float(value), form)


def short(key: str) -> str:
    """Return a dotted key without its group."""
    return key.partition(".")[2] or key


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """Return an axis with a title."""
    return {"title": {"text": title, "standoff": 8}, "automargin": True} | more


def cells(values: Sequence[Any]) -> list[str]:
    """Return values of a swept key as texts of at most five digits."""
    return [f"{v:.5g}" if isinstance(v, float | np.floating) else str(v) for v in values]

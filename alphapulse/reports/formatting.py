"""Metrics, parameters and places as text and tables, and documents as JSON: what all commands print with."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from alphapulse.backtesting.curve_metrics import UNITS
from alphapulse.backtesting.metrics import TABLE
from alphapulse.plain import plain

SHOWN_METRICS = ("sharpe_ratio", "sortino_ratio", "cagr", "volatility", "max_drawdown", "n_trades", "exposure")
FORMATS = {"ratio": "{:,.3f}", "fraction": "{:.2%}", "count": "{:,.0f}", "bars": "{:,.1f}", "quote": "{:,.3f}"}


def stdout_console(file: TextIO | None = None) -> Console:
    """Return a console for results, on stdout or another file; wide enough for tables where it is no terminal."""
    file = file or sys.stdout
    return Console(file=file, highlight=False, markup=False, width=None if file.isatty() else 160)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines to stderr; stdout is for results."""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    for line in lines:
        console.print(line)


def print_warnings(warnings: Iterable[str]) -> None:
    """Print warnings to stderr, one line each; stdout is for results."""
    print_lines(f"warning: {line}" for line in warnings)


def print_places(console: Console, places: Mapping[str, str]) -> None:
    """Print where everything is, one line each."""
    for name, place in places.items():
        console.print(f"{name.replace('_', ' ')}: {place}", soft_wrap=True)


def print_json(document: Any, file: TextIO | None = None) -> None:
    """Print one JSON document to stdout or another file; what is not finite is null."""
    file = file or sys.stdout
    json.dump(plain(document), file, allow_nan=False)
    file.write("\n")


def format_metric(name: str, value: float | None) -> str:
    """Return a metric as text, by its unit: in percent, whole or with three decimals."""
    if value is None or math.isnan(value):
        return "-"
    return FORMATS[TABLE[name].unit if name in TABLE else UNITS[name]].format(value)


def format_parameter(value: Any) -> str:
    """Return a parameter as text of at most five digits; one that is inactive, NaN, is a dash."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.5g}"
    return str(value)


def fitted_table(
    title: str, columns: Mapping[str, Sequence[str]], width: int, *, left: Sequence[str] = (), light: bool = False
) -> Table:
    """Return columns of texts as a table no wider than `width`: what does not fit is left out, last columns first.

    Parameters
    ----------
    title : str
    columns : mapping of str to sequence of str
        Cells by heading, the most important first; all of one length. A heading is broken at its spaces.
    width : int
        Characters that a line may have.
    left : sequence of str
        The headings of columns that are aligned to the left.
    light : bool
        Whether there is no frame around it.
    """
    shown: list[str] = []
    used = 1
    for heading, cells in columns.items():
        used += 3 + max(map(cell_len, (*heading.split(), *cells)), default=0)
        if used > width and shown:
            break
        shown.append(heading)
    n_left = len(columns) - len(shown)
    caption = f"{n_left} more columns do not fit here" if n_left else None
    table = Table(
        title=title or None,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD if light else box.HEAVY_HEAD,
        show_edge=not light,
        pad_edge=not light,
    )
    for heading in shown:
        table.add_column(heading.replace(" ", "\n"), justify="left" if heading in left else "right", no_wrap=True)
    for row in zip(*(columns[heading] for heading in shown), strict=True):
        table.add_row(*row)
    return table


def metrics_table(rows: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> Table:
    """Return metrics as a table, one row a metric, one column an entry of `rows`."""
    table = Table()
    table.add_column("metric")
    for heading in rows:
        table.add_column(heading.replace(", ", "\n"), justify="right")
    for name in names:
        table.add_row(name, *(format_metric(name, metrics.get(name)) for metrics in rows.values()))
    return table

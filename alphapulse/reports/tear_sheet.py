"""A QuantStats tear sheet of one backtest, beside its benchmark.

The figures of a backtest are our own (`metrics`); QuantStats 0.0.86 draws them. What it gets is made safe from what it
gets wrong: it assumes 252 periods unless told, cuts the flat days before the first trade, takes returns that are
never negative and once above 1 for prices, fails on a constant series, and needs minutes to draw an equity that
grows beyond reason.
"""

import html
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alphapulse.backtesting.metrics import TABLE, metrics_of_returns
from alphapulse.backtesting.models import BacktestResult
from alphapulse.backtesting.sums import NO_VARIANCE
from alphapulse.errors import DataError
from alphapulse.market.calendar import count_periods_per_year
from alphapulse.market.timeframes import DAY, timeframe_of

LARGEST_GROWTH = 1e12
FAVICON = '<link rel="shortcut icon" href="https://qtpylib.io/favicon.ico" type="image/x-icon">'


def analyze_results(
    result: BacktestResult,
    benchmark_returns: pd.Series | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    title: str = "alphapulse",
    benchmark_title: str = "Buy and hold",
    periods_per_year: float | None = None,
    risk_free_rate: float = 0.0,
) -> dict[str, float]:
    """Write a tear sheet and return the metrics.

    Parameters
    ----------
    result : BacktestResult
    benchmark_returns : Series, optional
        Simple returns of the benchmark on the bars of `result.returns` [1]; bars that it lacks count as 0. The metrics
        against a benchmark are computed from it; without it they are the result's own.
    output : path, optional
        HTML file to write, its folders made; None writes nothing.
    title, benchmark_title : str
        Names on the sheet.
    periods_per_year : float, optional
        Bars in a year [1], for the metrics against the benchmark; None counts them in the index.
    risk_free_rate : float
        Annual rate that the sheet's ratios and alpha are measured against [1].

    Returns
    -------
    dict of str to float
        The metrics of the result, by name; NaN where undefined.

    Raises
    ------
    TypeError
        If the benchmark is not a Series.
    ValueError
        If the benchmark shares no bar with the returns.
    DataError
        If the file cannot be written.

    Notes
    -----
    Intraday returns are compounded to days for the sheet, so that its Sharpe ratio differs from the per-bar one.
    A backtest that cannot be drawn (no variance, fewer than two days, growth beyond 1e12) gets a page with the
    metrics and the reason.
    """
    returns = result.returns
    metrics = dict(result.metrics)
    benchmark = None
    if benchmark_returns is not None:
        if not isinstance(benchmark_returns, pd.Series):
            raise TypeError(f"`benchmark_returns` must be a Series, but got {type(benchmark_returns).__name__}.")
        benchmark = _utc(benchmark_returns).reindex(_utc(returns).index)
        if benchmark.isna().all():
            raise ValueError("`benchmark_returns` must share bars with the returns, but no timestamp is in both.")
        benchmark = benchmark.fillna(0.0)
        periods = periods_per_year if periods_per_year is not None else _count_periods(returns)
        own = metrics_of_returns(
            returns.to_numpy(), benchmark.to_numpy(), risk_free_rate=risk_free_rate, periods_per_year=periods
        )
        metrics |= {name: value for name, value in own.items() if TABLE[name].needs == "benchmark"}
    if output is None:
        return metrics

    path = Path(output)
    daily = _daily(returns)
    # The sheet has the year of the metrics, in days.
    days = _count_periods(daily) if periods_per_year is None else periods_per_year * len(daily) / len(returns)
    reason = _undrawable(daily)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if reason is None:
            _draw(
                daily,
                None if benchmark is None else _daily(benchmark),
                path,
                (title, benchmark_title),
                days=max(round(days), 1),
                risk_free_rate=risk_free_rate,
            )
        else:
            path.write_text(_page(title, reason, metrics), encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"The tear sheet cannot be written to {path} ({error.strerror}); choose another path."
        ) from error
    return metrics


def _utc(series: pd.Series) -> pd.Series:
    index = pd.DatetimeIndex(series.index)
    return series.set_axis(index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC"))


def _dates(series: pd.Series) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(series.index).normalize()


def _count_periods(returns: pd.Series) -> float:
    """Return bars a year, by the moments of the returns."""
    stamps = pd.DatetimeIndex(_utc(returns).index).as_unit("ns").asi8
    return count_periods_per_year(stamps, timeframe_of(int(np.median(np.diff(stamps))) if len(stamps) > 1 else DAY))


def _daily(returns: pd.Series) -> pd.Series:
    """Return the returns compounded to UTC dates, without a time zone."""
    utc = _utc(returns)
    growth = (1.0 + utc).groupby(_dates(utc).tz_localize(None)).prod()
    daily = growth - 1.0
    if daily.min() >= 0.0 and daily.max() > 1.0:
        # One day without a gain, the least of them, and QuantStats does not take the series for prices.
        daily.iloc[int(np.argmin(daily))] = -NO_VARIANCE
    return daily


def _undrawable(daily: pd.Series) -> str | None:
    """Return why QuantStats cannot draw these daily returns, or None."""
    if len(daily) < 2:
        return "There are fewer than two days of returns."
    if daily.max() - daily.min() <= NO_VARIANCE:
        return "All returns are equal: nothing was traded, or nothing moved."
    with np.errstate(over="ignore"):
        growth = float((1.0 + daily).cumprod().max())
    if not growth < LARGEST_GROWTH:
        return (
            f"The equity grows {growth:.3g} times, beyond any drawing; look for a mistake in the strategy or the data."
        )
    return None


def _draw(
    daily: pd.Series,
    benchmark: pd.Series | None,
    path: Path,
    titles: tuple[str, str],
    *,
    days: int,
    risk_free_rate: float,
) -> None:
    with _quiet(), _without_display():
        import quantstats

        if benchmark is not None and benchmark.max() - benchmark.min() <= NO_VARIANCE:
            benchmark = None
        with _bars_by_year():
            quantstats.reports.html(
                daily,
                benchmark=benchmark,
                output=str(path),
                title=html.escape(titles[0]),
                strategy_title="Strategy",
                benchmark_title=html.escape(titles[1]),
                periods_per_year=days,
                # QuantStats takes an annual rate apart by compounding; a day of ours has its share of it.
                rf=(1.0 + risk_free_rate / days) ** days - 1.0,
                match_dates=False,
            )
    sheet = path.read_text(encoding="utf-8")
    # The sheet is read offline too, and tells nobody that it is.
    path.write_text(sheet.replace(FAVICON, ""), encoding="utf-8")


@contextmanager
def _without_display() -> Iterator[None]:
    """Draw into memory, without window or display, and leave the caller's matplotlib as it was."""
    import matplotlib

    before = matplotlib.get_backend()
    matplotlib.use("agg")
    try:
        yield
    finally:
        # One that cannot draw here is as good as the one that can.
        matplotlib.use(before, force=False)


@contextmanager
def _bars_by_year() -> Iterator[None]:
    """Draw the bars of years above their labels.

    pandas 3.1 draws bars of dated rows at their dates, QuantStats writes the labels at 0, 1, 2 and so on.
    Rows that are numbered by year are drawn there too.
    """
    from quantstats._plotting import core

    plain = core.plot_returns_bars

    def by_year(returns: pd.Series, benchmark: pd.Series | None, **options: Any) -> Any:
        numbered = [
            None if one is None else one.set_axis(pd.DatetimeIndex(one.index).year) for one in (returns, benchmark)
        ]
        return plain(*numbered, **options | {"resample": None})

    core.plot_returns_bars = by_year
    try:
        yield
    finally:
        core.plot_returns_bars = plain


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep QuantStats' and matplotlib's complaints about fonts, ticks and pandas out of the run."""
    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    fonts.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        fonts.setLevel(level)


def _page(title: str, reason: str, metrics: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{'' if value != value else f'{value:.6g}'}</td></tr>"
        for name, value in metrics.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:15px sans-serif;margin:2em}th{text-align:left;padding-right:2em}td{text-align:right}</style>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(reason)}</p><table>{rows}</table></html>"
    )

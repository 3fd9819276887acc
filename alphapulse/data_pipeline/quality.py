"""Honest data: one line for each way in which bars are not what a backtest takes them for.

Nothing is repaired. Bars stay as published; the lines say what to make of results that rest on them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alphapulse.market.bars import Bars, impossible_prices
from alphapulse.market.calendar import THURSDAY, opens_session
from alphapulse.market.gaps import find_gaps
from alphapulse.market.joining import bar_spacing
from alphapulse.market.jumps import Faults, find_faults
from alphapulse.market.timeframes import DAY, HOUR, MINUTE, labelled_end, timeframe_length, timeframe_of
from alphapulse.typing import Float64Array1D, Int64Array1D

MOST_STALE_OPENS = 0.20
MOST_ZERO_VOLUME = 0.01
MOST_FLAT = 0.002
MOST_EQUAL_VOLUME = 0.05
FEWEST_BARS_OF_A_DATE = 0.75
MOST_UNKNOWN_VOLATILITY = 0.01
MOST_WEEKENDS = 0.05
FEWEST_OPENINGS = 10
# Rounding of adjusted prices moves an open outside [low, high] by less than this share of the price.
ROUNDING = 1e-6
# A hole that comes again: on so many dates, and on this share of them.
FEWEST_HOLES, HOLES_OF_DATES = 5, 0.2
# Dates of a New York symbol that are sessions of its exchange; elsewhere some ten holidays a year differ.
NEW_YORK_SHARE = 0.985
CALENDAR_START = np.datetime64("1960-01-01")


@dataclass(frozen=True)
class _Series:
    """Stored bars of one symbol as arrays (n_bars,)."""

    name: str
    length: int
    timestamp: Int64Array1D
    open: Float64Array1D
    high: Float64Array1D
    low: Float64Array1D
    close: Float64Array1D
    volume: Float64Array1D

    def when(self, place: int) -> str:
        """Return the start of a bar; a daily bar's is its date."""
        stamp = pd.Timestamp(int(self.timestamp[place]))
        return stamp.strftime("%Y-%m-%d" if self.length >= DAY else "%Y-%m-%dT%H:%MZ")


def data_warnings(bars: Bars, execution: str) -> list[str]:
    """Return one line for each fault of the bars of a study, none if they are sound.

    Parameters
    ----------
    bars : Bars
        The traded bars, and what is joined to them.
    execution : {"next_open", "next_close", "same_close"}
        Where orders fill; it decides whether opens matter.
    """
    series = _Series(
        f"{bars.symbol} {bars.timeframe}",
        timeframe_length(bars.timeframe),
        *(getattr(bars, name) for name in ("timestamp", "open", "high", "low", "close", "volume")),
    )
    lines = _opens(series) if execution == "next_open" else []
    lines += _implausible(series) + _series_lines(series)
    known = np.isfinite(bars.volatility)
    share = 1.0 - np.count_nonzero(known) / max(len(known), 1)
    if known.any() and share > MOST_UNKNOWN_VOLATILITY:
        lines.append(
            f"{series.name}: volatility is unknown on {share:.1%} of the bars, the first "
            f"{series.when(int(np.argmin(known)))}; it does not scale the signal there."
        )
    return lines


def series_warnings(symbol: str, timeframe: str, bars: pd.DataFrame, *, screened: bool = False) -> list[str]:
    """Return one line for each fault of the bars of one symbol, however they are used.

    Parameters
    ----------
    bars : DataFrame
        Columns timestamp (UTC), open, high, low, close, volume, sorted by timestamp.
    screened : bool
        Whether prices that cannot be right have been found and said already.
    """
    stamps = bars["timestamp"].dt.as_unit("ns").astype("int64").to_numpy()
    values = (bars[name].to_numpy(dtype=np.float64) for name in ("open", "high", "low", "close", "volume"))
    series = _Series(f"{symbol} {timeframe}", timeframe_length(timeframe), stamps, *values)
    return ([] if screened else _implausible(series)) + _series_lines(series)


def _series_lines(series: _Series) -> list[str]:
    if len(series.close) < 2:
        return []
    lines = _volume(series) + _order(series) + _flat(series) + _overlaps(series) + _label(series) + _weekends(series)
    return lines + _gaps(series) + _holes(series)


def _implausible(series: _Series) -> list[str]:
    if impossible_prices(np.stack([series.open, series.high, series.low, series.close])).any():
        return []
    return fault_lines(series.name, series.when, find_faults(series.open, series.high, series.low, series.close))


def fault_lines(name: str, when: Callable[[int], str], faults: Faults) -> list[str]:
    """Return one line for each kind of price that cannot be right, with the date and size of the first.

    Parameters
    ----------
    when : callable
        Says of a place in the series which bar it is.
    """
    kinds = (
        (faults.nonsense, "have a price that is none"),
        (faults.spike, "are out of line with those before and after them"),
        (faults.wick, "have a price that is far from all others"),
        (faults.jump, "jump to another level and stay there, as after a split that is not in the prices before it"),
    )
    lines = []
    for mask, what in kinds:
        if mask.any():
            place = int(np.argmax(mask))
            lines.append(
                f"{name}: {np.count_nonzero(mask):,} bars {what}, the first {when(place)} "
                f"({faults.size[place]:.4g} times the close before)."
            )
    return lines


def _opens(series: _Series) -> list[str]:
    """Judge opens after the market was closed: where it never closes, they are the previous close by nature."""
    if len(series.close) < 2:
        return []
    if series.length < DAY:
        after_pause = opens_session(series.timestamp, series.name.rpartition(" ")[2])[1:]
        if np.count_nonzero(after_pause) < FEWEST_OPENINGS:
            return []
    elif np.mean((series.timestamp // DAY + THURSDAY) % 7 >= 5) > MOST_WEEKENDS:
        return []
    else:
        after_pause = np.ones(len(series.close) - 1, dtype=np.bool_)
    share = float(np.mean((series.open[1:] == series.close[:-1])[after_pause]))
    if share <= MOST_STALE_OPENS:
        return []
    where = "opens" if series.length >= DAY else "opens of sessions"
    return [
        f"{series.name}: {share:.0%} of the {where} equal the previous close, so fills at the next open are fiction; "
        "use engine.execution=next_close or a later data.start."
    ]


def _volume(series: _Series) -> list[str]:
    lines = []
    zero = series.volume == 0.0
    if np.mean(zero) > MOST_ZERO_VOLUME:
        lines.append(
            f"{series.name}: volume is zero on {np.count_nonzero(zero):,} of {len(zero):,} bars, the first "
            f"{series.when(int(np.argmax(zero)))}; do not let a strategy rest on it."
        )
    values, counts = np.unique(series.volume[series.volume > 0.0], return_counts=True)
    if len(values) and counts.max() / len(series.volume) > MOST_EQUAL_VOLUME and counts.max() > 20:
        lines.append(
            f"{series.name}: volume is {values[np.argmax(counts)]:,.0f} on {counts.max():,} of {len(zero):,} bars; "
            "it is not a measurement."
        )
    return lines


def _order(series: _Series) -> list[str]:
    slack = ROUNDING * series.close
    low, high = series.low - slack, series.high + slack
    wrong = (series.open < low) | (series.open > high) | (series.close < low) | (series.close > high)
    n_wrong = np.count_nonzero(wrong)
    if n_wrong == 0:
        return []
    place = int(np.argmax(wrong))
    return [
        f"{series.name}: {n_wrong:,} bars have open or close outside [low, high], the first {series.when(place)} "
        f"(open {series.open[place]:g}, high {series.high[place]:g}, low {series.low[place]:g}, "
        f"close {series.close[place]:g}); stops there are not to be trusted."
    ]


def _flat(series: _Series) -> list[str]:
    flat = (series.open == series.close) & (series.high == series.low) & (series.open == series.high)
    n_flat = np.count_nonzero(flat)
    if n_flat / len(flat) <= MOST_FLAT:
        return []
    return [
        f"{series.name}: {n_flat:,} bars have open = high = low = close, the first "
        f"{series.when(int(np.argmax(flat)))}; no stop can be hit inside them."
    ]


def _label(series: _Series) -> list[str]:
    spacing = bar_spacing(series.timestamp, series.length)
    longer = spacing > series.length
    n_longer = np.count_nonzero(longer)
    if n_longer == 0:
        return []
    places = np.flatnonzero(longer)
    hours = np.median(spacing[longer]) / HOUR
    return [
        f"{series.name}: {n_longer:,} of {len(longer):,} bars are longer than their label (typically {hours:g} h), "
        f"{series.when(int(places[0]))} to {series.when(int(places[-1]))}; joined by their real end, "
        "but counted as bars of the label."
    ]


def count_overlaps(timestamp: Int64Array1D, timeframe: str) -> int:
    """Return how many bars begin before the one before them ends by its label.

    A day may be an hour short where clocks change, and what is made of days so much shorter than its label.
    """
    length = timeframe_length(timeframe)
    slack = length // 6 if length >= DAY else 0
    return int(np.count_nonzero(timestamp[1:] + slack < labelled_end(timestamp[:-1], timeframe)))


def _overlaps(series: _Series) -> list[str]:
    timeframe = series.name.rpartition(" ")[2]
    n_overlaps = count_overlaps(series.timestamp, timeframe)
    if n_overlaps == 0:
        return []
    apart = timeframe_of(int(np.median(np.diff(series.timestamp))))
    return [
        f"{series.name}: {n_overlaps:,} of {len(series.close):,} bars begin before the one before them has ended, "
        f"typically {apart} apart; if they are bars of {apart}, import them with data.timeframe={apart}."
    ]


def _weekends(series: _Series) -> list[str]:
    if series.length != DAY:
        return []
    # The date that most of a bar lies in: a broker's Monday begins on Sunday evening.
    date = (series.timestamp + DAY // 2) // DAY
    on_weekend = (date + THURSDAY) % 7 >= 5
    n_weekend = int(np.count_nonzero(on_weekend))
    if n_weekend == 0 or n_weekend > MOST_WEEKENDS * len(date):
        return []
    return [
        f"{series.name}: {n_weekend:,} of {len(date):,} daily bars are on a Saturday or Sunday, the first "
        f"{series.when(int(np.argmax(on_weekend)))}, though the market is closed on most; their dates may be wrong."
    ]


def _gaps(series: _Series) -> list[str]:
    if series.length > DAY:
        return []
    dates, n_bars = np.unique(series.timestamp // DAY, return_counts=True)
    dates = dates.astype("datetime64[D]")
    calendar = _new_york_sessions(dates)
    if calendar is None:
        return _unusual_gaps(series)
    sessions, early = calendar
    lines = []
    missing = np.setdiff1d(sessions, dates)
    if len(missing):
        lines.append(
            f"{series.name}: {len(missing):,} of {len(sessions):,} New York sessions between {dates[0]} and "
            f"{dates[-1]} have no bar, the first {missing[0]}."
        )
    if series.length < DAY:
        usual = pd.Series(n_bars).rolling(21, center=True, min_periods=1).median().to_numpy()
        # The first and the last date may be cut by the range itself.
        short = dates[(n_bars < FEWEST_BARS_OF_A_DATE * usual) & ~np.isin(dates, early)]
        short = short[(short > dates[0]) & (short < dates[-1])]
        if len(short):
            lines.append(
                f"{series.name}: {len(short):,} dates lack a quarter or more of their usual bars though the exchange "
                f"did not close early, the first {short[0]}."
            )
    return lines


def _holes(series: _Series) -> list[str]:
    """Find the stretch of a day that has no bars again and again, other than the close of the exchange.

    Gaps are counted by their length, since clocks change with the season. Where a market trades through midnight but
    not at weekends, the longest gap of a date is its close.
    """
    if series.length >= DAY:
        return []
    date, spacing = series.timestamp // DAY, np.diff(series.timestamp)
    usual = bar_spacing(series.timestamp, series.length)[:-1]
    same = date[1:] == date[:-1]
    gaps = np.flatnonzero(same & (spacing >= 2 * usual))
    dates = np.unique(date)
    weekends = np.mean((dates + THURSDAY) % 7 >= 5) > 0.2
    if not weekends and not same.all() and np.median(spacing[~same]) < 2 * series.length:
        longest = gaps[np.lexsort((-spacing[gaps], date[gaps]))]
        gaps = np.setdiff1d(gaps, longest[np.unique(date[longest], return_index=True)[1]])
    lengths, n_gaps = np.unique(spacing[gaps], return_counts=True)
    if len(lengths) == 0:
        return []
    alike = gaps[spacing[gaps] == lengths[np.argmax(n_gaps)]]
    n_dates = len(np.unique(date[alike]))
    if n_dates < max(FEWEST_HOLES, HOLES_OF_DATES * len(dates)):
        return []
    place = int(alike[0])
    minutes = int(spacing[place] - usual[place]) // MINUTE
    return [
        f"{series.name}: {minutes:,} minutes have no bars on {n_dates:,} of {len(dates):,} dates, the first after "
        f"{series.when(place)}; a break of the exchange, or a hole in the source."
    ]


def _new_york_sessions(dates: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the sessions of the New York Stock Exchange over `dates` and those that closed early.

    None if the dates are not of its kind.
    """
    inside = dates[dates >= CALENDAR_START]
    if len(inside) < 2 or np.mean(np.is_busday(inside)) < NEW_YORK_SHARE:
        return None
    # Importing every exchange's calendar takes half a second; only dates that may be New York's pay for it.
    from exchange_calendars import get_calendar

    calendar = get_calendar("XNYS", start=pd.Timestamp(inside[0]), end=pd.Timestamp(inside[-1]))
    sessions = calendar.sessions.to_numpy().astype("datetime64[D]")
    if np.mean(np.isin(inside, sessions)) < NEW_YORK_SHARE:
        return None
    return sessions, calendar.early_closes.to_numpy().astype("datetime64[D]")


def _unusual_gaps(series: _Series) -> list[str]:
    """Judge gaps by the same time of the week, for markets whose calendar is not known."""
    gaps = find_gaps(series.timestamp, series.name.rpartition(" ")[2])
    if len(gaps) == 0:
        return []
    distance = gaps.after - gaps.before
    longest = int(np.argmax(distance))
    when = series.when(int(np.searchsorted(series.timestamp, gaps.before[longest])))
    return [
        f"{series.name}: {len(gaps):,} gaps are at least twice as long as usual at that time of the week, the longest "
        f"{distance[longest] / DAY:.1f} days after {when}."
    ]

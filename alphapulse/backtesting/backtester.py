"""The friendly face of the engine: pandas in, one backtest out, every mistake refused with a reason."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from alphapulse.backtesting.batch import returns_of_closes
from alphapulse.backtesting.models import BacktestResult
from alphapulse.backtesting.params import EngineParams
from alphapulse.backtesting.trial import run_trial
from alphapulse.errors import did_you_mean
from alphapulse.market.bars import PRICES, Bars, impossible_prices
from alphapulse.market.calendar import calendar_blocks, count_periods_per_year, starts_period
from alphapulse.market.joining import bar_end, join_by_end, sum_by_end
from alphapulse.market.market import Market
from alphapulse.market.timeframes import DAY, timeframe_of
from alphapulse.typing import Float64Array1D, Int64Array1D


class Backtester:
    """An engine with its settings, ready to trade any signals.

    Parameters
    ----------
    **engine
        Fields of `EngineParams`: initial_capital, execution, commission, slippage, stop_slippage, rebalance_band,
        rebalance_frequency, short_borrow_rate, cash_rate, max_leverage, reentry, stop (a dict such as
        `{"kind": "none"}`, or `StopParams`), risk_free_rate, periods_per_year.

    Raises
    ------
    TypeError
        If a field is unknown.
    ValueError
        If a field is out of its bounds.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.date_range("2024-01-01", periods=4, tz="UTC")
    >>> close = pd.Series([100.0, 110.0, 121.0, 121.0], days)
    >>> backtester = Backtester(commission=0, slippage=0, execution="same_close", stop={"kind": "none"})
    >>> backtester.backtest(close, pd.Series(1.0, days)).equity.tolist()
    [100000.0, 110000.0, 121000.0, 121000.0]
    """

    def __init__(self, **engine: Any) -> None:
        known = [f.name for f in fields(EngineParams)]
        for name in engine:
            if name not in known:
                raise TypeError(f"Unknown engine field {name!r}{did_you_mean(name, known)}.")
        self.params = EngineParams(**engine)

    def backtest(
        self,
        prices: pd.DataFrame | pd.Series,
        signals: pd.Series,
        *,
        atr: pd.Series | None = None,
        benchmark_prices: pd.Series | None = None,
        rates: Mapping[str, pd.Series] | None = None,
    ) -> BacktestResult:
        """Trade `signals` on `prices`, from the first bar to the last.

        Parameters
        ----------
        prices : DataFrame or Series
            Columns open, high, low and close, or closes alone (then open = high = low = close) [quote]; the index is
            the start of each bar, aware of its time zone.
        signals : Series
            Target allocation decided at the close of each bar [1], on the index of `prices`.
        atr : Series, optional
            Average true range through the close of each bar [quote]; NaN where undefined: a position opened on it has
            no stop. Needed if the stop is of kind atr, which is the default.
        benchmark_prices : Series, optional
            Closes that alpha, beta and the information ratio are measured against [quote], on the index of `prices`;
            by default the closes of `prices` themselves.

        rates : mapping of str to Series, optional
            The series that `short_borrow_rate` and `funding` name, each on timestamps of its own: an annual rate [1]
            holds from its stamp on, funding [1] is paid at the first bar whose end is not before its stamp.

        Returns
        -------
        BacktestResult

        Raises
        ------
        TypeError
            If an argument is not a Series (or a DataFrame of prices), or its index holds no timestamps.
        ValueError
            If prices are missing or not positive, timestamps are naive, unsorted or duplicate, indexes differ, a signal
            is NaN or infinite, or an atr stop has no `atr`.
        """
        frame, index = _price_frame(prices)
        target = _column("signals", signals, index)
        _refuse("signals", index, target, ~np.isfinite(target), "finite; say 0 for no position")
        ranges = None
        if atr is not None:
            ranges = _column("atr", atr, index)
            _refuse("atr", index, ranges, np.isinf(ranges) | (ranges < 0), ">= 0, or NaN where undefined")
        elif self.params.stop.kind == "atr":
            raise ValueError(
                "An atr stop needs `atr`; pass `atr=` to backtest, or make the engine with stop={'kind': 'none'}."
            )
        market = _market(frame, index, self.params.series, rates or {})
        benchmark = None
        if benchmark_prices is not None:
            closes = _column("benchmark_prices", benchmark_prices, index)
            _refuse("benchmark_prices", index, closes, impossible_prices(closes), "finite and > 0")
            benchmark = returns_of_closes(closes, 0)
        result = run_trial(market, target, ranges, self.params, benchmark=benchmark)
        for curve in (result.equity, result.returns, result.allocation):
            curve.index = index
        for table in (result.trades, result.fills):
            for name in ("timestamp", "exit_timestamp"):
                if name in table:
                    table[name] = table[name].dt.tz_convert(index.tz)
        return result


def _price_frame(prices: pd.DataFrame | pd.Series) -> tuple[pd.DataFrame, pd.DatetimeIndex]:
    """Return checked open, high, low and close [quote], and their index."""
    if isinstance(prices, pd.Series):
        frame = pd.DataFrame(dict.fromkeys(PRICES, prices))
    elif isinstance(prices, pd.DataFrame):
        missing = [name for name in PRICES if name not in prices.columns]
        if missing:
            raise ValueError(
                f"`prices` must have the columns {', '.join(PRICES)}, but has no {', '.join(missing)} among "
                f"{', '.join(map(str, prices.columns))}; pass a Series of closes if that is all there is."
            )
        frame = prices.loc[:, list(PRICES)]
        if not frame.columns.is_unique:
            twice = frame.columns[frame.columns.duplicated()][0]
            raise ValueError(f"`prices` must have one column `{twice}`, but has more; drop the others.")
    else:
        raise TypeError(f"`prices` must be a DataFrame or a Series, but got {type(prices).__name__}.")
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex):
        raise TypeError(f"`prices` must be indexed by timestamps, but its index is a {type(index).__name__}.")
    if index.tz is None:
        raise ValueError("The timestamps of `prices` must be aware of their time zone; use prices.tz_localize('UTC').")
    if len(index) == 0:
        raise ValueError("`prices` must have at least one bar, but got none.")
    if index.hasnans:
        place = int(np.argmax(index.isna()))
        raise ValueError(f"The timestamps of `prices` must be known, but row {place} has none.")
    if index.has_duplicates:
        first = index[index.duplicated()][0]
        raise ValueError(f"The timestamps of `prices` must not repeat, but {first} does; drop one of its rows.")
    if not index.is_monotonic_increasing:
        place = int(np.flatnonzero(np.diff(index.asi8) < 0)[0]) + 1
        raise ValueError(
            f"The timestamps of `prices` must increase, but {index[place]} does not; use prices.sort_index()."
        )
    for name in PRICES:
        try:
            values = frame[name].to_numpy(dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"`prices` must be numbers, but {name} is of type {frame[name].dtype}.") from error
        _refuse(f"prices.{name}", index, values, impossible_prices(values), "finite and > 0")
    return frame.astype(np.float64), index


def _column(name: str, series: pd.Series, index: pd.DatetimeIndex) -> Float64Array1D:
    """Return the values of `series`, which must be on `index`."""
    if not isinstance(series, pd.Series):
        raise TypeError(f"`{name}` must be a Series on the index of `prices`, but got {type(series).__name__}.")
    if len(series) != len(index):
        raise ValueError(f"`{name}` must be as long as `prices`, {len(index)}, but has {len(series)} values.")
    if not series.index.equals(index):
        raise ValueError(f"`{name}` must have the index of `prices`, but it differs; use {name}.reindex(prices.index).")
    try:
        return series.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be numbers, but is of type {series.dtype}.") from error


def _refuse(name: str, index: pd.DatetimeIndex, values: Float64Array1D, wrong: np.ndarray, rule: str) -> None:
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"`{name}` must be {rule}, but is {values[place]} at {index[place]}.")


def _market(
    frame: pd.DataFrame, index: pd.DatetimeIndex, series: Mapping[str, str], rates: Mapping[str, pd.Series]
) -> Market:
    """Return the bars of `frame` as a market that is scored from its first bar on."""
    timestamp = index.as_unit("ns").asi8.copy()
    unknown = np.full(len(frame), np.nan)
    open_, high, low, close = (np.ascontiguousarray(frame[name].to_numpy(dtype=np.float64)) for name in PRICES)
    timeframe = timeframe_of(int(np.median(np.diff(timestamp))) if len(timestamp) > 1 else DAY)
    bars = Bars(
        symbol="prices",
        timeframe=timeframe,
        timestamp=timestamp,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=unknown,
        volatility=unknown,
        rates={field: _rate(field, name, rates, bar_end(timestamp, timeframe)) for field, name in series.items()},
        periods_per_year=count_periods_per_year(timestamp, timeframe),
    )
    block_end, block_unit = calendar_blocks(timestamp)
    return Market(
        bars=bars,
        first=0,
        block_end=block_end,
        block_unit=block_unit,
        week_start=starts_period(timestamp, "week"),
        month_start=starts_period(timestamp, "month"),
        fingerprint="",
    )


def _rate(field: str, name: str, rates: Mapping[str, pd.Series], end: Int64Array1D) -> Float64Array1D:
    """Return the joined series `name` of an engine field in each bar, whose ends are `end` (n_bars,) [ns]."""
    if name not in rates:
        raise ValueError(f"`engine.{field}` names a series {name!r}; pass rates={{{name!r}: Series}} to backtest.")
    series = rates[name]
    if not isinstance(series, pd.Series) or not isinstance(series.index, pd.DatetimeIndex) or series.index.tz is None:
        raise TypeError(f"`rates[{name!r}]` must be a Series on timestamps aware of their time zone.")
    series = series.sort_index()
    stamp, value = pd.DatetimeIndex(series.index).as_unit("ns").asi8.copy(), series.to_numpy(dtype=np.float64)
    if field == "funding":
        return sum_by_end(end, stamp, value)
    return join_by_end(end, stamp, value, max_staleness=np.iinfo(np.int64).max)

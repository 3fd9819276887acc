"""Bars out of the database, once and whole, into what strategies and the engine see."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alphapulse.data_pipeline.availability import ensure_bars, no_bars, offered_timeframe
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.quality import series_warnings
from alphapulse.data_pipeline.ranges import Moment, range_start, range_stop
from alphapulse.data_pipeline.storage.adjusted_reader import Adjust
from alphapulse.data_pipeline.storage.bar_reader import BarColumns, read_bars
from alphapulse.data_pipeline.storage.catalogue import list_series
from alphapulse.data_pipeline.storage.many_reader import StoredBars
from alphapulse.data_pipeline.storage.resampled_reader import read_any
from alphapulse.errors import ConfigError, DataError
from alphapulse.market.bars import PARTS, PRICES, Bars, impossible_prices
from alphapulse.market.calendar import count_periods_per_year
from alphapulse.market.joining import bar_end, join_by_end, sum_by_end
from alphapulse.market.market import Market
from alphapulse.market.timeframes import duration_length, labelled_end, parse_timeframe
from alphapulse.plain import command_line
from alphapulse.typing import Float64Array1D, Int64Array1D

if TYPE_CHECKING:
    from alphapulse.config.schema import DataConfig

# A standard deviation needs two returns.
FEWEST_SCORED = 2
# No exchange closes for longer but in a crisis.
CLOSED = pd.Timedelta(days=7)


class TooFewBarsError(DataError):
    """A symbol has no bars in the range, or fewer than its warm-up and two to score."""


@dataclass(frozen=True)
class History:
    """The bars of a study before the hold-out is cut off.

    Attributes
    ----------
    bars : Bars
        Warm-up bars first, then the scored ones; read-only.
    first : int
        Place of the first scored bar.
    fingerprint : str
        Hexadecimal SHA-256 of symbols, timeframe and arrays from `data.start` on (all, where it is None). It does not
        depend on the lookback.
    joined : mapping of (str, str) to BarColumns
        Bars of the volatility index and of the other symbols as stored, before the join, by symbol and timeframe.
    uncovered : tuple of str
        One line if the bars do not reach from `data.start` to `data.end`.
    """

    bars: Bars
    first: int
    fingerprint: str
    joined: Mapping[tuple[str, str], BarColumns] = field(default_factory=dict)
    uncovered: tuple[str, ...] = ()

    def split(self, holdout: float) -> tuple[Market, Market | None]:
        """Cut off the hold-out.

        Parameters
        ----------
        holdout : float
            Share of the scored bars, at their end [1].

        Returns
        -------
        search : Market
            Warm-up and the bars that the search may see; the arrays end there.
        holdout : Market or None
            The rest, with all earlier bars as its warm-up; None if the share is 0.

        Raises
        ------
        DataError
            If either part has fewer than two scored bars.
        """
        n_scored = len(self.bars) - self.first
        n_holdout = round(n_scored * holdout)
        if n_scored - n_holdout < FEWEST_SCORED or (holdout > 0.0 and n_holdout < FEWEST_SCORED):
            raise DataError(
                f"At least {FEWEST_SCORED} bars must be left for the search and for the hold-out, but "
                f"validation.holdout={holdout:g} leaves {n_scored - n_holdout} and {n_holdout} of {n_scored} scored "
                f"bars of {self.bars.symbol!r}; widen data.start and data.end, or change validation.holdout."
            )
        cut = len(self.bars) - n_holdout
        search = Market.of(self.bars[:cut], self.first, self.fingerprint)
        return search, Market.of(self.bars, cut, self.fingerprint) if n_holdout else None

    def warnings(self) -> list[str]:
        """Return what `data_warnings` cannot say: what range the bars lack, and faults of what is joined to them."""
        faults = [series_warnings(*name, stored.frame()) for name, stored in self.joined.items()]
        return [*self.uncovered, *(line for lines in faults for line in lines)]


def load_backtest_data(
    symbols: str | Sequence[str],
    timeframe: str,
    start_dt: Moment = None,
    end_dt: Moment = None,
    *,
    adjust: Adjust = "total",
    database: Database | None = None,
) -> dict[str, pd.DataFrame]:
    """Return the stored bars of each symbol.

    Parameters
    ----------
    symbols : str or sequence of str
    timeframe : str
        The length of a bar, such as "1d" or "1h"; put together from shorter bars where there are none of it.
    start_dt, end_dt : datetime with a time zone, date, or ISO 8601 text, optional
        The range of bar starts, both ends included; a plain date is its whole day, UTC. None is open.
    adjust : {"total", "split"}
        Whether prices count dividends as earned, or are adjusted for splits alone.
    database : Database, optional
        It is the one that the environment names by default. The sample's symbols are put into it if need be.

    Returns
    -------
    dict of str to DataFrame
        Columns open, high, low, close [quote] and volume (NaN where unknown), float64; the index is the start of
        each bar, UTC, named timestamp.

    Raises
    ------
    ValueError
        If the timeframe is none, a time has no zone, or the range ends before it starts.
    DataError
        If a symbol has no bars in the range.
    """
    wanted = [symbols] if isinstance(symbols, str) else list(symbols)
    if not wanted:
        raise ValueError("`symbols` must name at least one symbol, but got [].")
    timeframe = str(parse_timeframe(timeframe))
    start, stop = _check_range("start_dt", start_dt, "end_dt", end_dt)
    database = database if database is not None else open_database()
    ensure_bars(database, "sample", wanted, offered_timeframe("sample", timeframe), start, stop)
    frames = {}
    for symbol in wanted:
        columns = read_any(database, symbol, timeframe, start, stop, adjust=adjust)
        if len(columns) == 0:
            raise DataError(no_bars(database, "database", symbol, timeframe, start_dt, end_dt))
        _check_columns(symbol, timeframe, columns)
        index = pd.DatetimeIndex(columns.timestamp.view("datetime64[ns]"), name="timestamp").tz_localize("UTC")
        values = {name: getattr(columns, name) for name in (*PRICES, "volume")}
        frames[symbol] = pd.DataFrame(values, index=index, copy=False)
    return frames


def load_history(
    database: Database,
    data: "DataConfig",
    lookback: int,
    series: Mapping[str, str] | None = None,
    *,
    needs_volatility: bool = True,
    stored: StoredBars | None = None,
) -> History:
    """Return the bars of a study, joined, with `lookback` bars of warm-up before `data.start`.

    Where `data.start` is None, or has fewer bars before it, the first `lookback` bars are the warm-up and scoring
    starts after them. A timeframe that is not stored is put together from a shorter one that is. Other symbols and the
    volatility index are read in the traded timeframe or, where they have no such bars, daily. The sample's bars are
    stored first if need be, Yahoo's are fetched if absent (`data.source`).

    Parameters
    ----------
    lookback : int
        Largest lookback of the study [bars].
    series : mapping of str to str, optional
        Symbols whose closes are rates that the engine pays, by its field, see `EngineParams.series`.
    needs_volatility : bool
        Whether the strategy may look at the volatility index; one that nobody looks at may be absent.
    stored : StoredBars, optional
        Where bars are read; by default each series from the database as it is asked for.

    Raises
    ------
    ConfigError
        If the range of dates is impossible.
    DataError
        If there are no bars, too few, or bars that cannot be.
    """
    start, stop = range_of(data)
    symbol, timeframe = data.symbols[0], data.timeframe
    max_staleness = duration_length(data.max_staleness)
    stored = StoredBars(database, data.source, data.adjust) if stored is None else stored
    stored.ensure(symbol, offered_timeframe(data.source, timeframe), start, stop)
    columns = stored.read(symbol, timeframe, start, stop, lookback)
    _check_columns(symbol, timeframe, columns)
    n_before = 0 if start is None else int(np.searchsorted(columns.timestamp, start.as_unit("ns").value))
    if len(columns) == n_before:
        raise TooFewBarsError(no_bars(database, data.source, symbol, timeframe, data.start, data.end))
    first = max(n_before, lookback)
    if len(columns) - first < FEWEST_SCORED:
        raise TooFewBarsError(
            f"The lookback of {lookback} bars must leave at least {FEWEST_SCORED} to score, but {symbol!r} {timeframe} "
            f"has {len(columns)} bars up to {data.end or 'its end'}; take an earlier data.start, a later data.end or "
            "shorter windows (of one that is searched, its longest counts)."
        )

    end = labelled_end(columns.timestamp, timeframe) if columns.end is None else columns.end

    read: dict[tuple[str, str], BarColumns] = {}

    def join(other: str, *names: str) -> list[Float64Array1D]:
        earliest = joined_since(pd.Timestamp(int(columns.timestamp[0]), tz="UTC"), max_staleness)
        found, label = _read_other(stored, data, other, earliest, start, stop)
        ends = bar_end(found.timestamp, label) if found.end is None else found.end
        read[other, label] = found
        return [join_by_end(end, ends, getattr(found, name), max_staleness=max_staleness) for name in names]

    volatility = np.full(len(columns), np.nan)
    if data.volatility_symbol is not None:
        try:
            (volatility,) = join(data.volatility_symbol, "close")
        except DataError:
            if needs_volatility:
                raise
    others, parts = {}, {}
    for other in data.joined:
        others[other], *rest = join(other, "close", *PARTS)
        parts.update({f"{other}.{name}": part for name, part in zip(PARTS, rest, strict=True)})
    bars = Bars(
        symbol=symbol,
        timeframe=timeframe,
        timestamp=columns.timestamp,
        **{name: getattr(columns, name) for name in (*PRICES, "volume")},
        volatility=volatility,
        others=others,
        parts=parts,
        rates={field: _read_rate(database, data, field, name, end) for field, name in (series or {}).items()},
        periods_per_year=data.periods_per_year or count_periods_per_year(columns.timestamp, timeframe),
    )
    _freeze(bars)
    fingerprint = _fingerprint(data, bars[n_before if start is not None else 0 :])
    uncovered = _uncovered(bars[n_before:], end[-1], start, stop)
    return History(bars, first, fingerprint, read, uncovered)


def range_of(data: "DataConfig") -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """Return the moments [start, stop) of a study's range; None is open. An impossible range is a ConfigError."""
    try:
        return _check_range("data.start", data.start, "data.end", data.end)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def joined_since(first: pd.Timestamp, max_staleness: int) -> pd.Timestamp:
    """Return from where a series is read that is joined to bars from `first` on; `max_staleness` in [ns]."""
    return (first - pd.Timedelta(max_staleness)).floor("D") - pd.Timedelta(days=1)


def _uncovered(bars: Bars, end: int, start: pd.Timestamp | None, stop: pd.Timestamp | None) -> tuple[str, ...]:
    """Say which part of a range that was asked for has no bars: more than the days that an exchange may close."""
    first, last = (pd.Timestamp(int(stamp), tz="UTC") for stamp in (bars.timestamp[0], bars.timestamp[-1]))
    missing = []
    if start is not None and first - start > CLOSED:
        missing.append(f"from {start:%Y-%m-%d} to {first:%Y-%m-%d}")
    if stop is not None and stop - pd.Timestamp(int(end), tz="UTC") > CLOSED:
        missing.append(f"after {last:%Y-%m-%d}")
    if not missing:
        return ()
    download = command_line("download", data__symbols=[bars.symbol], data__timeframe=bars.timeframe)
    return (
        f"{bars.symbol} {bars.timeframe}: there are no bars {' and '.join(missing)}, so {len(bars):,} bars are all of "
        f"the range that was asked for; bring in more (`{download}`), or change data.start and data.end.",
    )


def _check_range(
    start_name: str, start: Moment, end_name: str, end: Moment
) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    opens, stop = range_start(start_name, start), range_stop(end_name, end)
    if opens is not None and stop is not None and opens >= stop:
        raise ValueError(f"`{start_name} <= {end_name}` must hold, but got {start_name}={start}, {end_name}={end}.")
    return opens, stop


def _check_columns(symbol: str, timeframe: str, columns: BarColumns) -> None:
    """Raise DataError for prices that cannot be; rows that other programs stored never met the providers' check."""
    for name in PRICES:
        prices = getattr(columns, name)
        bad = np.flatnonzero(impossible_prices(prices))
        if len(bad):
            stamp = pd.Timestamp(int(columns.timestamp[bad[0]]), tz="UTC").isoformat()
            raise DataError(
                f"`{name} > 0` and finite must hold, but {symbol!r} {timeframe} has {name}={prices[bad[0]]} at {stamp} "
                f"({len(bad)} such bars); correct or delete them in ohlcv_data."
            )


def _read_other(
    stored: StoredBars,
    data: "DataConfig",
    symbol: str,
    earliest: pd.Timestamp,
    start: pd.Timestamp | None,
    stop: pd.Timestamp | None,
) -> tuple[BarColumns, str]:
    """Return the bars that are joined, in the traded timeframe or daily, and their label."""
    labels = dict.fromkeys((data.timeframe, "1d"))
    for label in labels:
        offered = offered_timeframe(data.source, label)
        stored.ensure(symbol, offered, start, stop, required=False)
        columns = stored.read(symbol, label, earliest, stop)
        if len(columns):
            _check_columns(symbol, label, columns)
            return columns, label
    raise DataError(no_bars(stored.database, data.source, symbol, data.timeframe, data.start, data.end))


def _read_rate(database: Database, data: "DataConfig", field: str, symbol: str, end: Int64Array1D) -> Float64Array1D:
    """Return a stored series of rates in each bar, whose ends are `end`: closes hold, or fall due, at their stamps.

    A rate may be 0 or negative, unlike a price.
    """
    for series in list_series(database, [symbol]):
        stored = read_bars(database, symbol, series.timeframe, None, None)
        if field == "funding":
            return sum_by_end(end, stored.timestamp, stored.close)
        return join_by_end(end, stored.timestamp, stored.close, max_staleness=duration_length(data.max_staleness))
    raise DataError(
        f"`engine.{field}` must name a stored series of rates, but there are no bars of {symbol!r}; "
        "import them as a symbol of their own, the rate as its close."
    )


def _arrays(bars: Bars) -> dict[str, np.ndarray]:
    others: dict[str, np.ndarray] = {f"other {name}": close for name, close in bars.others.items()}
    others.update({f"part {name}": part for name, part in bars.parts.items()})
    others.update({f"rate {name}": rate for name, rate in bars.rates.items()})
    names = ("timestamp", *PRICES, "volume", "volatility")
    return {name: getattr(bars, name) for name in names} | dict(others)


def _freeze(bars: Bars) -> None:
    for array in _arrays(bars).values():
        if array.dtype == np.float64:
            # A NaN has many bit patterns; the fingerprint must see one.
            array[np.isnan(array)] = np.nan
        array.flags.writeable = False


def _fingerprint(data: "DataConfig", bars: Bars) -> str:
    digest = hashlib.sha256(repr((data.read, data.volatility_symbol, data.timeframe)).encode())
    for name, array in _arrays(bars).items():
        digest.update(f"{name} {len(array)} ".encode())
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()

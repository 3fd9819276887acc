"""Bars that a study needs are in the database before it reads them: the sample's always, Yahoo's where missing."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from alphapulse.data_pipeline.downloading.series import refresh_series
from alphapulse.data_pipeline.providers.base import UnreachableError
from alphapulse.data_pipeline.providers.sample_provider import FILES, SampleProvider
from alphapulse.data_pipeline.ranges import Moment
from alphapulse.data_pipeline.storage.coverage import missing_spans, remember_nothing
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.data_pipeline.storage.ingests import SecondSourceError, Source
from alphapulse.errors import DataError
from alphapulse.market.resampling import best_source
from alphapulse.market.timeframes import DAY, timeframe_length
from alphapulse.plain import command_line

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database

COUNT = "SELECT count(*) FROM ohlcv_data WHERE symbol = $1 AND timeframe = $2"
EXTENT = "SELECT min(timestamp), max(timestamp) FROM ohlcv_data WHERE symbol = $1 AND timeframe = $2"


def ensure_bars(
    database: "Database",
    source: str,
    symbols: Sequence[str],
    timeframe: str,
    start: pd.Timestamp | None,
    stop: pd.Timestamp | None,
    *,
    required: bool = True,
) -> None:
    """Put bars into the database that its source can give and that are not there.

    The sample is stored whole, in place of stored bars that differ, unless there are as many. Yahoo is asked for what
    is missing in the range, that is what no source was asked for before: for the whole daily history, or the range of
    intraday bars, where nothing is known of the series. What is there is not asked for again, and not written over.

    Parameters
    ----------
    source : {"sample", "yahoo", "database"}
        The value of `data.source`; "database" fetches nothing.
    start, stop : Timestamp, optional
        The range [start, stop) that is needed; None is open.
    required : bool
        Whether bars that Yahoo does not have are an error.

    Raises
    ------
    DataError
        If the source cannot be reached, or lacks `required` bars.
    """
    if source == "sample":
        held = [symbol for symbol in symbols if symbol in FILES and timeframe == "1d"]
        series = SampleProvider().fetch(held, ["1d"], None, None) if held else []
        incomplete = [one for one in series if _ask(database, COUNT, one.symbol, "1d")[0] < len(one.bars)]
        if incomplete:
            write_bars(database, incomplete, Source("sample"), replace=True)
    elif source == "yahoo":
        for symbol in symbols:
            try:
                _fetch_missing(database, symbol, timeframe, start, stop)
            except UnreachableError:
                raise
            except DataError:
                if required:
                    raise


def _fetch_missing(
    database: "Database", symbol: str, timeframe: str, start: pd.Timestamp | None, stop: pd.Timestamp | None
) -> None:
    from alphapulse.data_pipeline.providers.yfinance_provider import SETTLING, YFinanceProvider

    spans = missing_spans(database, symbol, timeframe, start, stop)
    if spans == []:
        return
    feed = YFinanceProvider()
    if spans is None:
        # Daily history is fetched whole: the next study may start earlier. Intraday, Yahoo has a short window.
        bounds = (None, None) if timeframe_length(timeframe) >= DAY else (start, stop)
        refresh_series(database, feed, symbol, timeframe, *bounds)
        return
    ended = feed.now() - pd.Timedelta(timeframe_length(timeframe))
    for first, last in spans:
        if first is not None and first > ended:
            continue
        try:
            refresh_series(database, feed, symbol, timeframe, first, last)
        except (UnreachableError, SecondSourceError):
            raise
        except DataError:
            # There are other bars; that Yahoo has none here is said by what is loaded.
            if last is not None and last < ended - SETTLING:
                remember_nothing(database, feed.name, symbol, timeframe, (first, last))


def offered_timeframe(source: str, timeframe: str) -> str:
    """Return the timeframe that a source has for bars of `timeframe` to be put together from; itself where it can."""
    if source == "database":
        return timeframe
    offered: Sequence[str] = ("1d",)
    if source == "yahoo":
        from alphapulse.data_pipeline.providers.yfinance_provider import TIMEFRAMES

        offered = TIMEFRAMES
    return timeframe if timeframe in offered else best_source(offered, timeframe) or timeframe


def _ask(database: "Database", query: str, *arguments: object) -> Any:
    """Return the one row of the answer."""

    async def ask() -> Any:
        connection = await database.connect()
        try:
            return await connection.fetchrow(query, *arguments)
        finally:
            await connection.close()

    return database.run(ask())


def no_bars(database: "Database", source: str, symbol: str, timeframe: str, start: Moment, end: Moment) -> str:
    """Return the line that says that a symbol has no bars in a range, and what to do."""
    wanted = f" in [{start or 'the first'}, {end or 'the last'}]" if start or end else ""
    first, last = _ask(database, EXTENT, symbol, timeframe)
    if first is not None:
        advice = f"stored are {_short(first)} to {_short(last)}, so change data.start and data.end, or download more"
    elif symbol in FILES:
        advice = "the sample has daily bars only; set data.timeframe=1d"
    else:
        more = {} if timeframe == "1d" else {"data__timeframe": timeframe}
        advice = f"run `{command_line('download', data__symbols=[symbol], **more)}`"
        if source == "sample":
            advice += f" and set data=database, or take {' or '.join(FILES)}"
    return f"No bars for {symbol!r} {timeframe}{wanted}; {advice}."


def _short(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d" if moment.hour == moment.minute == 0 else "%Y-%m-%dT%H:%MZ")

"""One series of a feed brought up to date: what to ask for, whether the answer fits what is stored, and storing it.

A feed adjusts its prices for splits as of the day it is asked. So an answer is compared with what the same feed gave
before: bars that differ by one factor mean a split in between, and the series is read again whole. So are bars of an
unknown source, from before sources were kept: they are adjusted for dividends too.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import pandas as pd

from alphapulse.config.schema import QualityConfig
from alphapulse.data_pipeline.downloading.screening import screen
from alphapulse.data_pipeline.downloading.seams import FEWEST_SHARED, is_unadjusted, split_between
from alphapulse.data_pipeline.providers.base import Feed, Fetched, UnreachableError
from alphapulse.data_pipeline.storage.actions import known_splits
from alphapulse.data_pipeline.storage.db_writer import Reread, Written, write_bars
from alphapulse.data_pipeline.storage.ingests import Source
from alphapulse.data_pipeline.storage.quarantine import without_decided
from alphapulse.errors import DataError
from alphapulse.market.timeframes import DAY, timeframe_length

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database

STATE = """
    SELECT coalesce(bool_or(ingest_id IS NULL), false) AS unknown,
        min(timestamp) FILTER (WHERE provider = $3 OR ingest_id IS NULL) AS first,
        max(timestamp) FILTER (WHERE provider = $3) AS last
    FROM ohlcv_data AS bars LEFT JOIN ingest ON ingest.id = ingest_id
    WHERE bars.symbol = $1 AND bars.timeframe = $2"""
IS_WHOLE = """
    SELECT EXISTS (SELECT FROM ingest WHERE symbol = $1 AND timeframe = $2 AND provider = $3
    AND start_at = '-infinity')"""
CLOSES = """
    SELECT bars.timestamp, close FROM ohlcv_data AS bars JOIN ingest ON ingest.id = ingest_id
    WHERE bars.symbol = $1 AND bars.timeframe = $2 AND provider = $3 AND timestamp >= $4 AND timestamp <= $5
    ORDER BY timestamp"""
NEAREST = """
    SELECT timestamp FROM ohlcv_data AS bars JOIN ingest ON ingest.id = ingest_id
    WHERE bars.symbol = $1 AND bars.timeframe = $2 AND provider = $3 AND timestamp {} $4
    ORDER BY timestamp {} LIMIT 10"""
LEFT_UNKNOWN = """
    SELECT count(*) AS n, max(timestamp) AS last FROM ohlcv_data
    WHERE symbol = $1 AND timeframe = $2 AND ingest_id IS NULL"""
# Splits are of whole shares, and few of more than this.
MOST_SHARES = 50
UNADJUSTED_SPLIT = "Yahoo announces this split but has not adjusted the bars before it yet"


@dataclass(frozen=True)
class Refreshed:
    """What bringing one series up to date did.

    Attributes
    ----------
    fetched : Fetched
        What is stored of the answer.
    written : Written
    notes : sequence of str
        What a reader of the summary should know.
    was_split : bool
        Whether the series was read again whole because of a split.
    """

    fetched: Fetched
    written: Written
    notes: Sequence[str] = ()
    was_split: bool = False


@dataclass(frozen=True)
class _Series:
    database: "Database"
    feed: Feed
    symbol: str
    timeframe: str
    quality: QualityConfig

    @property
    def key(self) -> tuple[str, str, str]:
        return self.symbol, self.timeframe, self.feed.name

    @property
    def name(self) -> str:
        return f"{self.symbol} {self.timeframe}"

    def fetch(self, start: pd.Timestamp | None, end: pd.Timestamp | None) -> Fetched:
        (fetched,) = self.feed.fetch([self.symbol], [self.timeframe], start, end)
        return fetched


def refresh_series(
    database: "Database",
    feed: Feed,
    symbol: str,
    timeframe: str,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    *,
    replace: bool = False,
    quality: QualityConfig | None = None,
) -> Refreshed:
    """Fetch and store the bars of one series that start in [start, end).

    Without a start, the whole history is fetched once; after that what follows the last stored bar, and what the feed
    may have revised before it. With `replace` the range is fetched whole, and stored over what other sources gave.

    Raises
    ------
    DataError
        If the feed cannot be reached or does not have the series, or another source has given other bars.
    """
    series = _Series(database, feed, symbol, timeframe, QualityConfig() if quality is None else quality)
    (state,) = database.fetch(STATE, *series.key)
    if state["unknown"]:
        return _read_whole(series, None, replace, "its bars were of an unknown source")
    first = start
    if start is None and state["last"] is not None and not replace and database.fetch(IS_WHOLE, *series.key)[0][0]:
        first = pd.Timestamp(state["last"]) - feed.settling(timeframe)
    fetched = series.fetch(first, end)
    if state["last"] is not None:
        factor, reason = _new_split(series, fetched)
        if reason is not None:
            done = _read_whole(series, factor, replace, reason)
            return dataclasses.replace(done, was_split=True)
    done = _store(series, fetched, replace)
    return dataclasses.replace(done, notes=[*done.notes, *_stuck(series, fetched)]) if end is None else done


def _store(series: _Series, fetched: Fetched, overwrite: bool, reread: Reread | None = None) -> Refreshed:
    fetched, notes = _without_unadjusted(series, fetched)
    # What is stored is of other prices where the series is read again.
    fetched = screen(series.database, fetched, series.quality, alone=reread is not None)
    fetched = dataclasses.replace(fetched, rejected=without_decided(series.database, fetched))
    source = Source(series.feed.name)
    (written,) = write_bars(series.database, [fetched], source, replace=overwrite, reread=reread)
    return Refreshed(fetched, written, [*fetched.notes, *notes])


def _stuck(series: _Series, fetched: Fetched) -> list[str]:
    """Say that a feed that was asked for all up to now has given nothing of late."""
    if fetched.covers is None or fetched.covers[1] is None or not len(fetched.bars):
        return []
    last, known = fetched.bars["timestamp"].iloc[-1], fetched.covers[1]
    if known <= last + pd.Timedelta(timeframe_length(series.timeframe)):
        return []
    return [f"{series.name}: no bar after {last:%Y-%m-%d}; the feed is stuck, or it is no longer traded."]


def _new_split(series: _Series, fetched: Fetched) -> tuple[float | None, str | None]:
    """Return by which factor stored prices are too high, if that is known, and why they are to be read again."""
    stored = _shared_closes(series, fetched.bars)
    bars = fetched.bars
    if len(stored) < FEWEST_SHARED and len(bars):
        bars = pd.concat([bars, _probe(series, bars)], ignore_index=True)
        stored = _shared_closes(series, bars)
    shared = bars.drop_duplicates("timestamp").set_index("timestamp")["close"].reindex(stored.index).dropna()
    factor = split_between(stored.reindex(shared.index).to_numpy(), shared.to_numpy())
    if factor is not None:
        factor = float(Fraction(factor).limit_denominator(MOST_SHARES))
        return factor, f"stored prices are {factor:g} times those that it has now, as after a split"
    if len(shared) < FEWEST_SHARED:
        known = known_splits(series.database, series.symbol)
        for action in fetched.actions:
            if action.kind == "split" and action.timestamp not in known:
                return None, f"it was split {action.value:g} for 1 on {action.timestamp:%Y-%m-%d}"
    return None, None


def _shared_closes(series: _Series, bars: pd.DataFrame) -> pd.Series:
    """Return stored closes [quote] of the same feed by start, where `bars` reach."""
    if not len(bars):
        return pd.Series(dtype=float)
    bounds = (bars["timestamp"].min(), bars["timestamp"].max())
    rows = series.database.fetch(CLOSES, *series.key, *bounds)
    index = pd.DatetimeIndex([row["timestamp"] for row in rows], tz="UTC").as_unit("ns")
    stored = pd.Series([row["close"] for row in rows], index=index, dtype=float)
    return stored[stored.index.isin(bars["timestamp"])]


def _probe(series: _Series, bars: pd.DataFrame) -> pd.DataFrame:
    """Return what the feed says now of the stored bars that are next to an answer that shares none with them."""
    first, last = bars["timestamp"].min(), bars["timestamp"].max()
    for bound, beyond, order in ((first, "<", "DESC"), (last, ">", "ASC")):
        rows = series.database.fetch(NEAREST.format(beyond, order), *series.key, bound)
        if rows:
            stamps = [pd.Timestamp(row["timestamp"]) for row in rows]
            try:
                return series.fetch(min(stamps), max(stamps) + pd.Timedelta(timeframe_length(series.timeframe))).bars
            except UnreachableError:
                raise
            except DataError:
                break
    return bars.iloc[:0]


def _read_whole(series: _Series, factor: float | None, overwrite: bool, reason: str) -> Refreshed:
    """Store all that the feed has in place of what is stored, and bring what it no longer has to the same prices."""
    try:
        fetched = series.fetch(None, None)
    except UnreachableError:
        raise
    except DataError:
        # Of bars of less than a day a feed gives the last ones unless it is told where to begin.
        (state,) = series.database.fetch(STATE, *series.key)
        fetched = series.fetch(pd.Timestamp(state["first"]), None)
    done = _store(series, fetched, overwrite, Reread(factor))
    notes = [f"{series.name}: read again whole, since {reason}.", *done.notes]
    if factor is not None and done.written.n_rescaled:
        notes.append(
            f"{series.name}: {done.written.n_rescaled:,} bars that {series.feed.name} no longer has are divided by "
            f"{factor:g}."
        )
    (left,) = series.database.fetch(LEFT_UNKNOWN, series.symbol, series.timeframe)
    if left["n"]:
        notes.append(
            f"{series.name}: {left['n']:,} bars up to {left['last']:%Y-%m-%d} stay of an unknown source, perhaps "
            f"adjusted for dividends; {series.feed.name} no longer has them."
        )
    return Refreshed(done.fetched, done.written, [*notes, *_stuck(series, done.fetched)])


def _without_unadjusted(series: _Series, fetched: Fetched) -> tuple[Fetched, list[str]]:
    """Leave out bars from a split on if the feed has not adjusted the prices before it; it does so within days."""
    bars = fetched.bars
    for action in fetched.actions:
        place = int((bars["timestamp"] < action.timestamp).sum())
        if action.kind != "split" or not 0 < place < len(bars):
            continue
        before, after = bars["close"].iloc[place - 1], bars["close"].iloc[place]
        if is_unadjusted(before, after, action.value):
            late = bars.iloc[place:]
            kept = dataclasses.replace(
                fetched,
                bars=bars.iloc[:place],
                actions=[other for other in fetched.actions if other.timestamp < action.timestamp],
                actions_of=fetched.actions_of and (fetched.actions_of[0], action.timestamp - pd.Timedelta(DAY)),
                covers=fetched.covers and (fetched.covers[0], late["timestamp"].iloc[0]),
            )
            return kept, [
                f"{series.name}: {len(late):,} bars from {action.timestamp:%Y-%m-%d} on are left out, since "
                f"{UNADJUSTED_SPLIT} ({action.value:g} for 1); run the same command again tomorrow."
            ]
    return fetched, []

"""Many series of a feed brought up to date: several symbols at once, each series stored by itself."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from alphapulse.config.schema import QualityConfig
from alphapulse.data_pipeline.downloading.series import Refreshed, refresh_series
from alphapulse.data_pipeline.providers.base import Feed, UnreachableError
from alphapulse.data_pipeline.storage.ingests import series_of
from alphapulse.errors import DataError

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database

# So many series in a row that could not be reached, and the source is taken to be away.
MOST_UNREACHABLE = 3


@dataclass(frozen=True)
class Failure:
    """A series that is not stored, and why, in one line."""

    symbol: str
    timeframe: str
    reason: str


@dataclass(frozen=True)
class Wanted:
    """What of a feed is to be brought up to date.

    Attributes
    ----------
    symbols, timeframes : sequence of str
        Each symbol in each timeframe.
    start, end : Timestamp, optional
        Range of bar starts [start, end), UTC; without a start, what is missing.
    replace : bool
        Whether bars of other sources are written over.
    quality : QualityConfig, optional
        What becomes of prices that cannot be right; by default what the configuration has.
    """

    symbols: Sequence[str]
    timeframes: Sequence[str]
    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None
    replace: bool = False
    quality: QualityConfig | None = None


@dataclass
class _Reach:
    """Whether the source answers at all; shared by threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    n_unreachable: int = 0
    last: str = ""

    def note(self, error: DataError | None) -> None:
        with self.lock:
            if isinstance(error, UnreachableError):
                self.n_unreachable += 1
                self.last = str(error)
            else:
                self.n_unreachable = 0

    @property
    def is_away(self) -> bool:
        return self.n_unreachable >= MOST_UNREACHABLE


def refresh_all(
    database: "Database", feed: Feed, wanted: Wanted, count: Callable[[str], None] = lambda name: None
) -> tuple[list[Refreshed], list[Failure]]:
    """Bring every series up to date that can be; each is stored as soon as it is there.

    A series that fails costs itself. After some in a row that could not be reached the others are not asked for: the
    next run begins with what is missing. Where a series was split, the symbol's other stored series are read again too.

    Parameters
    ----------
    count : callable
        Told the name of each series when it is done, from the threads that do them.

    Returns
    -------
    done : list of Refreshed
    failures : list of Failure
        Both in the order of `wanted`.
    """
    reach = _Reach()

    def one_symbol(symbol: str) -> list[Refreshed | Failure]:
        outcomes = [one_series(symbol, timeframe) for timeframe in wanted.timeframes]
        if any(isinstance(one, Refreshed) and one.was_split for one in outcomes):
            others = [t for _, t in series_of(database, feed.name, symbol) if t not in wanted.timeframes]
            outcomes += [one_series(symbol, timeframe) for timeframe in others]
        return outcomes

    def one_series(symbol: str, timeframe: str) -> Refreshed | Failure:
        if reach.is_away:
            return Failure(symbol, timeframe, f"not asked for, since nobody answered before: {reach.last}")
        try:
            done = refresh_series(
                database,
                feed,
                symbol,
                timeframe,
                wanted.start,
                wanted.end,
                replace=wanted.replace,
                quality=wanted.quality,
            )
        except DataError as error:
            reach.note(error)
            return Failure(symbol, timeframe, str(error))
        else:
            reach.note(None)
            return done
        finally:
            count(f"{symbol} {timeframe}")

    with ThreadPoolExecutor(feed.workers, thread_name_prefix="download") as pool:
        futures: list[Future[list[Refreshed | Failure]]] = [pool.submit(one_symbol, one) for one in wanted.symbols]
        try:
            outcomes = [outcome for future in futures for outcome in future.result()]
        except BaseException:
            feed.abandon()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    done = [one for one in outcomes if isinstance(one, Refreshed)]
    return done, [one for one in outcomes if isinstance(one, Failure)]

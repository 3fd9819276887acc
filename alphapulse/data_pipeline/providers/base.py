"""What a source of bars gives, and the one check that all of them pass through."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from alphapulse.data_pipeline.models import COLUMNS
from alphapulse.errors import DataError
from alphapulse.market.bars import PRICES, impossible_prices, impossible_volumes


class UnreachableError(DataError):
    """The source answers nobody now, whatever is asked: the fetch ends here."""


# Of one piece of a series; what is more is counted.
MOST_REJECTED = 10_000


@dataclass(frozen=True)
class Rejected:
    """A row that cannot be a bar.

    Attributes
    ----------
    where : str
        Where it stands: "line 12", or a timestamp.
    reason : str
        Why it is refused.
    line : int
        Line in the file, 0 if there is none; rows are reported in this order.
    text : str
        How the row reads.
    timestamp : str, optional
        Start of the bar, ISO 8601, UTC, where the row says one.
    values : (float, float, float, float, float), optional
        Open, high, low, close and volume where they are numbers; NaN where they are missing.
    n : int
        Rows that it stands for, where there are too many to be kept one by one.
    """

    where: str
    reason: str
    line: int = 0
    text: str = ""
    timestamp: str | None = None
    values: tuple[float, ...] | None = None
    n: int = 1

    @classmethod
    def at_line(cls, line: int, reason: str, text: str = "") -> "Rejected":
        """Return a row refused in a file."""
        return cls(f"line {line}", reason, line, text)


def count_rows(rejected: Iterable[Rejected]) -> int:
    """Return how many rows were refused."""
    return sum(row.n for row in rejected)


@dataclass(frozen=True)
class Action:
    """A dividend or a split of a symbol.

    Attributes
    ----------
    timestamp : Timestamp
        The ex-date at the exchange, at 00:00Z: the first day that trades without the dividend, or at the new count.
    kind : {"dividend", "split"}
    value : float
        The dividend [quote a share, as of the splits known today], or new shares for an old one [1].
    """

    timestamp: pd.Timestamp
    kind: Literal["dividend", "split"]
    value: float


@dataclass(frozen=True)
class Fetched:
    """The bars of one symbol and timeframe.

    Attributes
    ----------
    symbol, timeframe : str
    bars : DataFrame
        Columns timestamp (start, UTC), symbol, timeframe, open, high, low, close, volume;
        sorted by timestamp, without duplicates; volume NaN where unknown.
    rejected : sequence of Rejected
        Rows that are not in `bars`.
    actions : sequence of Action
        Dividends and splits of the symbol.
    actions_of : (Timestamp, Timestamp), optional
        The first and the last date, 00:00Z, of which these are all; None where there may be others.
    covers : (Timestamp or None, Timestamp or None), optional
        The source has no other bars that start in [first, second), UTC; None for either end is open. By default the
        range of `bars`.
    notes : sequence of str
        What a reader of the summary should know, one line each.
    """

    symbol: str
    timeframe: str
    bars: pd.DataFrame
    rejected: Sequence[Rejected] = field(default_factory=tuple)
    actions: Sequence[Action] = field(default_factory=tuple)
    actions_of: tuple[pd.Timestamp, pd.Timestamp] | None = None
    covers: tuple[pd.Timestamp | None, pd.Timestamp | None] | None = None
    notes: Sequence[str] = field(default_factory=tuple)


class Provider(Protocol):
    """A source of bars: the class in NAME_provider.py beside this file whose `name` is NAME.

    It is made without arguments, or with `path` if it has an argument of that name: the value of `provider.path`, a
    str or None.
    """

    name: str
    """What `provider=NAME` calls it."""

    symbols: Sequence[str]
    """The symbols that are fetched where none is asked for; empty for all there are."""

    timeframes: Sequence[str]
    """The timeframes that are fetched where none is asked for; empty for all there are."""

    def fetch(
        self,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start: pd.Timestamp | None,
        end: pd.Timestamp | None,
    ) -> Iterator[Fetched]:
        """Yield the bars of each symbol and timeframe that start in [start, end).

        Parameters
        ----------
        symbols, timeframes : sequence of str
            An empty sequence stands for the provider's own.
        start, end : Timestamp, optional
            Moments in UTC; None reaches as far as the source goes.

        Raises
        ------
        DataError
            If the source cannot be read or has nothing, in one line.
        """


@runtime_checkable
class Feed(Provider, Protocol):
    """A source whose answers are as of the day it is asked: later splits and revisions change them."""

    workers: int
    """How many symbols may be asked for at once, each in a thread of its own."""

    def settling(self, timeframe: str) -> pd.Timedelta:
        """Return how long before the last stored bar bars are asked for again, since they may have been revised."""

    def abandon(self) -> None:
        """Let whoever waits for an answer in another thread give up."""


def checked(
    symbol: str, timeframe: str, rows: pd.DataFrame, lines: Sequence[int] | np.ndarray | None = None
) -> Fetched:
    """Split `rows` into bars and rejected rows.

    Refused is what cannot be a bar: a missing, infinite or non-positive price, high below low, a negative volume, and
    all but the last of the rows with one timestamp. Open or close outside [low, high] is published by real
    feeds and stays.

    Parameters
    ----------
    rows : DataFrame
        Columns timestamp (UTC) and the prices and volume.
    lines : sequence of int, optional
        Line in its file of each row; by default a refused row is named by its timestamp.
    """
    prices = rows[list(PRICES)].to_numpy(dtype=np.float64)
    volume = rows["volume"].to_numpy(dtype=np.float64)
    high, low = prices[:, 1], prices[:, 2]
    # The number of the reason of each row, 0 for none.
    codes = np.zeros(len(rows), dtype=np.int8)
    texts = [""]

    def refuse(mask: np.ndarray, reason: str) -> None:
        texts.append(reason)
        codes[mask & (codes == 0)] = len(texts) - 1

    for place, name in enumerate(PRICES):
        refuse(~np.isfinite(prices[:, place]), f"{name} is not a number")
        refuse(impossible_prices(prices[:, place]), f"{name} is not positive")
    refuse(high < low, "high is below low")
    refuse(impossible_volumes(volume), "volume is negative or infinite")
    stamps = rows["timestamp"]
    if not stamps.is_monotonic_increasing or not stamps.is_unique:
        accepted = stamps.where(codes == 0)
        refuse((accepted.notna() & accepted.duplicated(keep="last")).to_numpy(), "its timestamp comes again later")

    rejected = []
    bad = np.flatnonzero(codes)
    for place in bad[:MOST_REJECTED].tolist():
        stamp = stamps.iloc[place].isoformat()
        values = (*prices[place].tolist(), float(volume[place]))
        line = 0 if lines is None else int(lines[place])
        where = f"line {line}" if line else stamp
        text = " ".join([stamp, *(f"{value:.10g}" for value in values)])
        rejected.append(Rejected(where, texts[codes[place]], line, text, stamp, values))
    if len(bad) > MOST_REJECTED:
        place, n_more = int(bad[MOST_REJECTED]), len(bad) - MOST_REJECTED
        where = stamps.iloc[place].isoformat() if lines is None else f"line {lines[place]:,} and on"
        line = 0 if lines is None else int(lines[place])
        reason = f"{n_more:,} more rows are no bars, the first since {texts[codes[place]]}"
        rejected.append(Rejected(where, reason, line, n=n_more))
    bars = (rows.loc[codes == 0] if rejected else rows).assign(symbol=symbol, timeframe=timeframe)
    if not stamps.is_monotonic_increasing:
        bars = bars.sort_values("timestamp", kind="stable")
    return Fetched(symbol, timeframe, bars[list(COLUMNS)].reset_index(drop=True), tuple(rejected))

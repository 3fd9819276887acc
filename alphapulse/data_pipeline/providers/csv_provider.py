"""Bars from a CSV file with the columns timestamp, symbol, timeframe, open, high, low, close, volume.

The columns are found by name, in any order; others are ignored, and volume may be empty. A timestamp is the START of
the bar, in ISO 8601 with Z or an offset ("2015-11-16T16:30:00Z"); for bars of a day or more a plain date does
("2015-11-16"). A time without an offset is refused: it would be a guess. A file name that ends with .gz is
decompressed.
"""

import csv
import gzip
import io
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from alphapulse.data_pipeline.models import COLUMNS
from alphapulse.data_pipeline.providers.base import Fetched, Rejected, checked
from alphapulse.errors import DataError, did_you_mean
from alphapulse.market.bars import PRICES
from alphapulse.market.timeframes import DAY, Timeframe, parse_timeframe

NUMBERS = (*PRICES, "volume")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CsvProvider:
    """Reads one CSV file.

    Parameters
    ----------
    path : str or Path
        The value of `provider.path`: the file.
    """

    name = "csv"
    symbols: Sequence[str] = ()
    timeframes: Sequence[str] = ()

    def __init__(self, path: str | Path | None) -> None:
        if path is None or not str(path):
            raise DataError("`provider.path` must name the CSV file; write provider=csv provider.path=FILE")
        self.path = Path(path).expanduser()
        if not self.path.is_file():
            raise DataError(f"`provider.path` must be a file, but got {str(self.path)!r}; set provider.path=FILE.")

    def fetch(
        self,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start: pd.Timestamp | None,
        end: pd.Timestamp | None,
    ) -> Iterator[Fetched]:
        """Yield the bars of the file, all of its symbols and timeframes by default; see `Provider.fetch`.

        Rows that cannot be a bar are rejected with their line in the file.
        """
        series, rejected = self._read()
        if not series and not rejected:
            raise DataError(f"{self.path} has no rows below its header; check provider.path.")
        chosen = {
            key: rows
            for key, rows in series.items()
            if (not symbols or key[0] in symbols) and (not timeframes or key[1] in timeframes)
        }
        if not chosen and series:
            held = ", ".join(f"{symbol!r} {timeframe}" for symbol, timeframe in sorted(series)[:5])
            raise DataError(f"{self.path} has none of the wanted symbols and timeframes, but {held}; set data.symbols.")
        for symbol, timeframe in chosen or [("", "")]:
            rows = chosen.get((symbol, timeframe), [])
            fetched = _frame(symbol, timeframe, rows, start, end)
            # Rows whose symbol cannot be trusted either are reported with the first series.
            yield Fetched(symbol, timeframe, fetched.bars, (*rejected, *fetched.rejected))
            rejected = []

    def _read(self) -> tuple[dict[tuple[str, str], list[tuple[float, ...]]], list[Rejected]]:
        """Return rows (line, timestamp [ns], prices, volume) by symbol and timeframe, and the refused rows."""
        series: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
        rejected: list[Rejected] = []
        lengths: dict[str, Timeframe] = {}
        try:
            with self._open() as file:
                reader = csv.reader(file)
                header = [name.strip().lower() for name in next(reader, [])]
                places = self._places(header)
                for row in reader:
                    if not row:
                        continue
                    line = reader.line_num
                    try:
                        if len(row) != len(header):
                            raise ValueError(f"{len(header)} fields are expected, but it has {len(row)}")
                        stamp, symbol, timeframe, *numbers = (row[place].strip() for place in places)
                        if not symbol:
                            raise ValueError("symbol is empty")
                        if timeframe not in lengths:
                            lengths[timeframe] = parse_timeframe(timeframe)
                        moment = _moment(stamp, lengths[timeframe].length)
                        values = [_number(name, text) for name, text in zip(NUMBERS, numbers, strict=True)]
                    except ValueError as error:
                        rejected.append(Rejected.at_line(line, str(error).rstrip(".")))
                        continue
                    series[symbol, str(lengths[timeframe])].append((line, moment, *values))
        except (OSError, UnicodeDecodeError, csv.Error, EOFError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise DataError(f"{self.path} cannot be read as CSV ({reason}); check provider.path.") from error
        return series, rejected

    def _open(self) -> io.TextIOBase:
        if self.path.suffix == ".gz":
            return io.TextIOWrapper(gzip.open(self.path), encoding="utf-8-sig", newline="")
        return open(self.path, encoding="utf-8-sig", newline="")

    def _places(self, header: list[str]) -> list[int]:
        if not header:
            raise DataError(f"{self.path} is empty; a CSV with the columns {','.join(COLUMNS)} is expected.")
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            near = did_you_mean(missing[0], [name for name in header if name not in COLUMNS])
            raise DataError(
                f"{self.path} lacks the column {', '.join(missing)}{near or ';'} "
                f"its header must name {','.join(COLUMNS)}."
            )
        return [header.index(name) for name in COLUMNS]


def _moment(text: str, length: int) -> int:
    """Return the moment that `text` names [ns since the epoch]."""
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"timestamp {text!r} is not an ISO 8601 date or time") from None
    if stamp.tzinfo is None:
        if length < DAY or len(text) > len("2015-11-16"):
            raise ValueError(f"timestamp {text!r} has no time zone; add Z or an offset")
        stamp = stamp.replace(tzinfo=UTC)
    if length >= DAY:
        # A daily bar is its date as the exchange writes it, whatever the offset.
        stamp = datetime(stamp.year, stamp.month, stamp.day, tzinfo=UTC)
    since = stamp - EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def _number(name: str, text: str) -> float:
    if not text and name == "volume":
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} {text!r} is not a number") from None


def _frame(
    symbol: str,
    timeframe: str,
    rows: list[tuple[float, ...]],
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
) -> Fetched:
    columns = list(zip(*rows, strict=True)) or [()] * (2 + len(NUMBERS))
    stamps = np.array(columns[1], dtype=np.int64)
    bars = pd.DataFrame(
        {"timestamp": pd.to_datetime(stamps, unit="ns", utc=True)}
        | {name: np.array(values, dtype=np.float64) for name, values in zip(NUMBERS, columns[2:], strict=True)}
    )
    inside = np.ones(len(bars), dtype=bool)
    if start is not None:
        inside &= (bars["timestamp"] >= start).to_numpy()
    if end is not None:
        inside &= (bars["timestamp"] < end).to_numpy()
    places = np.flatnonzero(inside)
    lines = [int(columns[0][place]) for place in places]
    return checked(symbol, timeframe, bars[inside].reset_index(drop=True), lines)

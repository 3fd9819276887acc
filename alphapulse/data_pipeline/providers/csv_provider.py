"""Bars from text files as people have them, see `files`: which file, whose export, which columns is found and said.

A timestamp is the START of a bar. One with an offset, or counted from 1970, is that moment whatever the length of the
bar; a date alone, of bars of a day or more, is stored at 00:00Z; a time without an offset needs `provider.timezone`.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from alphapulse.data_pipeline.files.heads import Given
from alphapulse.data_pipeline.files.layout import Layout, recognise
from alphapulse.data_pipeline.files.lines import Block, read_blocks
from alphapulse.data_pipeline.files.moments import Filling
from alphapulse.data_pipeline.files.names import read_file_name
from alphapulse.data_pipeline.files.rows import NUMBERS, Part, read_rows
from alphapulse.data_pipeline.files.sources import FileSource, find_files
from alphapulse.data_pipeline.files.stamps import is_zone
from alphapulse.data_pipeline.providers.base import Fetched, Rejected, checked
from alphapulse.errors import DataError, did_you_mean

# Rows that are held before they are handed on: what is made of them to be stored takes ten times their arrays.
MOST_ROWS = 250_000
MOST_REJECTED = 10_000
SAMPLE_BYTES = 200_000


class CsvProvider:
    """Reads a file, a folder of them, a pattern or an archive.

    Parameters
    ----------
    path : str or Path
        The value of `provider.path`.
    timezone : str, optional
        Zone of times that have none.
    columns : mapping of str to str, or sequence of str, optional
        Which column is what, where a header does not say it.
    day_first : bool, optional
        Whether 01/02/2024 is 1 February.
    """

    name = "csv"
    symbols: Sequence[str] = ()
    timeframes: Sequence[str] = ()

    def __init__(
        self,
        path: str | Path | None,
        timezone: str | None = None,
        columns: Mapping[str, str] | Sequence[str] | None = None,
        day_first: bool | None = None,
    ) -> None:
        if path is None or not str(path):
            raise DataError("`provider.path` must name the CSV file; write provider=csv provider.path=FILE")
        if timezone is not None and not is_zone(timezone):
            raise DataError(f"`provider.timezone` must be a zone such as America/New_York, but got {timezone!r}.")
        self.path = str(path)
        self.sources = find_files(self.path)
        self.zone = timezone
        self.given = Given(columns, day_first)

    @property
    def says_timeframe(self) -> bool:
        """Whether the first file says how long its bars are, so that nobody else has to."""
        source = self.sources[0]
        layout = self._layout(source)
        return (
            "timeframe" in layout.places
            or (layout.timeframe or read_file_name(source.name)[1] or layout.spacing) is not None
        )

    def fetch(
        self,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start: pd.Timestamp | None,
        end: pd.Timestamp | None,
    ) -> Iterator[Fetched]:
        """Yield the bars of the files, all of their symbols and timeframes by default; see `Provider.fetch`.

        One symbol or timeframe names bars that do not say their own; otherwise they select. Long series come in several
        pieces, each sorted, so that memory stays bounded. Rows that cannot be a bar are rejected with their line.
        """
        names = self._names(symbols)
        held: set[tuple[str, str]] = set()
        gathered = _Gathered(symbols, timeframes, start, end)
        for source in self.sources:
            layout, filling = self._recognise(source, names, symbols, timeframes)
            gathered.say(source, layout, filling)
            with source.open() as file:
                for block in read_blocks(file, str(source)):
                    if block.line + block.text.count(b"\n") <= layout.first_line:
                        continue
                    parts, rejected = read_rows(block, layout, filling)
                    held |= {(part.symbol, part.timeframe) for part in parts}
                    gathered.add(parts, rejected)
                    if gathered.is_full:
                        yield from gathered.give()
        if held and not gathered.n_chosen and not gathered.rejected:
            shown = ", ".join(f"{symbol!r} {timeframe}" for symbol, timeframe in sorted(held)[:5])
            wanted = next(iter(symbols), "")
            near = did_you_mean(wanted, [symbol for symbol, _ in held]) if wanted else ""
            raise DataError(
                f"{self.path} has none of the wanted symbols and timeframes, but {shown}{near or ';'} set data.symbols."
            )
        yield from gathered.give(last=True)

    def _names(self, symbols: Sequence[str]) -> Mapping[FileSource, str]:
        """Return the symbol of each file whose rows have none: the wanted one, or what its name says."""
        by_name = {source: read_file_name(source.name)[0] for source in self.sources}
        if len(symbols) == 1 and symbols[0] not in by_name.values() and len(set(by_name.values())) == 1:
            return dict.fromkeys(self.sources, symbols[0])
        return by_name

    def _recognise(
        self,
        source: FileSource,
        names: Mapping[FileSource, str],
        symbols: Sequence[str],
        timeframes: Sequence[str],
    ) -> tuple[Layout, Filling]:
        layout = self._layout(source)
        wanted = timeframes[0] if len(timeframes) == 1 else None
        label = layout.timeframe or wanted or read_file_name(source.name)[1] or layout.spacing
        if label is None and "timeframe" not in layout.places:
            raise DataError(f"{source} does not say how long its bars are; set data.timeframe, such as 1d.")
        symbol = None if "symbol" in layout.places and len(symbols) != 1 else names[source]
        return layout, Filling(symbol, label, self.zone)

    def _layout(self, source: FileSource) -> Layout:
        with source.open() as file:
            # A small piece of a large file says what it is.
            first = io.BytesIO(file.read(SAMPLE_BYTES))
        begin = next(read_blocks(first, str(source)), Block(b"", 1))
        return recognise(str(source), begin.text.decode("utf-8", "replace"), self.given)


class _Gathered:
    """Rows of the files by series, until there are enough of them."""

    def __init__(
        self,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start: pd.Timestamp | None,
        end: pd.Timestamp | None,
    ) -> None:
        self._wanted = (set(symbols), set(timeframes))
        self._bounds = [None if one is None else one.as_unit("ns").value for one in (start, end)]
        self._parts: dict[tuple[str, str], list[Part]] = {}
        self._n_rows = 0
        self._notes: list[str] = []
        self.n_chosen = 0
        self.rejected: list[Rejected] = []

    @property
    def is_full(self) -> bool:
        """Whether it is time to hand them on."""
        return self._n_rows >= MOST_ROWS or len(self.rejected) >= MOST_REJECTED

    def say(self, source: FileSource, layout: Layout, filling: Filling) -> None:
        """Keep what was recognised of a file, to be said with its first bars."""
        said = [layout.describe()]
        if "timeframe" not in layout.places:
            said.append(f"bars of {filling.timeframe}")
        if filling.symbol is not None and "symbol" not in layout.places and list(layout.series) == [""]:
            said.append(f"symbol {filling.symbol}")
        if filling.zone is not None and not layout.stamp.is_aware:
            said.append(f"times of {filling.zone}")
        self._notes.append(f"{source}: {', '.join(said)}")

    def add(self, parts: Sequence[Part], rejected: Sequence[Rejected]) -> None:
        """Take in what was read."""
        self.rejected += rejected
        symbols, timeframes = self._wanted
        for part in parts:
            if (not symbols or part.symbol in symbols) and (not timeframes or part.timeframe in timeframes):
                self._parts.setdefault((part.symbol, part.timeframe), []).append(part)
                self._n_rows += len(part.line)
                self.n_chosen += len(part.line)

    def give(self, *, last: bool = False) -> Iterator[Fetched]:
        """Yield the rows as series."""
        parts, rejected, notes = self._parts, self.rejected, self._notes
        self._parts, self._n_rows, self.rejected, self._notes = {}, 0, [], []
        for symbol, timeframe in list(parts) or ([("", "")] if rejected or (last and notes) else []):
            one = self._series(symbol, timeframe, parts.pop((symbol, timeframe), []))
            # Rows whose symbol cannot be trusted either are reported with the first series.
            yield Fetched(symbol, timeframe, one.bars, (*rejected, *one.rejected), notes=notes)
            rejected, notes = [], []

    def _series(self, symbol: str, timeframe: str, parts: Sequence[Part]) -> Fetched:
        stamps = np.concatenate([part.timestamp for part in parts] or [np.empty(0, dtype=np.int64)])
        line = np.concatenate([part.line for part in parts] or [np.empty(0, dtype=np.int64)])
        values = {name: np.concatenate([part.values[name] for part in parts] or [np.empty(0)]) for name in NUMBERS}
        start, end = self._bounds
        inside = np.ones(len(stamps), dtype=np.bool_)
        if start is not None:
            inside &= stamps >= start
        if end is not None:
            inside &= stamps < end
        if not inside.all():
            stamps, line = stamps[inside], line[inside]
            values = {name: array[inside] for name, array in values.items()}
        rows = pd.DataFrame({"timestamp": pd.to_datetime(stamps, unit="ns", utc=True)} | values, copy=False)
        return checked(symbol, timeframe, rows, line)

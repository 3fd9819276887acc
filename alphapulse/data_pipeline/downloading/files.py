"""Files into the database, piece by piece as they are read: memory does not grow with them."""

from contextlib import nullcontext
from dataclasses import replace as with_
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from alphapulse.config.schema import QualityConfig
from alphapulse.data_pipeline.downloading.night import Failure
from alphapulse.data_pipeline.downloading.screening import ImplausibleError, screen
from alphapulse.data_pipeline.downloading.summary import Download
from alphapulse.data_pipeline.providers.base import Fetched, Provider, Rejected
from alphapulse.data_pipeline.quality import count_overlaps, series_warnings
from alphapulse.data_pipeline.storage.db_writer import Written, write_bars
from alphapulse.data_pipeline.storage.ingests import SecondSourceError, Source
from alphapulse.errors import DataError, IncompleteError
from alphapulse.market.timeframes import timeframe_of

if TYPE_CHECKING:
    from alphapulse.config.schema import DownloadDataConfig
    from alphapulse.data_pipeline.database import Database

COUNTS = ("n_new", "n_changed", "n_unchanged", "n_rejected", "n_removed")
MOST_REJECTED = 10_000


def import_files(
    database: "Database",
    provider: Provider,
    data: "DownloadDataConfig",
    bounds: tuple[pd.Timestamp | None, pd.Timestamp | None],
    source: Source,
    *,
    replace: bool = False,
    quality: QualityConfig | None = None,
    quiet: bool = True,
) -> Download:
    """Store what a provider reads from files, each piece by itself.

    Parameters
    ----------
    bounds : (Timestamp or None, Timestamp or None)
        The range [first, second) of bar starts that is wanted.
    quality : QualityConfig, optional
        What becomes of prices that cannot be right; by default what the configuration has.

    Raises
    ------
    DataError
        If a file cannot be read, or has nothing in the range. What came before the fault is stored.
    """
    timeframes = provider.timeframes if data.timeframe is None else (data.timeframe,)
    importing = _Importing(database, source, replace, QualityConfig() if quality is None else quality)
    with _counting(quiet) as status:
        try:
            for one in provider.fetch(data.symbols, timeframes, *bounds):
                importing.store(one)
                if status is not None:
                    status.update(f"{importing.n_rows:,} rows")
        except DataError as error:
            if importing.n_rows == 0:
                raise
            raise IncompleteError(f"{error} The {importing.n_rows:,} rows before that are stored.") from error
    result = importing.result()
    if not result.rejected and not result.failures and importing.n_rows == 0:
        raise DataError(
            f"provider={provider.name} has bars, but none from data.start={data.start or 'null'} to "
            f"data.end={data.end or 'null'}; widen the range."
        )
    return result


def _counting(quiet: bool) -> Any:
    from rich.console import Console

    console = Console(stderr=True)
    return nullcontext() if quiet or not console.is_terminal else console.status("reading")


class _Importing:
    """What was stored so far, by series."""

    def __init__(self, database: "Database", source: Source, replace: bool, quality: QualityConfig) -> None:
        self._database = database
        self._quality = quality
        self._source = source
        self._replace = replace
        self._written: dict[tuple[str, str], Written] = {}
        self._failures: dict[tuple[str, str], Failure] = {}
        self._warnings: dict[tuple[str, str], list[str]] = {}
        self._rejected: list[Rejected] = []
        self._notes: list[str] = []
        self.n_rows = 0

    def store(self, one: Fetched) -> None:
        """Store a piece of a series."""
        key = (one.symbol, one.timeframe)
        self._notes += one.notes
        self._rejected += one.rejected[: MOST_REJECTED - len(self._rejected)]
        if key in self._failures or (one.bars.empty and not one.rejected):
            return
        overlaps = _refuse_label(one)
        if overlaps is not None:
            self._failures[key] = Failure(*key, overlaps)
            return
        try:
            screened = screen(self._database, one, self._quality)
            before = self._written.get(key)
            source = with_(self._source, continued=None if before is None else before.ingest_id)
            (written,) = write_bars(self._database, [screened], source, replace=self._replace)
        except (SecondSourceError, ImplausibleError) as error:
            self._failures[key] = Failure(*key, str(error))
            return
        self._rejected += screened.rejected[len(one.rejected) :][: MOST_REJECTED - len(self._rejected)]
        said = list(screened.notes[len(one.notes) :])
        one = screened
        self.n_rows += len(one.bars)
        if before is None:
            self._written[key] = written
            said += series_warnings(*key, one.bars, screened=True) if len(one.bars) else []
        else:
            counts = {name: getattr(before, name) + getattr(written, name) for name in COUNTS}
            self._written[key] = with_(written, ingest_id=before.ingest_id or written.ingest_id, **counts)
        self._warnings.setdefault(key, []).extend(said)

    def result(self) -> Download:
        """Return what was done."""
        return Download(
            written=[self._written[key] for key in sorted(self._written)],
            rejected=sorted(self._rejected, key=lambda row: row.line),
            failures=list(self._failures.values()),
            warnings=[line for key in sorted(self._warnings) for line in self._warnings[key]] + _near(self._written),
            notes=self._notes,
        )


def _refuse_label(one: Fetched) -> str | None:
    """Return why bars cannot be as long as they are said to be: most begin before the one before them ends."""
    stamps = one.bars["timestamp"].dt.as_unit("ns").astype("int64").to_numpy()
    if len(stamps) < 2 or 2 * count_overlaps(stamps, one.timeframe) < len(stamps):
        return None
    apart = timeframe_of(int(np.median(np.diff(stamps))))
    return (
        f"the bars of {one.symbol!r} are {apart} apart, so they are not {one.timeframe} long, and none is stored; "
        f"correct their label, or set data.timeframe={apart}."
    )


def _near(written: dict[tuple[str, str], Written]) -> list[str]:
    """Say which symbols differ by the size of their letters alone."""
    symbols: dict[str, set[str]] = {}
    for symbol, _ in written:
        symbols.setdefault(symbol.casefold(), set()).add(symbol)
    return [
        f"{' and '.join(sorted(names))} differ in the size of letters alone, and are two symbols."
        for names in symbols.values()
        if len(names) > 1
    ]

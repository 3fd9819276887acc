"""A download: from a provider into `ohlcv_data`, with a summary."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, cast

import pandas as pd

from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.downloading.series import Refreshed, refresh_series
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.providers.base import Feed, Fetched, Provider, Rejected, UnreachableError
from alphapulse.data_pipeline.quality import series_warnings
from alphapulse.data_pipeline.ranges import range_start, range_stop
from alphapulse.data_pipeline.storage.db_writer import Written, write_bars
from alphapulse.data_pipeline.storage.ingests import SecondSourceError, Source
from alphapulse.errors import ConfigError, DataError, IncompleteError

if TYPE_CHECKING:
    from alphapulse.config.schema import DownloadConfig, DownloadDataConfig, ProviderConfig

COUNTS = ("n_new", "n_changed", "n_unchanged", "n_rejected")


@dataclass(frozen=True)
class Failure:
    """A series that is not stored, and why, in one line."""

    symbol: str
    timeframe: str
    reason: str


@dataclass(frozen=True)
class Download:
    """What a download did.

    Attributes
    ----------
    written : sequence of Written
        Each symbol and timeframe has one.
    rejected : sequence of Rejected
        Rows that were not stored.
    failures : sequence of Failure
        Each symbol and timeframe that could not be had, or is not stored over what another source gave.
    warnings : sequence of str
        Faults of the stored bars.
    """

    written: Sequence[Written]
    rejected: Sequence[Rejected]
    failures: Sequence[Failure]
    warnings: Sequence[str]


def make_provider(config: "ProviderConfig") -> Provider:
    """Return the provider that `config` names, from the file NAME_provider.py.

    Raises
    ------
    ConfigError
        If there is a path, and the provider takes none.
    DataError
        If the path is not what the provider takes.
    """
    module = import_module(f"alphapulse.data_pipeline.providers.{config.name}_provider")
    classes = (one for one in vars(module).values() if isinstance(one, type))
    provider_class = next(one for one in classes if vars(one).get("name") == config.name)
    if "path" in signature(provider_class).parameters:
        return cast("Provider", provider_class(path=config.path))
    if config.path is not None:
        raise ConfigError(f"`provider.path` must be null with provider={config.name}, but got {config.path!r}")
    return cast("Provider", provider_class())


def download(
    database: Database,
    provider: Provider,
    data: "DownloadDataConfig",
    *,
    path: str | None = None,
    replace: bool = False,
) -> Download:
    """Fetch everything that is wanted, and store each series by itself.

    A series that the provider lacks, or that another source has given otherwise, does not keep the others out.

    Parameters
    ----------
    path : str, optional
        The file that the provider reads, to be kept with its bars.
    replace : bool
        Whether bars of other sources are written over.

    Raises
    ------
    ConfigError
        If a date of the range is none.
    DataError
        If the source cannot be reached or read, or has no bar in the range; nothing is stored then.
    """
    try:
        start, stop = range_start("data.start", data.start), range_stop("data.end", data.end)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    timeframes = provider.timeframes if data.timeframe is None else (data.timeframe,)
    if isinstance(provider, Feed):
        return _refresh(
            database,
            provider,
            [(s, t) for s in data.symbols or provider.symbols for t in timeframes],
            start,
            stop,
            replace,
        )
    fetched: list[Fetched] = []
    failures: list[Failure] = []
    if provider.symbols:
        for symbol in data.symbols or provider.symbols:
            for timeframe in timeframes:
                try:
                    fetched += provider.fetch([symbol], [timeframe], start, stop)
                except UnreachableError:
                    raise
                except DataError as error:
                    failures.append(Failure(symbol, timeframe, str(error)))
    else:
        # A file is read once, whatever is wanted of it.
        fetched += provider.fetch(data.symbols, timeframes, start, stop)
    if fetched and all(one.bars.empty and not one.rejected for one in fetched):
        raise DataError(
            f"provider={provider.name} has bars, but none from data.start={data.start or 'null'} to "
            f"data.end={data.end or 'null'}; widen the range."
        )
    written: list[Written] = []
    for one in sorted(fetched, key=lambda one: (one.symbol, one.timeframe)):
        try:
            written += write_bars(database, [one], Source(provider.name, path), replace=replace)
        except SecondSourceError as error:
            failures.append(Failure(one.symbol, one.timeframe, str(error)))
    rejected = sorted((row for one in fetched for row in one.rejected), key=lambda row: row.line)
    warnings = [line for one in fetched for line in _faults(one)]
    return Download(written, rejected, failures, warnings)


def _refresh(
    database: Database,
    feed: Feed,
    wanted: Sequence[tuple[str, str]],
    start: pd.Timestamp | None,
    stop: pd.Timestamp | None,
    replace: bool,
) -> Download:
    done: list[Refreshed] = []
    failures: list[Failure] = []
    for symbol, timeframe in wanted:
        try:
            done.append(refresh_series(database, feed, symbol, timeframe, start, stop, replace=replace))
        except DataError as error:
            failures.append(Failure(symbol, timeframe, str(error)))
    warnings = [line for one in done for line in (*one.notes, *_left_out(one), *_faults(one.fetched))]
    return Download([one.written for one in done], [], failures, warnings)


def _left_out(refreshed: Refreshed) -> list[str]:
    """Say how many rows of a feed are no bars, and why: they are not the user's to correct."""
    reasons = Counter(row.reason for row in refreshed.fetched.rejected)
    name = f"{refreshed.written.symbol} {refreshed.written.timeframe}"
    return [f"{name}: {n:,} bars are left out, since {reason}." for reason, n in reasons.most_common()]


def _faults(fetched: Fetched) -> list[str]:
    return series_warnings(fetched.symbol, fetched.timeframe, fetched.bars) if len(fetched.bars) else []


def run_download(config: "DownloadConfig") -> None:
    """Run the command `download`: store, print the summary, and fail if anything was left out.

    Raises
    ------
    DataError
        If the source cannot be reached or read, lacks a symbol, or has rows that cannot be bars; what is
        good is stored in the last two cases.
    """
    provider = make_provider(config.provider)
    database = open_database(config.db)
    try:
        result = download(database, provider, config.data, path=config.provider.path, replace=config.replace)
    finally:
        database.close()
    if config.output == "json":
        _print_json(result)
    elif not config.quiet and result.written:
        _print_table(provider.name, database, result)
    if result.failures:
        first_reason, n_failed = result.failures[0].reason, len(result.failures)
        if not result.written:
            raise DataError(first_reason + (f" ({n_failed} series failed)" if n_failed > 1 else ""))
        raise IncompleteError(
            f"{n_failed} of {n_failed + len(result.written)} series failed, the others are stored: {first_reason}"
        )
    if result.rejected:
        first = result.rejected[0]
        n_stored = sum(one.n_new + one.n_changed + one.n_unchanged for one in result.written)
        raise DataError(
            f"{len(result.rejected)} rows were rejected, the first at {first.where}: {first.reason}; "
            f"the other {n_stored} are stored. Correct the rows and run the same command again."
        )


def _print_json(result: Download) -> None:
    print(json.dumps(asdict(result)))


def _print_table(name: str, database: Database, result: Download) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)
    table = Table(title=f"Download from {name} into ohlcv_data", box=box.SIMPLE_HEAD)
    for heading in ("series", "first bar", "last bar"):
        table.add_column(heading, overflow="fold")
    for heading in COUNTS:
        table.add_column(heading.removeprefix("n_"), justify="right")
    for one in result.written:
        # Rows without a series that can be trusted are counted, but have no name.
        names = (f"{one.symbol} {one.timeframe}" if one.symbol else "-", _short(one.first), _short(one.last))
        table.add_row(*map(escape, names), *(f"{getattr(one, count):,}" for count in COUNTS))
    console.print(table)
    for failure in result.failures:
        line = f"failed {failure.symbol} {failure.timeframe}: {failure.reason}"
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    for row in result.rejected[:10]:
        console.print(f"rejected {row.where}: {row.reason}", highlight=False, soft_wrap=True, markup=False)
    if len(result.rejected) > 10:
        console.print(f"... and {len(result.rejected) - 10} more rejected rows")
    for line in result.warnings:
        console.print(f"warning: {line}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"Stored in {database}", highlight=False, soft_wrap=True, markup=False)


def _short(moment: str | None) -> str:
    return "-" if moment is None else moment.removesuffix("T00:00:00Z").removesuffix(":00Z")

"""A download: from a provider into `ohlcv_data`, with a summary."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, cast

from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.providers.base import Fetched, Provider, Rejected, UnreachableError
from alphapulse.data_pipeline.quality import series_warnings
from alphapulse.data_pipeline.ranges import range_start, range_stop
from alphapulse.data_pipeline.storage.db_writer import Written, write_bars
from alphapulse.errors import ConfigError, DataError

if TYPE_CHECKING:
    from alphapulse.config.schema import DownloadConfig, DownloadDataConfig, ProviderConfig

COUNTS = ("n_new", "n_changed", "n_unchanged", "n_rejected")


@dataclass(frozen=True)
class Download:
    """What a download did.

    Attributes
    ----------
    written : sequence of Written
        Each symbol and timeframe has one.
    rejected : sequence of Rejected
        Rows that were not stored.
    failures : sequence of str
        One line for each symbol and timeframe that the provider does not have.
    warnings : sequence of str
        Faults of the stored bars.
    """

    written: Sequence[Written]
    rejected: Sequence[Rejected]
    failures: Sequence[str]
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


def download(database: Database, provider: Provider, data: "DownloadDataConfig") -> Download:
    """Fetch everything that is wanted, then store it in one transaction.

    A series that the provider lacks does not keep the others out.

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
    fetched: list[Fetched] = []
    failures: list[str] = []
    if provider.symbols:
        for symbol in data.symbols or provider.symbols:
            for timeframe in timeframes:
                try:
                    fetched += provider.fetch([symbol], [timeframe], start, stop)
                except UnreachableError:
                    raise
                except DataError as error:
                    failures.append(str(error))
    else:
        # A file is read once, whatever is wanted of it.
        fetched += provider.fetch(data.symbols, timeframes, start, stop)
    if fetched and all(one.bars.empty and not one.rejected for one in fetched):
        raise DataError(
            f"provider={provider.name} has bars, but none from data.start={data.start or 'null'} to "
            f"data.end={data.end or 'null'}; widen the range."
        )
    written = write_bars(database, fetched)
    rejected = sorted((row for one in fetched for row in one.rejected), key=lambda row: row.line)
    warnings = [
        line for one in fetched if len(one.bars) for line in series_warnings(one.symbol, one.timeframe, one.bars)
    ]
    return Download(written, rejected, failures, warnings)


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
        result = download(database, provider, config.data)
    finally:
        database.close()
    if config.output == "json":
        _print_json(result)
    elif not config.quiet and result.written:
        _print_table(provider.name, database, result)
    if result.failures:
        more = f" ({len(result.failures)} series failed; the rest is stored)" if len(result.failures) > 1 else ""
        raise DataError(result.failures[0] + more)
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
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=f"Download from {name} into ohlcv_data")
    for heading in ("symbol", "timeframe"):
        table.add_column(heading)
    for heading in COUNTS:
        table.add_column(heading.removeprefix("n_"), justify="right")
    for one in result.written:
        # Rows without a series that can be trusted are counted, but have no name.
        table.add_row(one.symbol or "-", one.timeframe or "-", *(f"{getattr(one, count):,}" for count in COUNTS))
    console.print(table)
    for row in result.rejected[:10]:
        console.print(f"rejected {row.where}: {row.reason}", highlight=False, soft_wrap=True, markup=False)
    if len(result.rejected) > 10:
        console.print(f"... and {len(result.rejected) - 10} more rejected rows")
    for line in result.warnings:
        console.print(f"warning: {line}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"Stored in {database}", highlight=False, soft_wrap=True, markup=False)

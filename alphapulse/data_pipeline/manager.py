"""A download: from a provider into `ohlcv_data`, with a summary."""

from dataclasses import fields
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, cast

from alphapulse.config.schema import QualityConfig
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.downloading.files import import_files
from alphapulse.data_pipeline.downloading.night import Failure, Wanted, refresh_all
from alphapulse.data_pipeline.downloading.progress import DownloadProgress
from alphapulse.data_pipeline.downloading.screening import ImplausibleError, screen
from alphapulse.data_pipeline.downloading.series import Refreshed
from alphapulse.data_pipeline.downloading.summary import Download, print_json, print_table
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.providers.base import Feed, Fetched, Provider, Rejected, UnreachableError
from alphapulse.data_pipeline.quality import series_warnings
from alphapulse.data_pipeline.ranges import range_start, range_stop
from alphapulse.data_pipeline.storage.db_writer import Written, write_bars
from alphapulse.data_pipeline.storage.ingests import SecondSourceError, Source
from alphapulse.errors import ConfigError, DataError, IncompleteError

if TYPE_CHECKING:
    from alphapulse.config.schema import DownloadConfig, DownloadDataConfig, ProviderConfig


OF_FILES = ("path", "timezone", "columns", "day_first")
"""Keys that providers without a file do not have."""


def make_provider(config: "ProviderConfig") -> Provider:
    """Return the provider that `config` names, from the file NAME_provider.py, made with the keys that it has.

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
    parameters = signature(provider_class).parameters
    for key in OF_FILES:
        if key not in parameters and getattr(config, key) is not None:
            got = getattr(config, key)
            raise ConfigError(f"`provider.{key}` must be null with provider={config.name}, but got {got!r}")
    keys = {f.name: getattr(config, f.name) for f in fields(config) if f.name in parameters}
    return cast("Provider", provider_class(**keys))


def download(
    database: Database,
    provider: Provider,
    data: "DownloadDataConfig",
    *,
    path: str | None = None,
    replace: bool = False,
    quality: QualityConfig | None = None,
    quiet: bool = True,
) -> Download:
    """Fetch everything that is wanted, and store each series by itself.

    A series that the provider lacks, or that another source has given otherwise, does not keep the others out.

    Parameters
    ----------
    path : str, optional
        The file that the provider reads, to be kept with its bars.
    replace : bool
        Whether bars of other sources are written over.
    quality : QualityConfig, optional
        What becomes of prices that cannot be right; by default what the configuration has.
    quiet : bool
        Whether progress is silent.

    Raises
    ------
    ConfigError
        If a date of the range is none.
    DataError
        If the source cannot be read, or has no bar in the range; nothing is stored then.
    """
    try:
        start, stop = range_start("data.start", data.start), range_stop("data.end", data.end)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    quality = QualityConfig() if quality is None else quality
    timeframes = provider.timeframes if data.timeframe is None else (data.timeframe,)
    if isinstance(provider, Feed):
        wanted = Wanted(data.symbols or provider.symbols, timeframes, start, stop, replace, quality)
        with DownloadProgress(len(wanted.symbols) * len(timeframes), quiet=quiet) as progress:
            done, failures = refresh_all(database, provider, wanted, progress.count)
        warnings = [line for one in done for line in (*one.notes, *_left_out(one), *_faults(one.fetched))]
        return Download([one.written for one in done], [], failures, warnings)
    if not provider.symbols:
        source = Source(provider.name, path)
        return import_files(
            database, provider, data, (start, stop), source, replace=replace, quality=quality, quiet=quiet
        )
    fetched: list[Fetched] = []
    failures = []
    for symbol in data.symbols or provider.symbols:
        for timeframe in timeframes:
            try:
                fetched += provider.fetch([symbol], [timeframe], start, stop)
            except UnreachableError:
                raise
            except DataError as error:
                failures.append(Failure(symbol, timeframe, str(error)))
    if fetched and all(one.bars.empty and not one.rejected for one in fetched):
        raise DataError(
            f"provider={provider.name} has bars, but none from data.start={data.start or 'null'} to "
            f"data.end={data.end or 'null'}; widen the range."
        )
    written: list[Written] = []
    stored: list[Fetched] = []
    for one in sorted(fetched, key=lambda one: (one.symbol, one.timeframe)):
        try:
            screened = screen(database, one, quality)
            written += write_bars(database, [screened], Source(provider.name, path), replace=replace)
            stored.append(screened)
        except (SecondSourceError, ImplausibleError) as error:
            failures.append(Failure(one.symbol, one.timeframe, str(error)))
    rejected = sorted((row for one in stored for row in one.rejected), key=lambda row: row.line)
    warnings = [line for one in stored for line in (*one.notes, *_faults(one))]
    return Download(written, rejected, failures, warnings)


def _left_out(refreshed: Refreshed) -> list[str]:
    """Say how many rows of a feed are no bars, and why: they are not the user's to correct."""
    name = f"{refreshed.written.symbol} {refreshed.written.timeframe}"
    alike: dict[str, list[Rejected]] = {}
    for row in refreshed.fetched.rejected:
        alike.setdefault(row.reason.partition(" (")[0], []).append(row)
    return [
        f"{name}: {len(rows):,} bars are left out, the first {rows[0].where}, since {rows[0].reason}; "
        "see `python -m alphapulse.data rejected`."
        for rows in alike.values()
    ]


def _faults(fetched: Fetched) -> list[str]:
    if not len(fetched.bars):
        return []
    return series_warnings(fetched.symbol, fetched.timeframe, fetched.bars, screened=True)


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
        result = download(
            database,
            provider,
            config.data,
            path=config.provider.path,
            replace=config.replace,
            quality=config.quality,
            quiet=config.quiet,
        )
    finally:
        database.close()
    if config.output == "json":
        print_json(result)
    elif not config.quiet and (result.written or len(result.failures) > 1):
        print_table(provider.name, str(database), result)
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
            f"{result.n_rejected:,} rows were rejected, the first at {first.where}: {first.reason}; "
            f"the other {n_stored:,} are stored. Correct the rows and run the same command again, or see "
            "`python -m alphapulse.data rejected`."
        )

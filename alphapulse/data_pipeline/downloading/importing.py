"""A file as the source of a study: it is imported first, and the study reads the database as any other does."""

from dataclasses import replace
from typing import TYPE_CHECKING

from alphapulse.config.groups import AUTO
from alphapulse.errors import DataError
from alphapulse.market.resampling import can_resample

if TYPE_CHECKING:
    from alphapulse.config.groups import DataConfig
    from alphapulse.data_pipeline.database import Database
    from alphapulse.data_pipeline.storage.db_writer import Written


def import_first(database: "Database", data: "DataConfig") -> "tuple[DataConfig, list[str]]":
    """Import the file that a study names, if it names one.

    Returns
    -------
    data : DataConfig
        Of the bars in the database, with the symbol and the timeframe that the file has.
    lines : list of str
        What was imported, to be told.

    Raises
    ------
    DataError
        If the file cannot be read, or holds several symbols and none is chosen.
    """
    if data.source != "csv" or data.path is None:
        return data, []
    from alphapulse.config.schema import DownloadDataConfig
    from alphapulse.data_pipeline.downloading.files import import_files
    from alphapulse.data_pipeline.providers.csv_provider import CsvProvider
    from alphapulse.data_pipeline.storage.ingests import Source

    provider = CsvProvider(data.path)
    label = None if data.timeframe == AUTO else data.timeframe
    wanted = DownloadDataConfig(data.symbols)
    if label is not None and not provider.says_timeframe:
        wanted = replace(wanted, timeframe=label)
    result = import_files(database, provider, wanted, (None, None), Source(provider.name, data.path))
    if result.failures:
        raise DataError(result.failures[0].reason)
    held = [one for one in result.written if one.symbol]
    if not held:
        first = result.rejected[0]
        raise DataError(f"{data.path} has no bar: {result.n_rejected:,} rows are none, {first.where}: {first.reason}.")
    lines = [f"imported {note}" for note in result.notes]
    lines += [f"{one.symbol} {one.timeframe}: {_counts(one)}" for one in held]
    if result.rejected:
        first = result.rejected[0]
        lines.append(f"warning: {result.n_rejected:,} rows are no bars, {first.where}: {first.reason}")
    symbols = data.symbols or tuple(dict.fromkeys(one.symbol for one in held))
    if not data.symbols and len(symbols) > 1:
        raise DataError(
            f"{data.path} has the symbols {', '.join(symbols[:8])}{', ...' if len(symbols) > 8 else ''}; say which is "
            f"traded with 'data.symbols=[{symbols[0]}]'."
        )
    chosen = _timeframe(data.path, label, [one.timeframe for one in held if one.symbol == symbols[0]])
    return replace(data, source="database", path=None, symbols=symbols, timeframe=chosen), lines


def _timeframe(path: str, wanted: str | None, held: list[str]) -> str:
    if wanted is not None and (not held or wanted in held or any(can_resample(one, wanted) for one in held)):
        return wanted
    if wanted is None and len(held) == 1:
        return held[0]
    raise DataError(f"{path} has bars of {', '.join(held)}; say which with data.timeframe={held[0]}.")


def _counts(one: "Written") -> str:
    parts = (("n_new", "new"), ("n_changed", "changed"), ("n_unchanged", "as they were"))
    return ", ".join(f"{getattr(one, name):,} bars {word}" for name, word in parts if getattr(one, name)) or "no bars"

"""The stored bars, looked at from outside: `python -m alphapulse.data ACTION`.

An action is a function of the configuration and the database that prints; `ACTIONS` names them all.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from alphapulse.commands.data_checks import check_rows, export, gap_rows
from alphapulse.config.schema import DataCommandConfig
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.storage.catalogue import list_series
from alphapulse.data_pipeline.storage.quarantine import drop_held, list_held, release_held
from alphapulse.errors import DataError
from alphapulse.reports.formatting import print_json, stdout_console


def run_data(config: DataCommandConfig) -> None:
    """Do what the command was told, and print the outcome.

    Raises
    ------
    AlphaPulseError
        Whatever a user can cause, in one line.
    """
    database = open_database(config.db)
    try:
        ACTIONS[str(config.action)](config, database)
    finally:
        database.close()


def print_series(config: DataCommandConfig, database: Database) -> None:
    """Print which bars of which series are stored."""
    rows = [asdict(one) for one in list_series(database, config.data.symbols, config.data.timeframe)]
    if config.output == "json":
        print_json(rows)
    else:
        print_rows("Stored bars", rows, "There are none; run `python -m alphapulse.download`.")


def print_rows(title: str, rows: list[dict[str, Any]], nothing: str) -> None:
    """Print rows of one kind as a table, or `nothing` where there are none."""
    out = stdout_console()
    if not rows:
        out.print(nothing)
        return
    table = Table(title=title, title_justify="left")
    for name, value in rows[0].items():
        table.add_column(name.removeprefix("n_"), justify="right" if isinstance(value, int) else "left")
    for row in rows:
        # A symbol may have brackets, which rich would take for its own.
        table.add_row(*(_cell(value) for value in row.values()))
    out.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else str(value)


def print_rejected(config: DataCommandConfig, database: Database) -> None:
    """Print which rows are held back; with `do` they are released into the bars, or dropped for good."""
    held = list_held(database, config.data.symbols, config.data.timeframe, config.ids)
    missing = sorted(set(config.ids) - {row.id for row in held})
    if missing:
        raise DataError(
            f"`ids` must name rows that are held, but got {missing[0]}; see `python -m alphapulse.data rejected`."
        )
    title = "Rows held back"
    if config.do == "release":
        release_held(database, [row.id for row in held])
        title = "Rows released into ohlcv_data"
    elif config.do == "drop":
        drop_held(database, [row.id for row in held])
        title = "Rows dropped"
    rows = [asdict(row) for row in held]
    if config.output == "json":
        print_json(rows)
    else:
        print_rows(title, rows, "No row is held back.")


def print_gaps(config: DataCommandConfig, database: Database) -> None:
    """Print where bars are missing."""
    rows = gap_rows(config, database)
    if config.output == "json":
        print_json(rows)
    else:
        print_rows("Gaps", rows, "There are none.")


def print_checks(config: DataCommandConfig, database: Database) -> None:
    """Print whether bars are sound."""
    rows = check_rows(config, database)
    if config.output == "json":
        print_json(rows)
        return
    print_rows("Quality", [row | {"faults": len(row["faults"])} for row in rows], "")
    out = stdout_console()
    for row in rows:
        for line in row["faults"]:
            out.print(line, soft_wrap=True)


def print_export(config: DataCommandConfig, database: Database) -> None:
    """Write bars to files, and print where they are."""
    written, n_rows = export(config, database)
    if config.output == "json":
        print_json({"n_rows": n_rows, "files": written})
        return
    stdout_console().print(f"{n_rows:,} bars written to {', '.join(written)}", soft_wrap=True)


ACTIONS: Mapping[str, Callable[[DataCommandConfig, Database], None]] = {
    "list": print_series,
    "check": print_checks,
    "gaps": print_gaps,
    "export": print_export,
    "rejected": print_rejected,
}

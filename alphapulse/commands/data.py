"""The stored bars, looked at from outside: `python -m alphapulse.data ACTION`.

An action is a function of the configuration and the database that prints; `ACTIONS` names them all.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from alphapulse.config.schema import DataCommandConfig
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.storage.catalogue import list_series
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


ACTIONS: Mapping[str, Callable[[DataCommandConfig, Database], None]] = {"list": print_series}

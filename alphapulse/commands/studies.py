"""What is stored: the studies, and the ledger of what was tried on which bars: `python -m alphapulse.studies`."""

from datetime import datetime
from typing import Any

from rich.table import Table

from alphapulse.config.schema import StudiesConfig
from alphapulse.data_pipeline.opening import open_database
from alphapulse.reports.formatting import print_json, stdout_console
from alphapulse.study.ledger import is_unknown, read_all
from alphapulse.study.store import Store


def run_studies(config: StudiesConfig) -> None:
    """Print the studies, latest first, or the ledger."""
    database = open_database(config.db)
    if config.action == "ledger":
        _print_ledger(config, read_all(database).lines, read_all(database).openings)
        return
    rows = [
        {
            "study": study.name,
            "status": study.status,
            "n_trials": study.n_done,
            "verdict": (study.verdict or {}).get("word"),
            "updated": study.updated_at,
        }
        for study in Store(database).studies()
    ]
    if config.output == "json":
        print_json(rows)
        return
    _print_rows("Studies, latest first", rows, "There are none; run `python -m alphapulse.sweep`.")


def _print_ledger(config: StudiesConfig, lines: list[dict[str, Any]], openings: list[dict[str, Any]]) -> None:
    if config.output == "json":
        print_json({"tried": lines, "openings": openings})
        return
    _print_rows("Tried on these bars", lines, "Nothing was tried yet.")
    _print_rows("Looks at hold-outs", openings, "No hold-out was opened yet.")


def _print_rows(title: str, rows: list[dict[str, Any]], nothing: str) -> None:
    out = stdout_console()
    if not rows:
        out.print(nothing)
        return
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name.removesuffix("_at"), justify="right" if name == "n_trials" else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    out.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return "unknown" if is_unknown(value) else f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else str(value)

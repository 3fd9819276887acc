"""What is stored: studies listed, compared, deleted, renamed; and the ledger: `python -m alphapulse.studies`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.table import Table

from alphapulse.config.schema import StudiesConfig
from alphapulse.data_pipeline.opening import open_database
from alphapulse.reports.formatting import print_json, stdout_console
from alphapulse.study.ledger import is_unknown, read_all
from alphapulse.study.managing import delete_study, rename_study
from alphapulse.study.records import Study
from alphapulse.study.store import Store

# What is no choice of the user's, or changes no trial.
UNCOMPARED = ("study", "output", "quiet", "log", "details", "tear_sheet", "enqueued", "cluster.", "optuna.", "sampler")


def run_studies(config: StudiesConfig) -> None:
    """Do what the command was told, and print what there is.

    Raises
    ------
    StudyError
        If a study that it names is not there, or another command runs it.
    """
    database = open_database(config.db)
    store = Store(database)
    match config.action:
        case "ledger":
            _print_ledger(config, read_all(database).lines, read_all(database).openings)
        case "compare":
            _compare(config, store)
        case "delete":
            study = store.find_study(str(config.study))
            delete_study(database, study)
            _say(config, f"Deleted study {study.name} with its {study.n_done:,} trials; its lines of the ledger stay.")
        case "rename":
            study = store.find_study(str(config.study))
            rename_study(database, study, str(config.to))
            _say(config, f"Study {study.name} is called {config.to} now; the ledger keeps the name that it had.")
        case _:
            _list(config, store)


def _say(config: StudiesConfig, text: str) -> None:
    if config.output == "json":
        print_json({"done": config.action, "study": config.study, "to": config.to})
    else:
        print(text)


def _list(config: StudiesConfig, store: Store) -> None:
    rows = [
        {
            "study": study.name,
            "status": study.status,
            "n_trials": study.n_done,
            "verdict": (study.verdict or {}).get("word"),
            "updated": study.updated_at,
        }
        for study in store.studies()
    ]
    if config.output == "json":
        print_json(rows)
        return
    _print_rows("Studies, latest first", rows, "There are none; run `python -m alphapulse.sweep`.")


def _compare(config: StudiesConfig, store: Store) -> None:
    """Print what two or more studies found side by side, then what of their configurations differs."""
    studies = [store.find_study(name) for name in config.compare]
    found = {study.name: _outcome(store, study) for study in studies}
    flat = [
        flat_config(study.config | {"space": {d.key: d.describe() for d in study.space.dimensions}})
        for study in studies
    ]
    keys = [key for key in dict.fromkeys(key for f in flat for key in f) if not key.startswith(UNCOMPARED)]
    differing = {
        key: [f.get(key) for f in flat] for key in keys if any(f.get(key) != flat[0].get(key) for f in flat[1:])
    }
    if config.output == "json":
        document: dict[str, Any] = {
            "studies": found,
            "differences": {key: dict(zip(found, values, strict=True)) for key, values in differing.items()},
        }
        print_json(document)
        return
    table = Table(title="Studies side by side", title_justify="left")
    table.add_column("")
    for name in found:
        table.add_column(name, justify="right")
    for row in found[studies[0].name]:
        table.add_row(row.replace("_", " "), *(_figure(outcome[row]) for outcome in found.values()))
    if differing:
        table.add_section()
    for key, values in differing.items():
        table.add_row(key, *(_cell(value) for value in values))
    stdout_console().print(table)


def _outcome(store: Store, study: Study) -> dict[str, Any]:
    """Return what a study found, by name; None where there is nothing."""
    verdict = study.verdict or {}
    best = store.best(study, 1)
    nulls, held = verdict.get("null_sweeps") or {}, verdict.get("chosen_holdout") or {}
    return {
        "verdict": verdict.get("word"),
        "status": study.status,
        "n_trials": study.n_done,
        "n_failed": sum(store.failures(study).values()),
        "best_trial": best[0]["number"] if best else None,
        "best_value": best[0]["values"][0] if best else None,
        "best_sharpe_ratio": best[0]["metrics"]["sharpe_ratio"] if best else None,
        "holdout_sharpe_ratio": held.get("sharpe_ratio"),
        "null_sweeps_p": nulls.get("p"),
        "null_sweeps_p_ledger": nulls.get("p_ledger"),
        "fingerprint": study.fingerprint[:12],
    }


def _figure(value: Any) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else _cell(value)


def flat_config(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flat_config(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


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

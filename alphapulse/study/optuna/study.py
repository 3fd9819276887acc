"""What Optuna's tables say of a study beside its trials: its row, its attributes, the note that the dashboard shows."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, text

from alphapulse.data_pipeline.database import OPTUNA_SCHEMA
from alphapulse.errors import StudyError
from alphapulse.study.records import Status, named_search

PREFIX = "alphapulse:"
SWEEP_ATTRIBUTE = f"{PREFIX}sweep_id"
# What `Study.metric_names` reads.
METRIC_NAMES_ATTRIBUTE = "study:metric_names"

# Where optuna-dashboard looks for a note: its version, and its text in numbered pieces of so many characters.
NOTE_VERSION = "dashboard:note_ver"
NOTE_PIECE = "dashboard:note_str:"
NOTE_PIECE_LENGTH = 2045
# The version that was written here last: another one is the user's, whose note stays.
OWN_VERSION = f"{PREFIX}note_ver"

SWEEP = """
SELECT id, name, space, objectives, directions, n_done, n_trials, status, seed, config, verdict,
    coalesce(config ->> 'store' = 'best', false) AS is_part FROM sweep
WHERE id = :id
"""
HOLDOUT_METRICS = ("sharpe_ratio", "cagr", "max_drawdown", "n_trades")


def read_sweep(connection: Connection, study_id: int) -> Row[Any]:
    """Return what is mirrored of the row of a study."""
    return connection.execute(text(SWEEP), {"id": study_id}).one()


def ensure_study(connection: Connection, sweep: Row[Any]) -> int:
    """Return the number of Optuna's study, made if need be.

    Raises
    ------
    StudyError
        If Optuna's tables hold a study of this name that is not of this making.
    """
    made = connection.scalar(
        text(
            f"INSERT INTO {OPTUNA_SCHEMA}.studies (study_name) VALUES (:name) "
            "ON CONFLICT (study_name) DO NOTHING RETURNING study_id"
        ),
        {"name": sweep.name},
    )
    if made is not None:
        connection.execute(
            text(
                f"INSERT INTO {OPTUNA_SCHEMA}.study_directions (study_id, direction, objective) "
                f"SELECT :id, upper(d.name)::{OPTUNA_SCHEMA}.studydirection, d.place - 1 "
                "FROM unnest(CAST(:directions AS text[])) WITH ORDINALITY AS d(name, place)"
            ),
            {"id": made, "directions": sweep.directions},
        )
        _set_attributes(connection, made, "user", {SWEEP_ATTRIBUTE: sweep.id})
        _set_attributes(connection, made, "system", {METRIC_NAMES_ATTRIBUTE: sweep.objectives})
        return int(made)
    found = connection.execute(
        text(
            f"SELECT s.study_id, a.value_json FROM {OPTUNA_SCHEMA}.studies s "
            f"LEFT JOIN {OPTUNA_SCHEMA}.study_user_attributes a ON a.study_id = s.study_id AND a.key = :key "
            "WHERE s.study_name = :name"
        ),
        {"key": SWEEP_ATTRIBUTE, "name": sweep.name},
    ).one()
    if found.value_json != json.dumps(sweep.id):
        raise StudyError(
            f"Optuna's tables hold another study named {sweep.name!r}; delete it in the dashboard, or rename it, "
            "and the next sweep of this name is mirrored."
        )
    return int(found.study_id)


def describe(
    connection: Connection,
    sweep: Row[Any],
    optuna_id: int,
    *,
    status: Status | None = None,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Write the attributes and the note of a study: how far it is, what came out, and where things are.

    A note that the user has written or changed stays as it is.

    Parameters
    ----------
    connection : Connection
    sweep : Row
        As `read_sweep` returns it.
    optuna_id : int
        Number of Optuna's study.
    status : {"RUNNING", "COMPLETE", "INTERRUPTED"}, optional
        None is the stored one.
    facts : mapping of str to str, optional
        Texts by name, such as the line on the data or the path of the tear sheet; earlier ones stay.
    """
    verdict = sweep.verdict if sweep.verdict is not None and sweep.verdict.get("n_trials") == sweep.n_done else {}
    known = {name.replace(" ", "_"): value for name, value in (facts or {}).items()}
    if "data" in verdict:
        known["data"] = verdict["data"]
    said = {
        "status": status or sweep.status,
        "n_trials": sweep.n_done,
        "n_wanted": sweep.n_trials,
        "search": named_search(sweep.config),
        "seed": sweep.seed,
        # A verdict on fewer trials than there are by now is out of date.
        "verdict": verdict.get("word"),
        "verdict_sentence": verdict.get("sentence"),
        "chosen": verdict.get("chosen"),
        "holdout": verdict.get("chosen_holdout"),
        "holdout_of_buy_and_hold": verdict.get("benchmark_holdout"),
        **known,
    }
    _set_attributes(connection, optuna_id, "user", {PREFIX + name: value for name, value in said.items()})
    stored = _attributes(connection, optuna_id, "user")
    _write_note(connection, optuna_id, note({name.removeprefix(PREFIX): value for name, value in stored.items()}))


def note(said: Mapping[str, Any]) -> str:
    """Return the note of a study as Markdown, from its attributes without their prefix."""
    lines = []
    if said.get("verdict"):
        lines += [f"## {said['verdict']}", "", str(said.get("verdict_sentence") or ""), ""]
        lines += _holdout_table(said)
    facts = {
        "Status": f"{said['status']}, to have {said['n_wanted']:,} trials",
        "Shown": said.get("mirror"),
        "Data": said.get("data"),
        "Search": f"{said['search']}, seed {said['seed']}" if said.get("search") else None,
        "Tear sheet": _code(said.get("tear_sheet")),
        "Report": _code(said.get("report")),
        "Run directory": _code(said.get("run_directory")),
    }
    lines += [f"- {name}: {value}" for name, value in facts.items() if value]
    return "\n".join(lines)


def _holdout_table(said: Mapping[str, Any]) -> list[str]:
    """Return the rows of the hold-out's figures; none where it was not opened."""
    chosen, market = said.get("holdout"), said.get("holdout_of_buy_and_hold")
    if not chosen:
        return []
    rows = [f"| hold-out | trial {said['chosen']} | buy & hold |", "|---|---:|---:|"]
    for name in HOLDOUT_METRICS:
        rows.append(f"| {name} | {_number(chosen.get(name))} | {_number((market or {}).get(name))} |")
    return [*rows, ""]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"


def _code(value: str | None) -> str | None:
    return None if not value else f"`{value}`"


def _write_note(connection: Connection, optuna_id: int, body: str) -> None:
    stored = _attributes(connection, optuna_id, "system")
    version = stored.get(NOTE_VERSION, 0)
    if version != stored.get(OWN_VERSION, 0):
        return
    before = {key: value for key, value in stored.items() if key.startswith(NOTE_PIECE)}
    pieces = {
        f"{NOTE_PIECE}{place}": body[start : start + NOTE_PIECE_LENGTH]
        for place, start in enumerate(range(0, len(body), NOTE_PIECE_LENGTH))
    }
    pieces = dict.fromkeys(before, "") | pieces
    if pieces != before:
        versions = {NOTE_VERSION: version + 1, OWN_VERSION: version + 1}
        _set_attributes(connection, optuna_id, "system", pieces | versions)


def set_fact(connection: Connection, optuna_id: int, name: str, value: str) -> None:
    """Write one attribute of a study."""
    _set_attributes(connection, optuna_id, "user", {PREFIX + name: value})


def _set_attributes(connection: Connection, optuna_id: int, kind: str, attributes: Mapping[str, Any]) -> None:
    connection.execute(
        text(
            f"INSERT INTO {OPTUNA_SCHEMA}.study_{kind}_attributes AS a (study_id, key, value_json) "
            "SELECT :id, t.key, t.value FROM unnest(CAST(:keys AS text[]), CAST(:values AS text[])) AS t(key, value) "
            "ON CONFLICT (study_id, key) DO UPDATE SET value_json = excluded.value_json "
            "WHERE a.value_json IS DISTINCT FROM excluded.value_json"
        ),
        {"id": optuna_id, "keys": list(attributes), "values": [json.dumps(value) for value in attributes.values()]},
    )


def _attributes(connection: Connection, optuna_id: int, kind: str) -> dict[str, Any]:
    rows = connection.execute(
        text(f"SELECT key, value_json FROM {OPTUNA_SCHEMA}.study_{kind}_attributes WHERE study_id = :id"),
        {"id": optuna_id},
    )
    return {row.key: json.loads(row.value_json) for row in rows}

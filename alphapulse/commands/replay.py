"""A trial of a study again, bit for bit, or what has changed since: `python -m alphapulse.replay`."""

import math
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from rich.table import Table

from alphapulse.backtesting.metrics import METRICS, TABLE
from alphapulse.config.schema import ReplayConfig
from alphapulse.data_pipeline.opening import open_database
from alphapulse.errors import StudyError
from alphapulse.reports.formatting import format_parameter, print_json, print_warnings, stdout_console
from alphapulse.study.provenance import changes_since
from alphapulse.study.records import Study, TrialRecord
from alphapulse.study.store import Store
from alphapulse.study.trials import SymbolMetrics
from alphapulse.sweep.inputs import load_inputs
from alphapulse.sweep.opening import stored_config
from alphapulse.sweep.scale.again import pick_or_draw
from alphapulse.sweep.worker import evaluate_batch
from alphapulse.sweep.workers.last_word import outlasting


@dataclass(frozen=True)
class _Comparison:
    """A trial as it is stored and as it comes out now.

    Attributes
    ----------
    pairs : dict of str to (float, float)
        Every metric and objective value, stored and replayed, by name; of a universe metrics by "SYMBOL metric" too.
    redefined : list of str
        Those of them that the study did not have, or had by another definition, and all of a trial that is not stored;
        they are not compared.
    changes : list of str
        What is not as it was when the study began.
    error : str or None
        Why the trial fails now.
    """

    pairs: dict[str, tuple[float, float]]
    redefined: list[str]
    changes: list[str]
    error: str | None

    @cached_property
    def differing(self) -> list[str]:
        """The names of the compared numbers whose bits differ."""
        compared = (name for name in self.pairs if name not in self.redefined)
        return [name for name in compared if not same_bits(*self.pairs[name])]

    @property
    def n_compared(self) -> int:
        """How many numbers are compared."""
        return len(self.pairs) - len(self.redefined)


def run_replay(config: ReplayConfig) -> None:
    """Run a stored trial again and compare every number that is still defined as it was.

    Raises
    ------
    StudyError
        If there is no such study or trial, or a number differs; then it names what has changed since.
    """
    database = open_database(config.db)
    store = Store(database)
    assert config.study is not None
    assert config.trial is not None
    study = store.find_study(config.study)
    stored = pick_or_draw(store, study, str(config.trial))
    inputs = load_inputs(stored_config(study), database)
    if not config.quiet:
        print_warnings(inputs.warnings)
    experiment = inputs.experiment
    with outlasting(experiment.definition):
        batch = evaluate_batch(inputs.market, experiment, stored["parameters"][None, :])
    result = batch.trials
    again: dict[str, float] = dict(zip(METRICS, result.metrics[0].tolist(), strict=True))
    pairs = {name: (stored["metrics"][name], again[name]) for name in METRICS}
    values_again = result.values[0].tolist()
    for name, before, now in zip(study.objectives, stored["values"], values_again, strict=True):
        pairs[_objective(name)] = (before, now)
    pairs |= _on_symbols(store.on_symbols(study, stored["number"]), batch.by_symbol)
    found = _Comparison(
        pairs,
        list(pairs) if stored["state"] == "DRAWN" else _redefined(study, list(pairs)),
        changes_since(study, experiment.definition, inputs.market.fingerprint, experiment.functions),
        result.errors.get(0),
    )
    _print(config, study, stored, found)
    if found.differing:
        names = ", ".join(found.differing[:3]) + (", ..." if len(found.differing) > 3 else "")
        reason = "; ".join(found.changes) if found.changes else "nothing that is recorded with the study"
        raise StudyError(
            f"Trial {stored['number']:,} of study {study.name!r} is not reproduced: {len(found.differing)} of "
            f"{found.n_compared} numbers differ ({names}); changed since: {reason}."
        )


def _objective(name: str) -> str:
    return f"objective {name}"


def _on_symbols(stored: dict[str, dict[str, float]], again: SymbolMetrics | None) -> dict[str, tuple[float, float]]:
    """Return the metrics of a trial on every symbol, stored and replayed; NaN where one of the two is missing."""
    if again is None:
        return {}
    rows = again.metrics[0].tolist() if len(again.trials) else [[math.nan] * len(METRICS)] * len(again.symbols)
    now = {symbol: dict(zip(METRICS, row, strict=True)) for symbol, row in zip(again.symbols, rows, strict=True)}
    unknown = dict.fromkeys(METRICS, math.nan)
    return {
        f"{symbol} {name}": (stored.get(symbol, unknown)[name], now.get(symbol, unknown)[name])
        for symbol in dict.fromkeys((*now, *stored))
        for name in METRICS
    }


def _redefined(study: Study, names: list[str]) -> list[str]:
    metrics = {name for name, metric in TABLE.items() if metric.since > study.definitions}
    return [name for name in names if name.rpartition(" ")[2] in metrics]


def same_bits(before: float, now: float) -> bool:
    """Return whether two numbers have the same bits; all NaNs are one, as NULL is in the database."""
    if math.isnan(before) or math.isnan(now):
        return math.isnan(before) and math.isnan(now)
    return struct.pack("<d", before) == struct.pack("<d", now)


def _print(config: ReplayConfig, study: Study, stored: TrialRecord, found: _Comparison) -> None:
    is_stored = stored["state"] != "DRAWN"
    if config.output == "json":
        document: dict[str, Any] = {
            "study": study.name,
            "definitions": study.definitions,
            "trial": stored["number"],
            "params": stored["params"],
            "reproduced": not found.differing if is_stored else None,
            "stored": {name: before for name, (before, _) in found.pairs.items()} if is_stored else None,
            "replayed": {name: now for name, (_, now) in found.pairs.items()},
            "differing": found.differing,
            "not_compared": found.redefined,
            "changed_since": found.changes,
            "error": found.error,
        }
        print_json(document)
        return
    out = stdout_console()
    state = stored["state"] if is_stored else "not stored"
    title = f"Trial {stored['number']:,} of study {study.name} ({state})"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("stored", justify="right")
    table.add_column("replayed", justify="right")
    table.add_column("bits")
    shown = {*METRICS, *map(_objective, study.objectives), *found.differing}
    for name, (before, now) in found.pairs.items():
        if name not in shown:
            continue
        bits = "not compared" if name in found.redefined else "differ" if name in found.differing else "same"
        table.add_row(name, _exact(before), _exact(now), bits)
    parameters = ", ".join(f"{key}={format_parameter(value)}" for key, value in stored["params"].items())
    out.print(table)
    out.print(f"Parameters: {parameters}", soft_wrap=True)
    if found.error is not None:
        out.print(f"It fails: {found.error}", soft_wrap=True)
    if not is_stored:
        out.print("It is not among the trials that are stored: it was drawn and run again, with nothing to compare.")
    elif not found.differing:
        out.print(f"All {found.n_compared} numbers are reproduced bit for bit.")
    if is_stored and found.redefined:
        out.print(
            f"Not compared, since the study has definitions {study.definitions} and these are newer: "
            f"{', '.join(found.redefined)}.",
            soft_wrap=True,
        )
    if found.changes:
        out.print(f"Changed since the study began: {'; '.join(found.changes)}.", soft_wrap=True)


def _exact(value: float) -> str:
    return "-" if np.isnan(value) else repr(float(value))

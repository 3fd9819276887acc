"""A stored trial again, bit for bit, or what has changed since: `python -m alphapulse.replay`."""

import math
import os
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from alphapulse.backtesting.metrics import METRICS
from alphapulse.config.assembly import assemble
from alphapulse.config.schema import ReplayConfig, SweepConfig
from alphapulse.data_pipeline.opening import open_database
from alphapulse.errors import StudyError
from alphapulse.reports.formatting import format_parameter, print_json, print_warnings, stdout_console
from alphapulse.study.provenance import changes_since
from alphapulse.study.records import Study, TrialRecord
from alphapulse.study.store import Store
from alphapulse.sweep.inputs import load_inputs
from alphapulse.sweep.worker import evaluate_batch


def run_replay(config: ReplayConfig) -> None:
    """Run a stored trial again and compare every metric.

    Raises
    ------
    StudyError
        If there is no such study or trial, or a metric differs; then it names what has changed since.
    """
    database = open_database(config.db)
    store = Store(database)
    assert config.study is not None
    assert config.trial is not None
    study = store.find_study(config.study)
    stored = store.trial(study, config.trial)
    values = {key: value for key, value in study.config.items() if key != "sampler"}
    inputs = load_inputs(assemble(SweepConfig, values, os.getcwd()), database)
    if not config.quiet:
        print_warnings(inputs.warnings)
    result = evaluate_batch(inputs.market, inputs.experiment, stored["parameters"][None, :]).trials
    again: dict[str, float] = dict(zip(METRICS, result.metrics[0].tolist(), strict=True))
    pairs = {name: (stored["metrics"][name], again[name]) for name in METRICS}
    values_again = result.values[0].tolist()
    for name, before, now in zip(study.objectives, stored["values"], values_again, strict=True):
        pairs[f"objective {name}"] = (before, now)
    differing = [name for name, (before, now) in pairs.items() if not same_bits(before, now)]
    changes = changes_since(study, inputs.experiment.definition, inputs.market.fingerprint)
    _print(config, study, stored, pairs, result.errors.get(0), differing, changes)
    if differing:
        reason = "; ".join(changes) if changes else "nothing that is recorded with the study"
        raise StudyError(
            f"Trial {config.trial} of study {study.name!r} is not reproduced: {len(differing)} of {len(pairs)} numbers "
            f"differ ({', '.join(differing[:3])}{', ...' if len(differing) > 3 else ''}); changed since: {reason}."
        )


def same_bits(before: float, now: float) -> bool:
    """Return whether two numbers have the same bits; all NaNs are one, as NULL is in the database."""
    if math.isnan(before) or math.isnan(now):
        return math.isnan(before) and math.isnan(now)
    return struct.pack("<d", before) == struct.pack("<d", now)


def _print(
    config: ReplayConfig,
    study: Study,
    stored: TrialRecord,
    pairs: Mapping[str, tuple[float, float]],
    error: str | None,
    differing: list[str],
    changes: list[str],
) -> None:
    if config.output == "json":
        document: dict[str, Any] = {
            "study": study.name,
            "trial": stored["number"],
            "params": stored["params"],
            "reproduced": not differing,
            "stored": {name: before for name, (before, _) in pairs.items()},
            "replayed": {name: now for name, (_, now) in pairs.items()},
            "differing": differing,
            "changed_since": changes,
            "error": error,
        }
        print_json(document)
        return
    out = stdout_console()
    title = f"Trial {stored['number']:,} of study {study.name} ({stored['state']})"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("stored", justify="right")
    table.add_column("replayed", justify="right")
    table.add_column("bits")
    for name, (before, now) in pairs.items():
        table.add_row(name, _exact(before), _exact(now), "differ" if name in differing else "same")
    parameters = ", ".join(f"{key}={format_parameter(value)}" for key, value in stored["params"].items())
    out.print(table)
    out.print(f"Parameters: {parameters}", soft_wrap=True)
    if error is not None:
        out.print(f"It fails: {error}", soft_wrap=True)
    if not differing:
        out.print(f"All {len(pairs)} numbers are reproduced bit for bit.")
    if changes:
        out.print(f"Changed since the study began: {'; '.join(changes)}.", soft_wrap=True)


def _exact(value: float) -> str:
    return "-" if np.isnan(value) else repr(float(value))

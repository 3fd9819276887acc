"""The trials of a stored study, looked through: `python -m alphapulse.trials`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from alphapulse.backtesting.metrics import METRICS
from alphapulse.config.schema import TrialsConfig
from alphapulse.data_pipeline.opening import open_database
from alphapulse.errors import ConfigError, StudyError
from alphapulse.reports.formatting import (
    SHOWN_METRICS,
    fitted_table,
    format_metric,
    format_parameter,
    print_json,
    stdout_console,
)
from alphapulse.reports.trial_frames import TrialFrames, write_csv, write_parquet
from alphapulse.study.store import Store

TOP = 20


def run_trials(config: TrialsConfig) -> None:
    """Print the trials of a study, or write them to a file.

    Raises
    ------
    StudyError
        If there is no such study, or no trial in it that `config.where` holds for.
    ConfigError
        If `config.where` is no condition on the columns, the study has no such symbol, or the file cannot be written.
    """
    store = Store(open_database(config.db))
    assert config.study is not None
    study = store.find_study(config.study)
    frames, sums = TrialFrames(store, study, config.symbol), store.sums(study)
    frames.check_symbol()
    if sums is not None:
        print(sums.stored, file=sys.stderr)
    where = frames.read_where(config.where)
    kind = "json" if config.output == "json" and config.format == "table" else config.format
    if kind in ("csv", "parquet"):
        pieces = frames.pieces(where) if config.top is None else iter([frames.best(config.top, where)])
        _write(config, kind, pieces)
        return
    found = frames.best(config.top or TOP, where)
    if kind == "json":
        print_json(found.to_dict("records"))
        return
    if found.empty:
        said = f" for which {config.where} holds" if config.where else ""
        raise StudyError(f"Study {config.study!r} has no trial{said}.")
    _print(config.study, frames, found)


def _write(config: TrialsConfig, kind: str, pieces: Iterator[pd.DataFrame]) -> None:
    if kind == "csv" and config.file is None:
        write_csv(pieces, sys.stdout)
        return
    path = Path(config.file or f"{config.study}.parquet")
    try:
        if kind == "parquet":
            n = write_parquet(pieces, path)
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                n = write_csv(pieces, file)
    except OSError as error:
        raise ConfigError(f"`file` must be writable, but {path}: {error.strerror}") from error
    print(f"{n:,} trials in {path}")


def _print(study: str, frames: TrialFrames, found: pd.DataFrame) -> None:
    objectives = dict(zip(frames.values, frames.study.objectives, strict=True))
    # What was searched for is shown once, unless the search saw another value than the metric of that name.
    same = {name for value, name in objectives.items() if name in METRICS and found[value].equals(found[name])}
    columns = {"trial": [f"{number:,}" for number in found["number"]]}
    columns |= {name: [f"{v:,.3f}" for v in found[value]] for value, name in objectives.items() if name not in same}
    metrics = dict.fromkeys([name for name in objectives.values() if name in METRICS] + list(SHOWN_METRICS))
    shown = {name.replace("_", " "): [format_metric(name, value) for value in found[name]] for name in metrics}
    columns |= dict(list(shown.items())[:4])
    for key in frames.study.space.keys:
        columns[key.partition(".")[2].replace("_", " ")] = [format_parameter(value) for value in found[key]]
    columns |= shown
    console = stdout_console()
    where = "" if frames.symbol is None else f" on {frames.symbol}"
    console.print(fitted_table(f"Study {study}: best of its trials{where}", columns, console.width))

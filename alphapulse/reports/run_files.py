"""The files of a run: curves, trades and setting of a backtest; trials, verdict and chosen setting of a study."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from alphapulse.backtesting.models import BacktestResult, EngineParams
from alphapulse.config.grammar import write_space
from alphapulse.plain import override_lines, plain
from alphapulse.reports.curves import backtest_trial
from alphapulse.reports.summary import StudySummary
from alphapulse.reports.trial_frames import TrialFrames, write_csv, write_parquet
from alphapulse.study.records import TrialRecord
from alphapulse.sweep.opening import OpenStudy, setting_of

EQUITY = "equity.csv"
WEIGHTS = "weights.csv"
TRADES, FILLS = "trades.csv", "fills.csv"
VERDICT = "verdict.json"
CHOSEN = "chosen.yaml"
MOST_CSV = 100_000
"""Trials beyond which a table of all is Parquet."""


def write_curves(result: BacktestResult, benchmark: pd.Series, directory: Path) -> dict[str, str]:
    """Write equity, trades, fills (and weights) of a backtest; return where they are, by what they are.

    Parameters
    ----------
    result : BacktestResult
    benchmark : Series
        Returns of buy and hold on the same bars [1].
    directory : Path
    """
    result.trades.to_csv(directory / TRADES, index=False)
    result.fills.to_csv(directory / FILLS, index=False)
    bought = (1.0 + benchmark).cumprod() * (result.equity.iloc[0] / (1.0 + result.returns.iloc[0]))
    curves = {
        "equity": result.equity,
        "returns": result.returns,
        "allocation": result.allocation,
        "buy_and_hold": bought,
    }
    pd.DataFrame(curves).to_csv(directory / EQUITY)
    places = {"trades": str(directory / TRADES), "fills": str(directory / FILLS), "equity": str(directory / EQUITY)}
    if result.weights is not None:
        result.weights.to_csv(directory / WEIGHTS)
        places["weights"] = str(directory / WEIGHTS)
    return places


def write_setting(
    path: Path,
    setting: Mapping[str, Any],
    remark: str,
    space: Mapping[str, str] | None = None,
    when: Mapping[str, str] | None = None,
) -> None:
    """Write a setting as an experiment that `backtest sweeps=PATH` and `sweep sweeps=PATH` take as it is.

    Parameters
    ----------
    path : Path
    setting : mapping
        Plain values of a configuration; data, universe, strategy, engine and the hold-out's share of it are written.
    remark : str
        What it is, in one line.
    space : mapping of str to str, optional
        What a sweep that starts from it searches.
    when : mapping of str to str, optional
        Conditions under which keys of that count.
    """
    kept: dict[str, Any] = {name: setting[name] for name in ("data", "universe", "strategy", "engine")}
    kept["validation"] = {"holdout": setting["validation"]["holdout"]}
    content: dict[str, Any] = {"overrides": override_lines(kept)}
    content |= {name: dict(part) for name, part in (("space", space), ("when", when)) if part}
    text = yaml.safe_dump(content, sort_keys=False, width=1000, allow_unicode=True)
    path.write_text(f"# {remark}\n{text}", encoding="utf-8")


def write_study_files(opened: OpenStudy, summary: StudySummary, directory: Path) -> dict[str, str]:
    """Write the trials of a study, its verdict, and the chosen setting with its curves and trades on the searched bars.

    Returns
    -------
    dict of str to str
        Where they are, by what they are.
    """
    store, study = opened.store, opened.study
    places: dict[str, str] = {}
    frames = TrialFrames(store, study)
    if summary.n_trials > MOST_CSV:
        path = directory / "trials.parquet"
        write_parquet(frames.pieces(), path)
    else:
        path = directory / "trials.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            write_csv(frames.pieces(), file)
    places["trials"] = str(path)
    if summary.verdict is not None:
        write_json(directory / VERDICT, summary.verdict)
        places["verdict"] = str(directory / VERDICT)
    shown = summary.chosen or (summary.best[0] if summary.best else None)
    if shown is not None:
        trial = store.trial(study, shown.number)
        remark = f"Trial {shown.number:,} of study {study.name}; `backtest` and `sweep` take sweeps={CHOSEN}"
        space, when = write_space(study.space), study.config.get("when")
        write_setting(directory / CHOSEN, _active_setting(opened, trial), remark, space, when)
        places["chosen"] = str(directory / CHOSEN)
        market, experiment = opened.inputs.market, opened.inputs.experiment
        places |= write_curves(*backtest_trial(market, experiment, trial["parameters"]), directory)
    return places


def _active_setting(opened: OpenStudy, trial: TrialRecord) -> dict[str, Any]:
    """Return the setting of a trial without the keys that are inactive in it, where their values are the defaults."""
    setting, experiment = setting_of(opened.study, trial), opened.inputs.experiment
    untouched = replace(experiment, strategy={}, engine=EngineParams())
    for key in opened.study.space.keys:
        if key not in trial["params"] and experiment.default(key) == untouched.default(key):
            *groups, name = key.split(".")
            reduce(getitem, groups, setting).pop(name, None)
    return setting


def write_json(path: Path, document: Any) -> None:
    """Write plain values as indented JSON."""
    path.write_text(json.dumps(plain(document), indent=1, allow_nan=False) + "\n", encoding="utf-8")

"""What a study searches for: metrics, expressions over them, and functions of the user's own."""

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from alphapulse.backtesting.batch import FAILED
from alphapulse.backtesting.metrics import METRICS
from alphapulse.errors import ConfigError
from alphapulse.search.expressions import read_expression
from alphapulse.strategies.scores import ScoreFunction, is_path, resolve_score
from alphapulse.study.trials import Trials
from alphapulse.typing import Float64Array1D, Float64Array2D


class Score(Protocol):
    """An objective that is no metric."""

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that it asks for by name."""

    def evaluate(self, columns: Mapping[str, Float64Array1D]) -> np.ndarray:
        """Return the value of each trial (n_trials,), from its metrics by name."""


def own_objectives(objectives: Sequence[str]) -> dict[str, Score]:
    """Return those of the objectives that are no metrics; functions are looked up from the working directory.

    Raises
    ------
    StrategyError
        If a function cannot be imported, or asks for what is no metric.
    """
    return {text: _read(text) for text in objectives if text not in METRICS}


def _read(text: str) -> Score:
    return resolve_score(text, METRICS, os.getcwd()) if is_path(text) else read_expression(text, "objective", METRICS)


def objective_values(objectives: Sequence[str], own: Mapping[str, Score], trials: Trials) -> Float64Array2D:
    """Return the objectives (n_trials, n_objectives) of trials that have their metrics; NaN where undefined.

    What a function of the user's own raises is the failure of its trial, in `trials.errors`.
    """
    values = np.full((len(trials), len(objectives)), np.nan)
    for place, name in enumerate(objectives):
        if name in own:
            _score(own[name], trials, values[:, place])
        else:
            values[:, place] = trials.metrics[:, METRICS.index(name)]
    return values


def _score(score: Score, trials: Trials, values: Float64Array1D) -> None:
    """Fill `values` (n_trials,) where a trial ran; what is not finite is undefined."""
    rows = np.flatnonzero(trials.status != FAILED)
    metrics = trials.metrics[rows]
    if not len(rows):
        return
    try:
        values[rows] = score.evaluate(_columns(metrics))
    except Exception:
        # Each alone, so that only the guilty ones fail.
        for row, metrics_of_one in zip(rows.tolist(), metrics, strict=True):
            try:
                values[row] = score.evaluate(_columns(metrics_of_one[None, :]))[0]
            except Exception as error:
                trials.errors.setdefault(row, f"The objective raised {type(error).__name__}: {error}")
    values[~np.isfinite(values)] = np.nan


def _columns(metrics: Float64Array2D) -> dict[str, Float64Array1D]:
    return dict(zip(METRICS, metrics.T, strict=True))


def check_functions(own: Mapping[str, Score], metrics: Float64Array2D) -> None:
    """Let functions of the user's own see the metrics (n_trials, n_metrics) of some trials, before a search does.

    Raises
    ------
    ConfigError
        If one raises for all of them, returns something else than a number a trial, or looks at more than one trial:
        what a trial is worth would depend on the batch that it is in.
    """
    for text, score in own.items():
        if not isinstance(score, ScoreFunction):
            continue
        alone = np.full(len(metrics), np.nan)
        errors: list[Exception] = []
        for row in range(len(metrics)):
            try:
                alone[row] = score.evaluate(_columns(metrics[row : row + 1]))[0]
            except Exception as error:
                errors.append(error)
        if errors and len(errors) == len(metrics):
            said = " ".join(str(errors[0]).split())
            raise ConfigError(f"`objective` {text} raises {type(errors[0]).__name__}: {said}") from errors[0]
        if errors:
            continue
        try:
            together = score.evaluate(_columns(metrics))
        except ValueError as error:
            raise ConfigError(f"`objective` {text}: {' '.join(str(error).split())}") from error
        if not np.array_equal(together, alone, equal_nan=True):
            raise ConfigError(
                f"`objective` {text} must look at each trial alone, but what it returns for a trial changes with the "
                "trials beside it; leave out such as mean() and rank()"
            )

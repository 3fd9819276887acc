"""What runs on a Ray worker: a batch of trials from parameters to metrics, without database or search."""

import time
from dataclasses import dataclass, field

import numpy as np

from alphapulse.backtesting.batch import FAILED, OK, TRIALS_PER_CALL, EngineColumns, simulate_batch
from alphapulse.backtesting.metrics import METRICS
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.market.market import Market
from alphapulse.sweep.experiment import Experiment
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int8Array1D, Int64Array1D
from alphapulse.validation.plateau import ParameterGrid, neighbours, plateau_objective, worst_fold_sharpe

CACHE_BYTES = 256 * 2**20
# Of the targets of one call, where a strategy makes them as whole arrays.
TARGET_BYTES = 64 * 2**20
MESSAGE_LENGTH = 500


@dataclass
class BatchResult:
    """Outcome of the trials of a batch, one row a trial.

    Attributes
    ----------
    metrics : (n_trials, n_metrics) float64
        In the order of `METRICS`; NaN where undefined.
    values : (n_trials, n_objectives) float64
        What the search is told; NaN throughout for a failed trial.
    status : (n_trials,) int8
        0 ok, 1 ruined, 2 failed.
    errors : dict of int to str
        Reason of each failed trial, by row.
    kept : (n_kept,) int64
        Rows whose block moments are returned.
    block_sums, block_squares : (n_kept, n_blocks) float64
        Sums of returns [1] and of their squares in each calendar block.
    observed : float
        Largest studentised mean of the batch; -inf without a bootstrap or without trials.
    maxima : (n_bootstrap,) float64
        The same of each bootstrap sample.
    seconds : float
        Spent on the batch [s].
    """

    metrics: Float64Array2D
    values: Float64Array2D
    status: Int8Array1D
    errors: dict[int, str]
    kept: Int64Array1D
    block_sums: Float64Array2D
    block_squares: Float64Array2D
    observed: float
    maxima: Float64Array1D
    seconds: float


@dataclass
class _Rows:
    metrics: Float64Array2D
    status: Int8Array1D
    block_sums: Float64Array2D
    block_squares: Float64Array2D
    errors: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Context:
    market: Market
    experiment: Experiment
    cache: IndicatorCache


_context: _Context | None = None


def _enter(market: Market, experiment: Experiment) -> _Context:
    """Return the indicators that this process has computed, kept while market and experiment are the same."""
    global _context
    if _context is None or _context.market is not market or _context.experiment is not experiment:
        _context = _Context(market, experiment, IndicatorCache(CACHE_BYTES))
    return _context


def evaluate_batch(
    market: Market,
    experiment: Experiment,
    parameters: Float64Array2D,
    *,
    keep: BoolArray1D | None = None,
    threshold: float = np.inf,
) -> BatchResult:
    """Backtest a batch of trials.

    A trial's numbers do not depend on the batch that it is in.

    Parameters
    ----------
    market : Market
    experiment : Experiment
    parameters : (n_trials, n_dimensions) float64
        In the order of `experiment.space`.
    keep : (n_trials,) bool, optional
        Trials whose block moments are wanted; by default all.
    threshold : float
        Block moments are returned too where the first objective, negated if it is minimised, is not below this.

    Returns
    -------
    BatchResult
        An exception in a strategy is the failure of its trials, with its text.
    """
    started = time.perf_counter()
    context = _enter(market, experiment)
    parameters = np.ascontiguousarray(parameters, dtype=np.float64)
    rows = _simulate(context, parameters)
    if experiment.robustness == "plateau":
        values = _plateau_values(context, parameters, rows)
    else:
        values = _objective_values(market, experiment, rows)
    errors = _explain(experiment, rows, values)
    failed = np.isnan(values).any(axis=1) | (rows.status == FAILED)
    values[failed] = np.nan
    observed, maxima = _reality_check(experiment, rows, failed)
    kept = _kept_rows(experiment, values, keep, threshold) & ~failed
    return BatchResult(
        metrics=rows.metrics,
        values=values,
        status=rows.status,
        errors=errors,
        kept=np.flatnonzero(kept),
        block_sums=rows.block_sums[kept],
        block_squares=rows.block_squares[kept],
        observed=observed,
        maxima=maxima,
        seconds=time.perf_counter() - started,
    )


def _simulate(context: _Context, parameters: Float64Array2D) -> _Rows:
    """Backtest trials in calls of the size that the kernel likes and memory has room for."""
    most = max(1, TARGET_BYTES // (8 * len(context.market.bars)))
    size = min(TRIALS_PER_CALL, most)
    parts = [_simulate_guarded(context, parameters[start : start + size]) for start in range(0, len(parameters), size)]
    return _joined(parts, size)


def _simulate_guarded(context: _Context, parameters: Float64Array2D) -> _Rows:
    """Backtest all trials together; if that raises, each alone, so that only the guilty ones fail."""
    try:
        return _simulate_together(context, parameters)
    except Exception as error:
        if len(parameters) > 1:
            return _joined([_simulate_guarded(context, row[None, :]) for row in parameters], 1)
        blocks = np.full((1, context.market.n_blocks), np.nan)
        reason = {0: f"{type(error).__name__}: {error}"}
        return _Rows(np.full((1, len(METRICS)), np.nan), np.full(1, FAILED, dtype=np.int8), blocks, blocks, reason)


def _joined(parts: list[_Rows], size: int) -> _Rows:
    if len(parts) == 1:
        return parts[0]
    return _Rows(
        np.concatenate([part.metrics for part in parts]),
        np.concatenate([part.status for part in parts]),
        np.concatenate([part.block_sums for part in parts]),
        np.concatenate([part.block_squares for part in parts]),
        {number * size + place: text for number, part in enumerate(parts) for place, text in part.errors.items()},
    )


def _simulate_together(context: _Context, parameters: Float64Array2D) -> _Rows:
    market, experiment = context.market, context.experiment
    n_trials = len(parameters)
    strategy, swept = experiment.columns(parameters)
    targets = experiment.definition.block(market.bars, strategy, n_trials, context.cache)
    outcome = simulate_batch(market, targets, EngineColumns.build(experiment.engine, swept, n_trials))
    status = np.array(outcome.status, dtype=np.int8)
    errors = dict(targets.failures)
    status[list(errors)] = FAILED
    return _Rows(outcome.metrics, status, outcome.block_sums, outcome.block_squares, errors)


def _objective_values(market: Market, experiment: Experiment, rows: _Rows) -> Float64Array2D:
    values = rows.metrics[:, [METRICS.index(name) for name in experiment.objectives]].copy()
    if experiment.robustness == "worst_fold":
        counts = np.diff(market.block_end, prepend=market.first)
        worst = worst_fold_sharpe(rows.block_sums, rows.block_squares, counts, experiment.n_folds)
        ppy = experiment.engine.periods_per_year or market.bars.periods_per_year
        values[:, experiment.objectives.index("sharpe_ratio")] = worst * np.sqrt(ppy)
    return values


def _plateau_values(context: _Context, parameters: Float64Array2D, rows: _Rows) -> Float64Array2D:
    """Score each trial by the median over itself and its neighbours, a failed one counting as the worst."""
    experiment = context.experiment
    own = _objective_values(context.market, experiment, rows)
    around = neighbours(ParameterGrid.of(experiment.space.dimensions), parameters)
    n_trials, n_neighbours, n_dimensions = around.shape
    others = _simulate(context, np.ascontiguousarray(around.reshape(-1, n_dimensions)))
    scores = _objective_values(context.market, experiment, others)
    scores[others.status == FAILED] = np.nan
    scores = np.concatenate([own[:, None, :], scores.reshape(n_trials, n_neighbours, own.shape[1])], axis=1)
    for place, direction in enumerate(experiment.directions):
        own[:, place] = plateau_objective(scores[:, :, place], maximize=direction == "maximize")
    return own


def _explain(experiment: Experiment, rows: _Rows, values: Float64Array2D) -> dict[int, str]:
    errors = dict(rows.errors)
    for place in np.flatnonzero(rows.status == FAILED).tolist():
        errors.setdefault(place, "The target allocation is NaN or infinite on a scored bar.")
    for place in np.flatnonzero(np.isnan(values).any(axis=1)).tolist():
        missing = [name for name, value in zip(experiment.objectives, values[place], strict=True) if np.isnan(value)]
        errors.setdefault(place, f"The objective `{missing[0]}` is undefined: {_why_undefined(rows, place)}.")
    return {place: " ".join(text.replace("\0", "").split())[:MESSAGE_LENGTH] for place, text in errors.items()}


def _why_undefined(rows: _Rows, place: int) -> str:
    if rows.metrics[place, METRICS.index("n_trades")] == 0:
        return "the trial never trades"
    return "the returns have no variance" if rows.status[place] == OK else "the trial is ruined"


def _kept_rows(
    experiment: Experiment, values: Float64Array2D, keep: BoolArray1D | None, threshold: float
) -> BoolArray1D:
    if keep is None:
        return np.ones(len(values), dtype=np.bool_)
    score = values[:, 0] if experiment.directions[0] == "maximize" else -values[:, 0]
    kept: BoolArray1D = keep | (score >= threshold)
    return kept


def _reality_check(experiment: Experiment, rows: _Rows, failed: BoolArray1D) -> tuple[float, Float64Array1D]:
    if experiment.bootstrap is None:
        return -np.inf, np.empty(0)
    alive = ~failed
    return experiment.bootstrap.batch_maximum(rows.block_sums[alive])

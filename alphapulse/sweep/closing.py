"""The end of a sweep: the hold-out opened for the one chosen trial, and the verdict."""

import math
from dataclasses import dataclass, replace

import numpy as np

from alphapulse.backtesting.batch import benchmark_returns
from alphapulse.backtesting.market import Market
from alphapulse.backtesting.metrics import METRICS, metrics_of_returns
from alphapulse.config.schema import SweepConfig
from alphapulse.sweep.experiment import Experiment, engine_with
from alphapulse.sweep.models import Study
from alphapulse.sweep.space import SearchSpace
from alphapulse.sweep.store import Store
from alphapulse.sweep.streaming import Streaming
from alphapulse.sweep.worker import evaluate_batch
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D
from alphapulse.validation import (
    ParameterGrid,
    SharpeEstimate,
    Verdict,
    VerdictInputs,
    VerdictOptions,
    VerdictThresholds,
    break_even_commission,
    make_verdict,
)

PIECE = 50_000


@dataclass(frozen=True)
class Trials:
    """All trials of a study, one row each.

    Attributes
    ----------
    parameters : (n_trials, n_dimensions) float64
    sharpes : (n_trials,) float64
        Annual Sharpe ratios as stored [1]; NaN where undefined or failed.
    block_trials : (n_kept,) int64
        Trials whose block moments are kept.
    block_sums, block_squares : (n_kept, n_blocks) float64
    """

    parameters: Float64Array2D
    sharpes: Float64Array1D
    block_trials: Int64Array1D
    block_sums: Float64Array2D
    block_squares: Float64Array2D


def all_trials(store: Store, study: Study, n_trials: int) -> Trials:
    """Read the first `n_trials` trials of a study, in pieces, so that only what is kept takes memory."""
    parameters = np.empty((n_trials, len(study.space)))
    sharpes = np.empty(n_trials)
    place = METRICS.index("sharpe_ratio")
    for start in range(0, n_trials, PIECE):
        rows = slice(start, min(start + PIECE, n_trials))
        piece = store.history(study, rows.start, rows.stop)
        parameters[rows] = piece.parameters
        sharpes[rows] = np.where(np.isnan(piece.values).any(axis=1), np.nan, piece.metrics[:, place])
    return Trials(parameters, sharpes, *store.blocks(study))


def weigh(
    config: SweepConfig,
    experiment: Experiment,
    market: Market,
    holdout: Market | None,
    streaming: Streaming,
    trials: Trials,
    *,
    chosen: int,
    n_trials_on_data: int,
    n_openings: int,
    gate: str,
) -> Verdict:
    """Return the verdict on a study; this opens the hold-out for the trial `chosen`.

    Parameters
    ----------
    chosen : int
        Number of the best trial.
    n_trials_on_data, n_openings : int
        Trials of all studies on this data, and openings of its hold-out, this study's included.
    gate : {"clean", "off"}
        What the look-ahead gate said.
    """
    assert experiment.bootstrap is not None
    parameters = trials.parameters[chosen]
    periods = periods_per_year(experiment, market, parameters)
    return make_verdict(
        VerdictInputs(
            chosen=chosen,
            in_sample=estimate(experiment, market, parameters),
            hold_out=None if holdout is None else estimate(experiment, holdout, parameters),
            sharpes=trials.sharpes / math.sqrt(periods),
            bootstrap=experiment.bootstrap,
            observed=streaming.observed,
            maxima=streaming.maxima,
            look_ahead_clean=True if gate == "clean" else None,
            n_trials=len(trials.sharpes),
            n_trials_on_data=max(n_trials_on_data, len(trials.sharpes)),
            n_openings=n_openings,
            block_trials=trials.block_trials,
            block_sums=trials.block_sums,
            block_squares=trials.block_squares,
            parameters=trials.parameters,
            grid=ParameterGrid.of(experiment.space.dimensions),
            parameter_names=experiment.space.keys,
            break_even=break_even(experiment, market, parameters),
            periods_per_year=periods,
        ),
        options_of(config),
    )


def options_of(config: SweepConfig) -> VerdictOptions:
    """Return how a verdict is computed, from the configuration."""
    validation, windows = config.validation, config.validation.walk_forward
    limits = validation.thresholds
    return VerdictOptions(
        thresholds=VerdictThresholds(limits.survive_p, limits.luck_p, limits.survive_psr, limits.luck_psr),
        priors=validation.priors,
        pbo_blocks=validation.pbo_blocks,
        train_blocks=windows.train_blocks,
        test_blocks=windows.test_blocks,
        purge=windows.purge,
        embargo=windows.embargo,
    )


def estimate(experiment: Experiment, market: Market, parameters: Float64Array1D) -> SharpeEstimate:
    """Return the per-bar Sharpe ratio of one trial on the scored bars of `market`; NaN if undefined."""
    metrics = metrics_of_trial(experiment, market, parameters)
    return SharpeEstimate(
        sharpe=metrics["sharpe_ratio"] / math.sqrt(periods_per_year(experiment, market, parameters)),
        n_returns=market.n_scored,
        skewness=metrics["skewness"],
        kurtosis=metrics["kurtosis"],
    )


def metrics_of_trial(experiment: Experiment, market: Market, parameters: Float64Array1D) -> dict[str, float]:
    """Return the metrics of one trial on the scored bars of `market`."""
    alone = replace(experiment, bootstrap=None, robustness=None)
    row = evaluate_batch(market, alone, parameters[None, :]).metrics[0]
    return dict(zip(METRICS, row.tolist(), strict=True))


def break_even(experiment: Experiment, market: Market, parameters: Float64Array1D) -> float | None:
    """Return the commission at which the edge of a trial is gone [1]; None if it outlasts all that were tried."""
    strategy, engine = experiment.values(parameters)

    def sharpe(commission: float) -> float:
        changed = engine_with(engine, {"commission": commission})
        fixed = replace(experiment, space=SearchSpace(()), strategy=strategy, engine=changed)
        return metrics_of_trial(fixed, market, np.empty(0))["sharpe_ratio"]

    return break_even_commission(sharpe)


def periods_per_year(experiment: Experiment, market: Market, parameters: Float64Array1D) -> float:
    """Return the bars of a year that annualise a trial [1]."""
    _, engine = experiment.values(parameters)
    return engine.periods_per_year or market.bars.periods_per_year


def benchmark_metrics(experiment: Experiment, market: Market) -> dict[str, float]:
    """Return the metrics of buy and hold of the traded symbol over the scored bars."""
    returns = benchmark_returns(market.bars, market.first)[market.first :]
    return metrics_of_returns(
        returns,
        returns,
        risk_free_rate=experiment.engine.risk_free_rate,
        periods_per_year=experiment.engine.periods_per_year or market.bars.periods_per_year,
    )

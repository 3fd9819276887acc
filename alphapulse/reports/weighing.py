"""The end of a sweep: the hold-out opened for the one chosen trial, and the verdict."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from alphapulse.backtesting.batch import benchmark_returns
from alphapulse.backtesting.metrics import METRICS, metrics_of_returns
from alphapulse.config.groups import ValidationConfig
from alphapulse.market.market import Market
from alphapulse.search.space import SearchSpace
from alphapulse.study.columns import StudyColumns
from alphapulse.study.ledger import count_trials, record_opening
from alphapulse.study.records import TrialRecord
from alphapulse.sweep.experiment import Experiment, engine_with
from alphapulse.sweep.opening import OpenStudy
from alphapulse.sweep.searching import study_state
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


@dataclass(frozen=True)
class StoredTrials:
    """The first `n_trials` trials of a study, read from the database as a verdict asks for them.

    Attributes
    ----------
    columns : StudyColumns
    n_trials : int
    periods_per_year : float
        Turns the annual Sharpe ratios that are stored into per-bar ones [1].
    """

    columns: StudyColumns
    n_trials: int
    periods_per_year: float

    def sharpes(self) -> Iterator[Float64Array1D]:
        """Yield the per-bar Sharpe ratios of all trials in order; NaN for a failed one [1]."""
        for annual in self.columns.sharpes(self.n_trials):
            yield annual / math.sqrt(self.periods_per_year)

    def read(self, trials: Int64Array1D) -> tuple[Float64Array2D, Float64Array1D]:
        """Return parameters and per-bar Sharpe ratios of some trials."""
        parameters, annual = self.columns.parameters_and_sharpes(trials)
        return parameters, annual / math.sqrt(self.periods_per_year)


@dataclass(frozen=True)
class StoredBlocks:
    """The kept block moments of a study, read from the database in pieces."""

    columns: StudyColumns

    @property
    def n_kept(self) -> int:
        """Number of trials whose moments are kept."""
        return self.columns.n_blocks_kept

    def read(self) -> Iterator[tuple[Int64Array1D, Float64Array2D, Float64Array2D]]:
        """Yield trials, sums and squares, by trial."""
        return self.columns.blocks()


def weigh(opened: OpenStudy, best: TrialRecord) -> Verdict:
    """Return the verdict on the stored trials of a study; this opens the hold-out for the trial `best`."""
    store, study, inputs = opened.store, opened.study, opened.inputs
    experiment, market, holdout = inputs.experiment, inputs.market, inputs.holdout
    assert experiment.bootstrap is not None
    n_openings = 0 if holdout is None else record_opening(store.database, study, best["number"])
    state = study_state(opened)
    n_done = store.n_done(study)
    parameters = best["parameters"]
    periods = periods_per_year(experiment, market, parameters)
    columns = StudyColumns(store.database, study)
    return make_verdict(
        VerdictInputs(
            chosen=best["number"],
            in_sample=estimate(experiment, market, parameters),
            hold_out=None if holdout is None else estimate(experiment, holdout, parameters),
            trials=StoredTrials(columns, n_done, periods),
            bootstrap=experiment.bootstrap,
            observed=state.observed,
            maxima=state.maxima,
            look_ahead_clean=True if inputs.gate == "clean" else None,
            n_trials_on_data=max(count_trials(store.database, study.fingerprint), n_done),
            n_openings=n_openings,
            blocks=StoredBlocks(columns),
            grid=ParameterGrid.of(experiment.space.dimensions),
            parameter_names=experiment.space.keys,
            break_even=break_even(experiment, market, parameters),
            periods_per_year=periods,
        ),
        options_of(opened.config.validation),
    )


def options_of(validation: ValidationConfig) -> VerdictOptions:
    """Return how a verdict is computed, from the configuration."""
    windows, limits = validation.walk_forward, validation.thresholds
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
    row = evaluate_batch(market, alone, parameters[None, :]).trials.metrics[0]
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
    return engine.bars_per_year(market.bars)


def benchmark_metrics(experiment: Experiment, market: Market) -> dict[str, float]:
    """Return the metrics of buy and hold of the traded symbol over the scored bars."""
    returns = benchmark_returns(market.bars, market.first)[market.first :]
    return metrics_of_returns(
        returns,
        returns,
        risk_free_rate=experiment.engine.risk_free_rate,
        periods_per_year=experiment.engine.bars_per_year(market.bars),
    )

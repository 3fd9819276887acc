"""The end of a sweep: the hold-out opened for the one chosen trial, and the verdict."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from alphapulse.backtesting.batch import EngineColumns, benchmark_returns, simulate_batch
from alphapulse.backtesting.metrics import METRICS, metrics_of_returns
from alphapulse.config.groups import ValidationConfig
from alphapulse.market.market import Market
from alphapulse.plain import command_line
from alphapulse.search.space import SearchSpace
from alphapulse.study.columns import StudyColumns
from alphapulse.study.ledger import open_holdout, read_ledger
from alphapulse.study.null_values import NullValues
from alphapulse.study.part.drawn import is_drawn
from alphapulse.study.part.sums import Sums
from alphapulse.study.records import TrialRecord
from alphapulse.sweep.clock import Clock
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.inputs import StudyInputs
from alphapulse.sweep.null.holdout import run_holdout_test
from alphapulse.sweep.null.stage import run_null_sweeps
from alphapulse.sweep.opening import OpenStudy
from alphapulse.sweep.scale.running import count_settings_of
from alphapulse.sweep.searching import budget, study_state
from alphapulse.sweep.study_state import StudyState
from alphapulse.sweep.worker import evaluate_batch, forget
from alphapulse.sweep.workers.batches import TrialLimits
from alphapulse.sweep.workers.cluster import Cluster
from alphapulse.sweep.workers.limits import Limits
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int64Array1D
from alphapulse.validation import (
    MarketComparison,
    NullSweeps,
    ParameterGrid,
    SharpeEstimate,
    Verdict,
    VerdictInputs,
    VerdictOptions,
    VerdictThresholds,
    break_even_commission,
    make_verdict,
)
from alphapulse.validation.blocks import excess_moments
from alphapulse.validation.null_sweeps import holdout_p, n_holdout_surrogates, n_null_sweeps, null_seconds
from alphapulse.validation.verdict.sources import StoredPart

MORE_NULL_SWEEPS = 999
DEFAULT_NULL_SWEEPS = ValidationConfig.null_sweeps


@dataclass(frozen=True)
class StoredTrials:
    """The first `n_trials` trials of a study, read from the database as a verdict asks for them.

    Attributes
    ----------
    columns : StudyColumns
    n_trials : int
    periods_per_year : float
        Turns the annual Sharpe ratios that are stored into per-bar ones [1].
    sums : Sums, optional
        What is known of all trials, where a part of them may be stored.
    """

    columns: StudyColumns
    n_trials: int
    periods_per_year: float
    sums: Sums | None = None

    def part(self) -> StoredPart | None:
        """Return which trials are stored, where not all are."""
        sums = self.sums
        if sums is None or sums.n_drawn == sums.n_trials:
            return None
        numbers = self.columns.numbers()
        return StoredPart(numbers, is_drawn(numbers, sums.n_planned), np.array(sums.sharpes), sums.stored)

    def sharpes(self) -> Iterator[Float64Array1D]:
        """Yield the per-bar Sharpe ratios of all trials that are stored in order; NaN for a failed one [1]."""
        for annual in self.columns.sharpes(self.n_trials):
            yield annual / math.sqrt(self.periods_per_year)

    def read(self, trials: Int64Array1D) -> tuple[Float64Array2D, Float64Array1D]:
        """Return parameters and per-bar Sharpe ratios of some trials."""
        parameters, annual = self.columns.parameters_and_sharpes(trials)
        return parameters, annual / math.sqrt(self.periods_per_year)

    def may_be_chosen(self, trials: Int64Array1D) -> BoolArray1D:
        """Return which of some trials break no condition on results."""
        if not self.columns.study.feasible:
            return np.ones(len(trials), dtype=np.bool_)
        good = np.concatenate([np.empty(0, np.int64), *(numbers for numbers, _ in self.columns.candidates())])
        return np.isin(trials, good)


@dataclass(frozen=True)
class StoredBlocks:
    """The kept block moments of a study over cash, read from the database in pieces.

    Attributes
    ----------
    columns : StudyColumns
    counts : (n_blocks,) float64
        Bars of each block.
    rate : float
        What cash pays in a bar [1].
    """

    columns: StudyColumns
    counts: Float64Array1D
    rate: float

    @property
    def n_kept(self) -> int:
        """Number of trials whose moments are kept."""
        return self.columns.n_blocks_kept

    def read(self) -> Iterator[tuple[Int64Array1D, Float64Array2D, Float64Array2D]]:
        """Yield trials, sums and squares, by trial."""
        for kept in self.columns.blocks():
            yield (kept.trials, *excess_moments(kept.sums, kept.squares, self.counts, self.rate))


@dataclass(frozen=True)
class Weighing:
    """How a study is weighed: where its tests run, who watches, and who may end them.

    Attributes
    ----------
    cluster : Cluster
        A cluster that has started.
    clock : Clock
        Knows the time of the search, if it ran in this process.
    watch : callable
        Called now and then with the outcome of the null sweeps so far.
    stop : callable
        Asked now and then whether to end early.
    watch_holdout : callable, optional
        Called now and then with how many surrogates of the hold-out are done, and of how many.
    """

    cluster: Cluster
    clock: Clock
    watch: Callable[[NullSweeps], None]
    stop: Callable[[], bool]
    watch_holdout: Callable[[int, int], None] = lambda n_done, n_wanted: None

    def watch_out(self) -> None:
        """Raise where the user has asked to end."""
        if self.stop():
            raise WeighingInterruptedError


class WeighingInterruptedError(Exception):
    """The user ended the null sweeps, of which what is done is kept, or the test on the hold-out after them."""


def weigh(opened: OpenStudy, chosen: TrialRecord, weighing: Weighing) -> tuple[Verdict, MarketComparison]:
    """Return the verdict on the stored trials of a study; this opens the hold-out for the trial `chosen`.

    The second is how the trial did beside buy and hold; a hold-out on which it fails is left out.

    Raises
    ------
    WeighingInterruptedError
        If `weighing.stop` said so before the null sweeps or the test on the hold-out were done.
    """
    store, study, inputs = opened.store, opened.study, opened.inputs
    experiment, market, holdout = inputs.experiment, inputs.market, inputs.holdout
    validation = opened.config.validation
    assert experiment.bootstrap is not None
    n_done, bars, parameters = store.n_done(study), inputs.bars, chosen["parameters"]
    state, n_distinct = study_state(opened), count_settings_of(opened)
    ledger = read_ledger(store.database, study, bars, n_distinct)
    with weighing.clock.phase("null_sweeps"):
        nulls = run_null_sweeps(
            opened,
            weighing.cluster,
            fix_null_sweeps(opened, state, weighing, ledger.factor),
            chosen["values"][0],
            ledger.factor,
            watch=weighing.watch,
            stop=weighing.stop,
        )
    if nulls.stopped == "budget" and nulls.n_wanted > 0:
        raise WeighingInterruptedError
    chosen_p, n_surrogates, failure = math.nan, 0, ""
    if holdout is not None:
        open_holdout(store.database, bars, f"study {study.name} trial {chosen['number']}")
        ledger = read_ledger(store.database, study, bars, n_distinct)
        n_surrogates = n_holdout_surrogates(ledger.n_openings)

        def look(n_done: int) -> None:
            weighing.watch_holdout(n_done, n_surrogates)
            weighing.watch_out()

        with weighing.clock.phase("hold_out"):
            tested = run_holdout_test(
                weighing.cluster,
                holdout,
                experiment,
                parameters,
                n_surrogates,
                validation.null_block,
                _limits(opened),
                look,
            )
        failure = tested.failure
        if not failure:
            chosen_p = holdout_p(tested.values, tested.observed, maximize=experiment.directions[0] == "maximize")
        if tested.is_closed:
            holdout, inputs = None, replace(inputs, holdout=None)
    market_comparison = compare_with_market(inputs, parameters)
    periods = periods_per_year(experiment, market, parameters)
    columns = StudyColumns(store.database, study)
    verdict = make_verdict(
        VerdictInputs(
            chosen=chosen["number"],
            in_sample=estimate(experiment, market, parameters),
            hold_out=None if holdout is None else estimate(experiment, holdout, parameters),
            trials=StoredTrials(columns, n_done, periods, store.sums(study)),
            bootstrap=experiment.bootstrap,
            observed=state.observed,
            maxima=state.maxima,
            ledger=ledger,
            null_sweeps=nulls,
            holdout_p=chosen_p,
            n_holdout_surrogates=n_surrogates,
            holdout_failure=" ".join(failure.split()).rstrip("."),
            adaptive=opened.sampler.needs_history,
            market=market_comparison,
            weigh_command=command_line("weigh", study=study.name, validation__null_sweeps=MORE_NULL_SWEEPS),
            look_ahead_clean=True if inputs.gate == "clean" else None,
            blocks=StoredBlocks(columns, experiment.bootstrap.block_sizes, experiment.engine.rate_of_cash / periods),
            grid=ParameterGrid.of(experiment.space.dimensions),
            parameter_names=experiment.space.keys,
            break_even=break_even(experiment, market, parameters),
            periods_per_year=periods,
        ),
        options_of(validation),
    )
    return verdict, market_comparison


def _limits(opened: OpenStudy) -> Limits:
    """Return what a trial may cost, now that the trials of the study are known."""
    limits = TrialLimits(opened.config.cluster.trial_timeout, opened.config.cluster.trial_memory)
    return limits.at(StudyColumns(opened.store.database, opened.study).median_seconds())


def fix_null_sweeps(opened: OpenStudy, state: StudyState, weighing: Weighing, factor: float) -> int:
    """Return how many null sweeps a study is to have at most; fixed before the first of them, and kept.

    A larger `validation.null_sweeps` than the one that was fixed raises it.
    """
    study, validation = opened.study, opened.config.validation
    n_done = opened.store.n_done(study)
    kept = NullValues(opened.store.database, study, budget(opened))
    if study.n_null is not None and kept.read():
        n_wanted = max(study.n_null, validation.null_sweeps if validation.null_sweeps > DEFAULT_NULL_SWEEPS else 0)
    else:
        seconds = null_seconds(weighing.clock.seconds.get("search", 0.0), validation.null_seconds)
        # The median, since the first trials of each worker bear what it takes to load compiled code.
        trial = StudyColumns(opened.store.database, study).median_seconds()
        cost = (n_done * trial + state.proposing) / weighing.cluster.n_cpus
        n_wanted = n_null_sweeps(validation.null_sweeps, seconds_each=cost, seconds=seconds, factor=factor)
    kept.fix_count(n_wanted)
    return n_wanted


def compare_with_market(inputs: StudyInputs, parameters: Float64Array1D) -> MarketComparison:
    """Return the metrics of one setting beside those of buy and hold, in sample and held out."""
    experiment, holdout = inputs.experiment, inputs.holdout
    return MarketComparison(
        chosen=metrics_of_trial(experiment, inputs.market, parameters),
        benchmark=benchmark_metrics(experiment, inputs.market),
        chosen_holdout=None if holdout is None else metrics_of_trial(experiment, holdout, parameters),
        benchmark_holdout=None if holdout is None else benchmark_metrics(experiment, holdout),
    )


def options_of(validation: ValidationConfig) -> VerdictOptions:
    """Return how a verdict is computed, from the configuration."""
    windows, limits = validation.walk_forward, validation.thresholds
    return VerdictOptions(
        thresholds=VerdictThresholds(**asdict(limits)),
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
    forget()
    return dict(zip(METRICS, row.tolist(), strict=True))


def break_even(experiment: Experiment, market: Market, parameters: Float64Array1D) -> float | None:
    """Return the commission at which the edge of a trial is gone [1]; None if it outlasts all that were tried."""
    run = at_commissions(experiment, market, parameters)
    return break_even_commission(lambda commission: run(commission)["sharpe_ratio"])


def at_commissions(
    experiment: Experiment, market: Market, parameters: Float64Array1D
) -> Callable[[float], dict[str, float]]:
    """Return what turns a commission [1] into the metrics of one trial, which decides once for all of them."""
    strategy, engine = experiment.values(parameters)
    many = market.members or market.is_account
    block = None if many else experiment.definition.block(market.bars, strategy, 1)

    def run(commission: float) -> dict[str, float]:
        changed = engine.with_values({"commission": commission})
        if block is None:
            fixed = replace(experiment, space=SearchSpace(()), strategy=strategy, engine=changed)
            return metrics_of_trial(fixed, market, np.empty(0))
        metrics = simulate_batch(market, block, EngineColumns.build(changed)).metrics[0]
        return dict(zip(METRICS, metrics.tolist(), strict=True))

    return run


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
        risk_free_rate=experiment.engine.rate_of_cash,
        periods_per_year=experiment.engine.bars_per_year(market.bars),
    )

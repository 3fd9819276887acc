"""What runs on a Ray worker: a batch of trials from parameters to metrics, without database or search."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from alphapulse.backtesting.account.batch import simulate_account
from alphapulse.backtesting.batch import FAILED, OK, TRIALS_PER_CALL, EngineColumns, simulate_batch
from alphapulse.backtesting.building import load_engine
from alphapulse.backtesting.metrics import METRICS, N_METRICS
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.market.market import Market
from alphapulse.market.targets import AccountTargets, TargetBlock
from alphapulse.strategies.base import Strategy
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.study.trials import BlockMoments, SymbolMetrics, Trials
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.objectives import objective_values
from alphapulse.sweep.universe.simulation import TRIALS_AT_ONCE, UniverseSimulator, score_symbols
from alphapulse.sweep.workers import limits
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Float64Array3D
from alphapulse.validation.blocks import excess_moments
from alphapulse.validation.plateau import ParameterGrid, neighbours, plateau_objective, worst_fold_sharpe

CACHE_BYTES = 256 * 2**20
# Of all symbols of a universe: what each batch computes anew costs a fifth of it.
UNIVERSE_CACHE_BYTES = 3 * CACHE_BYTES
# Of the targets of one call, where a strategy makes them as whole arrays.
TARGET_BYTES = 64 * 2**20
MESSAGE_LENGTH = 500
# Metrics that closed trades alone decide.
OF_TRADES = ("win_rate", "profit_factor", "payoff", "expectancy", "average_trade", "longest_trade")


@dataclass
class BatchResult:
    """Outcome of the trials of a batch.

    Attributes
    ----------
    trials : Trials
    kept : BlockMoments
        Block moments of the rows that keep them.
    observed : float
        Largest studentised mean of the batch; -inf without a bootstrap or without trials.
    maxima : (n_bootstrap,) float64
        The largest studentised mean of each bootstrap sample.
    is_first : bool
        Whether its process had run nothing of this study before, and bore what it takes to load and to compile.
    by_symbol : SymbolMetrics, optional
        Of a universe the metrics on each symbol of the trials that ran to their end, by row.
    """

    trials: Trials
    kept: BlockMoments
    observed: float
    maxima: Float64Array1D
    is_first: bool = False
    by_symbol: SymbolMetrics | None = None

    @property
    def seconds(self) -> float:
        """Time spent on the batch [s]."""
        return float(self.trials.seconds.sum())


class _Simulated(NamedTuple):
    """Trials without their values, block moments (n_trials, n_blocks) of all of them, and metrics on each symbol."""

    trials: Trials
    block_sums: Float64Array2D
    block_squares: Float64Array2D
    by_symbol: Float64Array3D | None = None


@dataclass(frozen=True)
class _Context:
    market: Market
    experiment: Experiment
    cache: IndicatorCache
    definition: StrategyDefinition
    universe: UniverseSimulator | None = None


_context: _Context | None = None


def _enter(market: Market, experiment: Experiment) -> _Context:
    """Return the indicators that this process has computed, kept while market and experiment are the same."""
    global _context
    if _context is None or _context.market is not market or _context.experiment is not experiment:
        definition = replace(experiment.definition, construct=on_the_clock(experiment.definition.construct))
        universe = UniverseSimulator(market, experiment, definition, UNIVERSE_CACHE_BYTES) if market.members else None
        _context = _Context(market, experiment, IndicatorCache(CACHE_BYTES), definition, universe)
        if limits.is_watched():
            # What it takes to load the compiled engine is no part of what a trial costs.
            load_engine(market, experiment.engine)
    return _context


def forget() -> None:
    """Let go of the market that this process last worked on, and of its indicators, before another one is made."""
    global _context
    _context = None


def on_the_clock(construct: Callable[[Mapping[str, Any]], Strategy]) -> Callable[[Mapping[str, Any]], Strategy]:
    """Return what makes the strategy of a trial, and starts the trial's clock with it."""

    def begin(values: Mapping[str, Any]) -> Strategy:
        limits.begin_trial()
        return construct(values)

    return begin


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
        They stand in the order of `experiment.space`.
    keep : (n_trials,) bool, optional
        Trials whose block moments are wanted; by default all.
    threshold : float
        Block moments are returned too where a trial breaks no condition and its first objective, negated if it is
        minimised, is not below this.

    Returns
    -------
    BatchResult
        Its rows are the trials; an exception in a strategy is the failure of its trials, with its text.
    """
    started, before = time.perf_counter(), _context
    context = _enter(market, experiment)
    ran = _simulate(context, np.ascontiguousarray(parameters, dtype=np.float64))
    trials = ran.trials
    if experiment.robustness == "plateau":
        trials.values[:] = _plateau_values(context, ran)
    else:
        trials.values[:] = _objective_values(market, experiment, ran)
    trials.errors = _explain(experiment, trials)
    failed = trials.is_failed
    trials.values[failed] = np.nan
    trials.violations[:] = _violations(experiment, trials)
    trials.violations[failed] = np.nan
    observed, maxima = _reality_check(market, experiment, ran, failed)
    kept = np.flatnonzero(_keeps(experiment, trials, keep, threshold) & ~failed)
    trials.seconds[:] = (time.perf_counter() - started) / max(len(trials), 1)
    blocks = BlockMoments(kept, ran.block_sums[kept], ran.block_squares[kept])
    by_symbol = None
    if ran.by_symbol is not None:
        ended = np.flatnonzero(trials.status != FAILED)
        symbols = tuple(member.bars.symbol for member in market.members)
        by_symbol = SymbolMetrics(ended, symbols, ran.by_symbol[ended])
    first = context is not before
    return BatchResult(trials, blocks, observed, maxima, is_first=first, by_symbol=by_symbol)


def _simulate(context: _Context, parameters: Float64Array2D) -> _Simulated:
    """Backtest trials in calls of the size that the kernel likes and memory has room for."""
    most = max(1, TARGET_BYTES // (8 * len(context.market.bars)))
    many = context.universe is not None or context.market.is_account
    size = min(TRIALS_AT_ONCE if many else TRIALS_PER_CALL, most)
    starts = range(0, len(parameters), size) if len(parameters) else (0,)
    try:
        return _joined([_simulate_guarded(context, parameters[start : start + size]) for start in starts])
    finally:
        limits.end_trials()


def _simulate_guarded(context: _Context, parameters: Float64Array2D) -> _Simulated:
    """Backtest all trials together; if that raises, each alone, so that only the guilty ones fail."""
    try:
        limits.begin_trial()
        return _simulate_together(context, parameters)
    except BaseException as error:
        # In the driver Ctrl-C is the user's; here it can only be the strategy's own.
        if not isinstance(error, Exception | SystemExit) and not limits.is_watched():
            raise
        if len(parameters) > 1:
            return _joined([_simulate_guarded(context, row[None, :]) for row in parameters])
        trials = context.experiment.untried(parameters)
        trials.status[:] = FAILED
        trials.errors = {0: f"{type(error).__name__}: {error}"}
        blocks = np.full((1, context.market.n_blocks), np.nan)
        n_symbols = len(context.market.members)
        by_symbol = np.full((1, n_symbols, N_METRICS), np.nan) if n_symbols else None
        return _Simulated(trials, blocks, blocks, by_symbol)


def _joined(parts: list[_Simulated]) -> _Simulated:
    if len(parts) == 1:
        return parts[0]
    return _Simulated(
        Trials.joined([part.trials for part in parts]),
        np.concatenate([part.block_sums for part in parts]),
        np.concatenate([part.block_squares for part in parts]),
        None if parts[0].by_symbol is None else np.concatenate([p.by_symbol for p in parts if p.by_symbol is not None]),
    )


def _simulate_together(context: _Context, parameters: Float64Array2D) -> _Simulated:
    market, experiment = context.market, context.experiment
    if context.universe is not None:
        trials, outcome, by_symbol = context.universe.simulate(parameters, limits.begin_trial)
        return _Simulated(trials, outcome.block_sums, outcome.block_squares, by_symbol)
    trials = experiment.untried(parameters)
    strategy, swept = experiment.columns(parameters)
    engine = EngineColumns.build(experiment.engine, swept, len(trials))
    targets: TargetBlock | AccountTargets
    if market.is_account:
        # Made one by one, as the engine runs them; the clock of each starts with its strategy.
        targets = block = context.definition.portfolio_block(market.bars, strategy, len(trials), context.cache)
        outcome = simulate_account(market, block, engine)
    else:
        targets = own = context.definition.block(market.bars, strategy, len(trials), context.cache)
        limits.begin_trial()
        outcome = simulate_batch(market, own, engine)
    trials.metrics[:] = outcome.metrics
    trials.status[:] = outcome.status
    trials.errors = dict(targets.failures)
    trials.status[list(targets.failures)] = FAILED
    return _Simulated(trials, outcome.block_sums, outcome.block_squares)


def _objective_values(market: Market, experiment: Experiment, ran: _Simulated) -> Float64Array2D:
    if ran.by_symbol is not None and experiment.universe_score != "portfolio":
        return score_symbols(experiment, ran.trials, ran.by_symbol)
    values = objective_values(experiment.objectives, experiment.scores, ran.trials)
    if experiment.robustness == "worst_fold":
        counts = np.diff(market.block_end, prepend=market.first)
        worst = worst_fold_sharpe(*_over_cash(market, experiment, ran), counts, experiment.n_folds)
        ppy = experiment.engine.bars_per_year(market.bars)
        values[:, experiment.objectives.index("sharpe_ratio")] = worst * np.sqrt(ppy)
    return values


def _plateau_values(context: _Context, ran: _Simulated) -> Float64Array2D:
    """Score each trial by the median over itself and its neighbours, a failed one counting as the worst.

    In place of a neighbour that breaks a constraint, or makes a key active whose value nobody says, and is not run,
    stands the trial itself. A key that is inactive has no neighbours.
    """
    experiment = context.experiment
    own = _objective_values(context.market, experiment, ran)
    around = neighbours(ParameterGrid.of(experiment.space.dimensions), ran.trials.parameters)
    n_trials, n_neighbours, n_dimensions = around.shape
    space, settings = experiment.space, np.ascontiguousarray(around.reshape(-1, n_dimensions))
    broken = ~space.fits(settings) | (space.active(settings) & np.isnan(settings)).any(axis=1)
    settings = space.masked(settings)
    settings[broken] = np.repeat(ran.trials.parameters, n_neighbours, axis=0)[broken]
    others = _simulate(context, settings)
    scores = _objective_values(context.market, experiment, others)
    scores[others.trials.status == FAILED] = np.nan
    around = scores.reshape(n_trials, n_neighbours, own.shape[1])
    ordered = [place for place, d in enumerate(space.dimensions) if d.is_ordered]
    # Both sides of an inactive key: one the best of all, one the worst, so that the median is that of the others.
    row, pair = np.nonzero(np.isnan(ran.trials.parameters[:, ordered]))
    around[row, 2 * pair + 1] = np.nan
    for place, direction in enumerate(experiment.directions):
        around[row, 2 * pair, place] = np.inf if direction == "maximize" else -np.inf
    around = np.concatenate([own[:, None, :], around], axis=1)
    for place, direction in enumerate(experiment.directions):
        own[:, place] = plateau_objective(around[:, :, place], maximize=direction == "maximize")
    return own


def _explain(experiment: Experiment, trials: Trials) -> dict[int, str]:
    errors = dict(trials.errors)
    for row in np.flatnonzero(trials.status == FAILED).tolist():
        errors.setdefault(row, "The target allocation is NaN or infinite on a scored bar.")
    for row in np.flatnonzero(np.isnan(trials.values).any(axis=1)).tolist():
        missing = [n for n, value in zip(experiment.objectives, trials.values[row], strict=True) if np.isnan(value)]
        reason = _why_undefined(experiment, trials, row, missing[0])
        errors.setdefault(row, f"The objective `{missing[0]}` is undefined: {reason}.")
    return {row: " ".join(text.replace("\0", "").split())[:MESSAGE_LENGTH] for row, text in errors.items()}


def _why_undefined(experiment: Experiment, trials: Trials, row: int, objective: str) -> str:
    if objective in experiment.scores:
        asked = [METRICS.index(name) for name in experiment.scores[objective].names]
        if not np.isnan(trials.metrics[row, asked]).any():
            return "it is no finite number"
    if trials.metrics[row, METRICS.index("exposure")] == 0:
        return "the trial never trades"
    if objective in OF_TRADES and trials.metrics[row, METRICS.index("n_trades")] == 0:
        return "the trial closes no trade"
    if objective in OF_TRADES:
        return "its trades lack wins or losses"
    return "the returns have no variance" if trials.status[row] == OK else "the trial is ruined"


def _violations(experiment: Experiment, trials: Trials) -> Float64Array2D:
    """Return by how much each condition on results is broken (n_trials, n_conditions)."""
    metrics = dict(zip(METRICS, trials.metrics.T, strict=True))
    broken = np.empty_like(trials.violations)
    for place, condition in enumerate(experiment.feasible):
        broken[:, place] = condition.violation(metrics)
    return broken


def _keeps(experiment: Experiment, trials: Trials, keep: BoolArray1D | None, threshold: float) -> BoolArray1D:
    """Return whether the block moments of each trial are wanted (n_trials,)."""
    if keep is None:
        return np.ones(len(trials), dtype=np.bool_)
    score = trials.values[:, 0] if experiment.directions[0] == "maximize" else -trials.values[:, 0]
    kept: BoolArray1D = keep | ((score >= threshold) & trials.is_candidate)
    return kept


def _reality_check(
    market: Market, experiment: Experiment, ran: _Simulated, failed: BoolArray1D
) -> tuple[float, Float64Array1D]:
    if experiment.bootstrap is None:
        return -np.inf, np.empty(0)
    sums, _ = _over_cash(market, experiment, ran)
    observed, maxima = experiment.bootstrap.batch_maximum(sums[~failed])
    if experiment.feasible:
        # What no condition lets through cannot be the best, but chance has had it to choose from.
        statistics = experiment.bootstrap.statistics(sums[ran.trials.is_candidate])
        observed = float(np.max(statistics[~np.isnan(statistics)], initial=-np.inf))
    return observed, maxima


def _over_cash(market: Market, experiment: Experiment, ran: _Simulated) -> tuple[Float64Array2D, Float64Array2D]:
    """Return the block moments of returns over cash."""
    counts = np.diff(market.block_end, prepend=market.first)
    rate = experiment.engine.rate_of_cash / experiment.engine.bars_per_year(market.bars)
    return excess_moments(ran.block_sums, ran.block_squares, counts, rate)

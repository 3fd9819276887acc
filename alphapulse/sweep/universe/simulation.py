"""A batch of trials on every symbol of a universe: one pass of the engine a symbol, then their portfolio."""

from collections.abc import Callable

import numpy as np

from alphapulse.backtesting.batch import FAILED, BatchOutcome, EngineColumns, simulate_batch
from alphapulse.backtesting.metrics import N_METRICS
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.market.market import Market
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.study.trials import Trials
from alphapulse.sweep.experiment import Experiment, UniverseScore
from alphapulse.sweep.objectives import objective_values
from alphapulse.sweep.universe.portfolio import Portfolios
from alphapulse.typing import Float64Array2D, Float64Array3D

TRIALS_AT_ONCE = 256
"""Trials whose equity on a symbol is held at once."""

LEAST_ROWS = 100
"""Indicators of a symbol that are worth keeping until its next batch: fewer are mostly not those that are asked for."""


class UniverseSimulator:
    """The symbols of a universe with the indicators that this process has computed of each.

    Parameters
    ----------
    market : Market
        Of the universe.
    experiment : Experiment
    definition : StrategyDefinition
    cache_bytes : int
        Of the indicators of all symbols [bytes].
    """

    def __init__(
        self, market: Market, experiment: Experiment, definition: StrategyDefinition, cache_bytes: int
    ) -> None:
        self._market, self._experiment, self._definition = market, experiment, definition
        members = market.members
        each, row = cache_bytes // len(members), 8 * max(len(member.bars) for member in members)
        is_kept = each >= LEAST_ROWS * row
        # One that is emptied for each symbol takes its memory again, which new memory costs several times as much.
        one = IndicatorCache(cache_bytes)
        self._caches = [IndicatorCache(each) if is_kept else one for _ in members]

    def simulate(
        self, parameters: Float64Array2D, begin: Callable[[], None]
    ) -> tuple[Trials, BatchOutcome, Float64Array3D]:
        """Backtest trials on every symbol.

        Parameters
        ----------
        parameters : (n_trials, n_dimensions) float64
        begin : callable
            Called before each symbol.

        Returns
        -------
        trials : Trials
            Without their values; metrics are those of the portfolio.
        outcome : BatchOutcome
        by_symbol : (n_trials, n_symbols, n_metrics) float64
            NaN where a trial has failed.
        """
        market, experiment = self._market, self._experiment
        trials = experiment.untried(parameters)
        strategy, swept = experiment.columns(parameters)
        engine = EngineColumns.build(experiment.engine, swept, len(trials))
        by_symbol = np.full((len(trials), len(market.members), N_METRICS), np.nan)
        portfolios = Portfolios(market, engine)
        arranged = self._definition.arrange(strategy, len(trials))
        for place, (member, cache) in enumerate(zip(market.members, self._caches, strict=True)):
            begin()
            targets = arranged.block(member.bars, cache)
            begin()
            outcome = simulate_batch(member, targets, engine, follower=portfolios.follow(place))
            by_symbol[:, place] = outcome.metrics
            portfolios.end(outcome)
            for row in np.flatnonzero(outcome.status == FAILED).tolist():
                why = targets.failures.get(row, "The target allocation is NaN or infinite on a scored bar.")
                trials.errors.setdefault(row, f"{member.bars.symbol}: {why}")
        joined = portfolios.outcome()
        trials.metrics[:] = joined.metrics
        trials.status[:] = joined.status
        by_symbol[joined.status == FAILED] = np.nan
        return trials, joined, by_symbol


def score_symbols(experiment: Experiment, trials: Trials, by_symbol: Float64Array3D) -> Float64Array2D:
    """Return the objectives (n_trials, n_objectives) of trials from those of all symbols, as `universe_score` says.

    A symbol on which an objective is undefined is left out, and counts as not above 0 for a share; where it is
    undefined on more than half of the symbols, it is for the trial.
    """
    n_trials, n_symbols, _ = by_symbol.shape
    each = np.full((n_symbols, n_trials, len(experiment.objectives)), np.nan)
    for place in range(n_symbols):
        one = Trials.blank(trials.parameters, len(experiment.objectives))
        one.metrics[:], one.status[:] = by_symbol[:, place], trials.status
        each[place] = objective_values(experiment.objectives, experiment.scores, one)
        for row, text in one.errors.items():
            trials.errors.setdefault(row, text)
    known = np.isfinite(each)
    values = np.full(each.shape[1:], np.nan)
    for row in range(n_trials):
        for column, direction in enumerate(experiment.directions):
            found = each[known[:, row, column], row, column]
            if 2 * len(found) >= n_symbols and len(found):
                values[row, column] = _score(found, experiment.universe_score, n_symbols, direction == "maximize")
    return values


def _score(values: np.ndarray, score: UniverseScore, n_symbols: int, maximize: bool) -> float:
    if score == "median":
        return float(np.median(values))
    if score == "mean":
        return float(values.sum() / len(values))
    if score == "share":
        return float(np.count_nonzero(values > 0.0) / n_symbols)
    return float(values.min() if maximize else values.max())

"""What a worker has to know beside the market: one small object, sent once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

import numpy as np

from alphapulse.backtesting.models import EngineParams
from alphapulse.search.conditions import filled_column
from alphapulse.search.expressions import Expression
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.strategies.scores import ScoreFunction
from alphapulse.study.trials import Trials
from alphapulse.sweep.objectives import Score
from alphapulse.typing import Float64Array2D
from alphapulse.validation.spa import Bootstrap

Robustness = Literal["plateau", "worst_fold"]
UniverseScore = Literal["portfolio", "median", "worst", "mean", "share"]

STRATEGY = "strategy."
ENGINE = "engine."


@dataclass(frozen=True)
class Experiment:
    """A study without its data and its search; its seed is known to `bootstrap` alone.

    Attributes
    ----------
    space : SearchSpace
        The swept keys, each below "strategy." or "engine.".
    definition : StrategyDefinition
        The strategy; a worker imports it itself and refuses a source that has changed.
    strategy : mapping of str to value
        Fixed strategy parameters by name, without "strategy.".
    engine : EngineParams
        The engine with its fixed values.
    objectives : tuple of str
        What the search works on: metrics, or the texts of `scores`.
    directions : tuple of {"minimize", "maximize"}
        Each objective has one.
    scores : mapping of str to Score
        The objectives that are no metrics, by their texts.
    feasible : tuple of Expression
        Conditions over metrics that a trial has to keep to be called good.
    robustness : {"plateau", "worst_fold"}, optional
        It says whether a trial is scored by its neighbourhood or by its worst fold; None is by its own value.
    n_folds : int
        Folds of "worst_fold".
    universe_score : {"portfolio", "median", "worst", "mean", "share"}
        What becomes of the objectives of many symbols: that of their portfolio, one over the symbols, or the share of
        them that have one above 0.
    bootstrap : Bootstrap, optional
        Resampled calendar blocks of the streaming reality check; None leaves it out.
    """

    space: SearchSpace
    definition: StrategyDefinition
    strategy: Mapping[str, Any] = field(default_factory=dict)
    engine: EngineParams = field(default_factory=EngineParams)
    objectives: tuple[str, ...] = ("sharpe_ratio",)
    directions: tuple[str, ...] = ("maximize",)
    scores: Mapping[str, Score] = field(default_factory=dict)
    feasible: tuple[Expression, ...] = ()
    robustness: Robustness | None = None
    n_folds: int = 5
    universe_score: UniverseScore = "portfolio"
    bootstrap: Bootstrap | None = None

    @property
    def functions(self) -> tuple[ScoreFunction, ...]:
        """The objectives that are functions of the user's own."""
        return tuple(score for score in self.scores.values() if isinstance(score, ScoreFunction))

    def untried(self, parameters: Float64Array2D) -> Trials:
        """Return trials with these parameters (n_trials, n_dimensions) whose outcome is not known yet."""
        return Trials.blank(parameters, len(self.objectives), len(self.feasible))

    def columns(self, parameters: Float64Array2D) -> tuple[dict[str, Any], dict[str, Any]]:
        """Split parameters (n_trials, n_dimensions) into what the strategy and what the engine is told.

        Returns
        -------
        strategy : dict
            Fixed values stand as they are, swept ones as a column (n_trials,), by name without "strategy.". One that is
            inactive in a trial has its `default` there.
        engine : dict
            Swept values stand alone, as a column (n_trials,), by name without "engine.".
        """
        strategy = dict(self.strategy)
        engine: dict[str, Any] = {}
        for place, dimension in enumerate(self.space.dimensions):
            column = filled_column(dimension, parameters[:, place], self.default(dimension.key))
            if dimension.key.startswith(STRATEGY):
                strategy[dimension.key.removeprefix(STRATEGY)] = column
            else:
                engine[dimension.key.removeprefix(ENGINE)] = column
        return strategy, engine

    def default(self, key: str) -> Any:
        """Return the value that a swept key has where it is not swept."""
        if key.startswith(STRATEGY):
            name = key.removeprefix(STRATEGY)
            return self.strategy.get(name, self.definition.parameters[name].default)
        return reduce(getattr, key.removeprefix(ENGINE).split("."), self.engine)

    def values(self, parameters: np.ndarray) -> tuple[dict[str, Any], EngineParams]:
        """Return the strategy values and the engine of one trial, parameters (n_dimensions,)."""
        chosen = self.space.values(parameters)
        swept = {key.removeprefix(STRATEGY): value for key, value in chosen.items() if key.startswith(STRATEGY)}
        engine = {key.removeprefix(ENGINE): value for key, value in chosen.items() if key.startswith(ENGINE)}
        return {**self.strategy, **swept}, self.engine.with_values(engine)

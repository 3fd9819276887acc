"""From a configuration to a study that can run: strategy, bars, look-ahead gate, compiled code."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from alphapulse.backtesting.models import EngineParams
from alphapulse.compiling import source_hash
from alphapulse.config.groups import ValidationConfig
from alphapulse.config.schema import TARGET, SweepConfig
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.loading import load_history
from alphapulse.data_pipeline.quality import data_warnings
from alphapulse.market.bars import Bars
from alphapulse.market.market import Market
from alphapulse.search.space import Dimension, SearchSpace
from alphapulse.strategies.resolve import StrategyDefinition, resolve
from alphapulse.study.records import Study
from alphapulse.sweep.experiment import STRATEGY, Experiment
from alphapulse.sweep.worker import evaluate_batch
from alphapulse.typing import Float64Array1D
from alphapulse.validation.lookahead import check_lookahead, gate_points
from alphapulse.validation.spa import make_bootstrap

PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "optuna", "pandas", "ray", "cmaes", "alphapulse")


@dataclass(frozen=True)
class Preparation:
    """What a study is made of, before its first trial.

    Attributes
    ----------
    experiment : Experiment
    market : Market
        What the search sees.
    holdout : Market, optional
        The end of the data, with all earlier bars as its warm-up.
    warnings : tuple of str
        One line for each way in which the bars or the engine flatter the result.
    gate : {"clean", "off"}
        What the look-ahead gate said.
    """

    experiment: Experiment
    market: Market
    holdout: Market | None
    warnings: tuple[str, ...]
    gate: str


def load(config: SweepConfig, database: Database) -> Preparation:
    """Load what a study needs; the look-ahead gate has not run yet.

    Raises
    ------
    StrategyError, DataError
        If the strategy cannot be used or there are no bars.
    """
    definition, fixed = define_strategy(config.strategy)
    lookback = definition.longest_lookback(fixed, swept_values(config.space))
    history = load_history(database, config.data, lookback)
    market, holdout = history.split(config.validation.holdout)
    sizes = np.diff(market.block_end, prepend=market.first)
    experiment = Experiment(
        space=config.space,
        definition=definition,
        strategy=fixed,
        engine=config.engine,
        objectives=config.objective,
        directions=config.directions,
        robustness=config.validation.objective,
        bootstrap=make_bootstrap(sizes, n_bootstrap=config.validation.n_bootstrap, seed=config.seed),
    )
    warnings = warn(market.bars if holdout is None else holdout.bars, config.engine, config.space)
    return Preparation(experiment, market, holdout, (*warnings, *history.volatility_warnings()), "off")


def pass_gate(loaded: Preparation, config: SweepConfig) -> Preparation:
    """Let the look-ahead gate see the strategy of a study.

    Raises
    ------
    LookAheadError
        If the strategy sees the future.
    """
    experiment, bars = loaded.experiment, loaded.market.bars
    swept = swept_values(config.space)
    gate = run_gate(experiment.definition, bars, experiment.strategy, swept, config.validation)
    return replace(loaded, gate=gate)


def compile_for(preparation: Preparation) -> None:
    """Compile what the workers will run, so that they find it on disk: a batch of two trials, not kept."""
    middles = np.repeat(middle(preparation.experiment.space)[None, :], 2, axis=0)
    evaluate_batch(preparation.market, preparation.experiment, middles)


def define_strategy(strategy: Mapping[str, Any]) -> tuple[StrategyDefinition, dict[str, Any]]:
    """Return the strategy that a configuration names, looked up from the working directory, and its parameters."""
    definition = resolve(strategy[TARGET], os.getcwd())
    return definition, {name: value for name, value in strategy.items() if name != TARGET}


def run_gate(
    definition: StrategyDefinition,
    bars: Bars,
    values: Mapping[str, Any],
    swept: Mapping[str, Sequence[Any]],
    validation: ValidationConfig,
) -> str:
    """Stop a strategy that sees the future; return "clean", or "off" where the gate does not run.

    Raises
    ------
    LookAheadError
        If the past of an indicator or target changes with the future.
    """
    if validation.lookahead == "off":
        return "off"
    strict = validation.lookahead == "strict"
    points = gate_points(values, swept, strict=strict)
    check_lookahead(definition, bars, points, strict=strict)
    return "clean"


def swept_values(space: SearchSpace) -> dict[str, tuple[Any, ...]]:
    """Return lowest, middle and highest value, or all choices, of each swept strategy parameter by name."""
    return {
        d.key.removeprefix(STRATEGY): d.choices
        if d.kind == "categorical"
        else tuple(d.value(value) for value in (d.low, _middle(d), d.high))
        for d in space.dimensions
        if d.key.startswith(STRATEGY)
    }


def middle(space: SearchSpace) -> Float64Array1D:
    """Return the point (n_dimensions,) in the middle of the space, on its grid."""
    return np.array([_middle(d) for d in space.dimensions], dtype=np.float64)


def _middle(dimension: Dimension) -> float:
    if dimension.kind == "categorical":
        return 0.0
    step = dimension.step or (1.0 if dimension.kind == "int" else None)
    half = (dimension.high - dimension.low) / 2
    return dimension.low + (half if step is None else step * np.floor(half / step))


def warn(bars: Bars, engine: EngineParams, space: SearchSpace | None = None) -> tuple[str, ...]:
    """Return one line for each way in which the bars or the engine flatter the result."""
    swept = [d.choices for d in (space.dimensions if space else ()) if d.key == "engine.execution"]
    executions = swept[0] if swept else (engine.execution,)
    lines = data_warnings(bars, "next_open" if "next_open" in executions else str(executions[0]))
    if "same_close" in executions:
        lines.append(
            "engine.execution=same_close is optimistic: it fills at the very close that the decision is made of."
        )
    return tuple(lines)


def package_versions() -> dict[str, str]:
    """Return the versions that a trial's numbers may depend on, by package."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code_version(definition: StrategyDefinition) -> str:
    """Return the hash of this package's source and the hash of the strategy's."""
    return f"{source_hash()}:{definition.source_hash}"


def changes_since(study: Study, preparation: Preparation) -> list[str]:
    """Return what is not as it was when the study began, one text each."""
    changes = []
    code, _, strategy = study.code_version.partition(":")
    code_now, _, strategy_now = code_version(preparation.experiment.definition).partition(":")
    if code != code_now:
        changes.append(f"alphapulse's code ({code[:12]} to {code_now[:12]})")
    if strategy != strategy_now:
        target = preparation.experiment.definition.target
        changes.append(f"the source of {target} ({strategy[:12]} to {strategy_now[:12]})")
    if study.fingerprint != preparation.market.fingerprint:
        changes.append(f"the data ({study.fingerprint[:12]} to {preparation.market.fingerprint[:12]})")
    packages = package_versions()
    for name in sorted(study.packages.keys() | packages.keys()):
        before, now = study.packages.get(name, "none"), packages.get(name, "none")
        if before != now:
            changes.append(f"{name} {before} to {now}")
    return changes

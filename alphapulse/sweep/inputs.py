"""What a study is made of before its first trial: the strategy in its experiment, the bars, the compiled code."""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from alphapulse.backtesting.building import Build
from alphapulse.backtesting.models import EngineParams
from alphapulse.config.assembly import find_strategy
from alphapulse.config.schema import TARGET, DataConfig, SweepConfig
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.quality import data_warnings
from alphapulse.data_pipeline.universe import load_markets
from alphapulse.market.account import member_bars
from alphapulse.market.bars import Bars
from alphapulse.market.joining import bar_end
from alphapulse.market.market import Market
from alphapulse.market.surrogates import surrogate_market
from alphapulse.market.universe import universe_market
from alphapulse.search.choosing import Sampler, make_sampler, rehearse
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.study.choice import Choice
from alphapulse.study.records import StudyBars
from alphapulse.sweep.experiment import STRATEGY, Experiment
from alphapulse.sweep.gate import run_gate, run_gate_on
from alphapulse.sweep.objectives import check_functions, own_objectives
from alphapulse.sweep.worker import evaluate_batch
from alphapulse.sweep.workers.batches import TrialLimits
from alphapulse.sweep.workers.cluster import Cluster
from alphapulse.validation.lookahead.looks import Watch
from alphapulse.validation.spa import make_bootstrap

# Trials that an objective of the user's own is shown before the search.
N_SCORED = 8
# Scored bars that code is compiled on: it is the same for all that follow.
N_COMPILED = 2_000
# Of a universe: each symbol may have some.
MOST_WARNINGS = 12


@dataclass(frozen=True)
class StudyInputs:
    """What a study is made of, before its first trial.

    Attributes
    ----------
    experiment : Experiment
    market : Market
        What the search sees.
    holdout : Market, optional
        The end of the data, with all earlier bars as its warm-up.
    bars : StudyBars
        The stretch of time that both cover.
    notes : tuple of str
        What was odd about the bars when they were loaded, a line each.
    gate : {"clean", "off"}
        What the look-ahead gate said.
    """

    experiment: Experiment
    market: Market
    holdout: Market | None
    bars: StudyBars
    notes: tuple[str, ...]
    gate: str

    @functools.cached_property
    def warnings(self) -> tuple[str, ...]:
        """One line for each way in which the bars or the engine flatter the result; a calendar is read for some."""
        experiment, shown = self.experiment, self.market if self.holdout is None else self.holdout
        blind = blind_filter(shown, experiment.definition, experiment.strategy, experiment.space)
        return (*warn_of(shown, experiment.engine, experiment.space), *blind, *self.notes)


def load_inputs(config: SweepConfig, database: Database) -> StudyInputs:
    """Load what a study needs; the look-ahead gate has not run yet.

    Raises
    ------
    StrategyError, DataError
        If the strategy cannot be used or there are no bars.
    """
    definition, fixed = define_strategy(config.strategy)
    looks = is_volatility_read(definition, fixed, config.space)
    lookback = definition.longest_lookback(fixed, swept_values(config.space))
    markets = load_markets(
        database,
        config.data,
        config.universe,
        lookback,
        config.engine.series,
        holdout=config.validation.holdout,
        needs_volatility=looks,
    )
    market, holdout = markets.market, markets.holdout
    sizes = np.diff(market.block_end, prepend=market.first)
    experiment = Experiment(
        space=config.space,
        definition=definition,
        strategy=fixed,
        engine=config.engine,
        objectives=config.objective,
        directions=config.directions,
        scores=own_objectives(config.objective),
        feasible=config.conditions,
        robustness=config.validation.objective,
        universe_score=config.universe.score,
        bootstrap=make_bootstrap(sizes, n_bootstrap=config.validation.n_bootstrap, seed=config.seed),
    )
    bars = study_bars(config.data, market, holdout)
    return StudyInputs(experiment, market, holdout, bars, markets.warnings, "off")


def study_bars(data: DataConfig, market: Market, holdout: Market | None) -> StudyBars:
    """Return the stretch of the scored bars of a market, and of the hold-out after it."""
    last = (holdout or market).bars
    traded = tuple(member.bars.symbol for member in market.members) or market.bars.symbols or data.symbols[:1]
    ends = bar_end(last.timestamp, last.timeframe)
    return StudyBars(
        symbols=(
            (*traded, *data.others)
            if market.members or market.is_account
            else tuple(dict.fromkeys((*traded, *data.read)))
        ),
        n_traded=len(traded),
        timeframe=market.bars.timeframe,
        start=_moment(market.bars.timestamp[market.first]),
        end=_moment(ends[-1]),
        holdout_start=None if holdout is None else _moment(holdout.bars.timestamp[holdout.first]),
    )


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(int(nanoseconds) / 1e9, UTC)


def pass_gate(
    inputs: StudyInputs, config: SweepConfig, cluster: Cluster | None = None, watch: Watch | None = None
) -> StudyInputs:
    """Let the look-ahead gate see the strategy of a study, in this process or on a worker of a cluster.

    `watch` is told how far it has come.

    Raises
    ------
    LookAheadError
        If the strategy sees the future.
    """
    experiment, swept = inputs.experiment, swept_values(config.space)
    gates = []
    for market in gate_markets(inputs.market):
        if cluster is None:
            gate = run_gate(experiment.definition, market.bars, experiment.strategy, swept, config.validation, watch)
        else:
            limits = TrialLimits(config.cluster.trial_timeout, config.cluster.trial_memory)
            gate = run_gate_on(cluster, market, experiment, swept, config.validation, limits, watch)
        gates.append(gate)
    return replace(inputs, gate="clean" if "clean" in gates else "off")


def gate_markets(market: Market) -> list[Market]:
    """Return the markets that the gate shows a strategy: of a universe the symbols with the most and fewest bars."""
    if not market.members:
        return [market]
    by_length = sorted(market.members, key=lambda member: len(member.bars))
    return [by_length[-1], *by_length[:1]] if len(by_length) > 1 else by_length


def compile_for(inputs: StudyInputs, sampler: Sampler, build: Build | None = None) -> None:
    """Compile what a study will run: a batch of two trials, a surrogate market and what `sampler`, a spare one, does.

    Workers find it on disk then, and neither the time of a trial nor that of a proposal has the compiler's in it.
    Parts may be on their way, in `build`; surrogate markets are not waited for.

    Raises
    ------
    ConfigError
        If an objective of the user's own cannot be one.
    """
    experiment = inputs.experiment
    if not experiment.definition.is_built_in:
        # What a strategy of the user's does is for workers to bear: it may end the process that it runs in.
        stand_in = find_strategy("rotation" if inputs.market.is_account else "sma_cross", None)
        experiment = replace(experiment, definition=stand_in, strategy={}, space=SearchSpace(()), robustness=None)
    market = inputs.market
    if market.n_scored > N_COMPILED or market.members:
        one = min(market.members, key=lambda member: len(member.bars), default=market)
        short = Market.of(one.bars[: one.first + N_COMPILED], one.first, market.fingerprint)
        market = universe_market([short]) if market.members else short
        sizes = np.diff(market.block_end, prepend=market.first)
        experiment = replace(experiment, bootstrap=make_bootstrap(sizes, n_bootstrap=1))
    if build is None or not build.is_needed:
        surrogate_market(market, 0)
    Choice(experiment.directions).front(np.zeros((2, len(experiment.directions))))
    if experiment.bootstrap is not None:
        experiment.bootstrap.batch_maximum(np.arange(2.0 * market.n_blocks).reshape(2, -1))
    if build is not None:
        build.wait("sampler")
    rehearse(sampler)
    if build is not None:
        build.wait("engine")
    middle = np.array([d.middle for d in experiment.space.dimensions], dtype=np.float64)
    evaluate_batch(market, experiment, np.stack([middle, middle]))
    if inputs.experiment.functions:
        some = make_sampler("random", inputs.experiment.space, seed=0, options={"generation_size": N_SCORED}).propose(0)
        alone = replace(inputs.experiment, objectives=("sharpe_ratio",), directions=("maximize",), scores={})
        check_functions(inputs.experiment.scores, evaluate_batch(inputs.market, alone, some).trials.metrics)


def define_strategy(strategy: Mapping[str, Any]) -> tuple[StrategyDefinition, dict[str, Any]]:
    """Return the strategy that a configuration names, looked up from the working directory, and its parameters."""
    definition = find_strategy(strategy[TARGET], os.getcwd())
    return definition, {name: value for name, value in strategy.items() if name != TARGET}


def swept_values(space: SearchSpace) -> dict[str, tuple[Any, ...]]:
    """Return lowest, middle and highest value, or all choices, of each swept strategy parameter by name, and what one
    is where it is inactive.
    """
    fixed, when = space.rules.fixed, space.rules.when
    swept = [d for d in space.dimensions if d.key.startswith(STRATEGY)]
    return {d.key.removeprefix(STRATEGY): (*d.probes, *([fixed[d.key]] if d.key in when else [])) for d in swept}


def warn_of(market: Market, engine: EngineParams, space: SearchSpace | None = None) -> tuple[str, ...]:
    """Return what `warn` says of a market, or of all symbols of a universe: each fault of the first few symbols."""
    if not market.members and not market.is_account:
        return warn(market.bars, engine, space)
    traded = [member.bars for member in market.members] or [member_bars(market.bars, s) for s in market.bars.symbols]
    lines = list(dict.fromkeys(line for bars in traded for line in warn(bars, engine, space)))
    if len(lines) > MOST_WARNINGS:
        more = f"{len(lines) - MOST_WARNINGS} more warnings on bars; `python -m alphapulse.data check` says them."
        lines = [*lines[:MOST_WARNINGS], more]
    return tuple(lines)


def is_volatility_read(definition: StrategyDefinition, values: Mapping[str, Any], space: SearchSpace) -> bool:
    """Return whether a strategy may look at the volatility index, at its fixed parameters or at a swept one."""
    sources = swept_values(space).get("volatility_source")
    if sources is None:
        return definition.reads_volatility(values)
    return any(definition.reads_volatility({**values, "volatility_source": source}) for source in sources)


def blind_filter(
    market: Market, definition: StrategyDefinition, values: Mapping[str, Any], space: SearchSpace
) -> tuple[str, ...]:
    """Say that a filter of a strategy of ours looks for a volatility index that the bars lack."""
    shown = market.members or (market,)
    is_blind = definition.is_built_in and not any(np.isfinite(one.bars.volatility).any() for one in shown)
    if not is_blind or not is_volatility_read(definition, values, space):
        return ()
    return (
        "strategy.volatility_source=index finds no volatility index beside these bars, so that the filter never acts; "
        "name one with data.volatility_symbol, or take strategy.volatility_source=realized.",
    )


def warn(bars: Bars, engine: EngineParams, space: SearchSpace | None = None) -> tuple[str, ...]:
    """Return one line for each way in which the bars or the engine flatter the result."""
    swept = [d.ends for d in (space.dimensions if space else ()) if d.key == "engine.execution"]
    executions = swept[0] if swept else (engine.execution,)
    lines = data_warnings(bars, "next_open" if "next_open" in executions else str(executions[0]))
    if "same_close" in executions:
        lines.append(
            "engine.execution=same_close is optimistic: it fills at the very close that the decision is made of."
        )
    lines += _lot_warning(bars, engine)
    for field, rate in bars.rates.items():
        if np.isnan(rate).any():
            lines.append(
                f"engine.{field}: the rate is unknown on {np.isnan(rate).sum():,} bars, where nothing is paid."
            )
    return tuple(lines)


def _lot_warning(bars: Bars, engine: EngineParams) -> list[str]:
    """Say that an account cannot afford one lot, at some prices or at all."""
    largest = engine.initial_capital * engine.max_leverage
    dear = engine.lot * bars.close > largest
    if not dear.any():
        return []
    return [
        f"engine.lot={engine.lot:g}: one lot costs more than {largest:,.0f}, what the capital buys, on "
        f"{dear.mean():.0%} of the bars (at {bars.close[dear].min():,.2f} and above); no position is opened there. "
        "Raise engine.initial_capital, or lower engine.lot."
    ]

"""The look-ahead gate in front of a sweep or a backtest, as the configuration wants it."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from alphapulse.config.groups import ValidationConfig
from alphapulse.errors import LimitExceeded, StrategyError
from alphapulse.market.bars import Bars
from alphapulse.market.market import Market
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.worker import on_the_clock
from alphapulse.sweep.workers import marks
from alphapulse.sweep.workers.batches import TrialLimits
from alphapulse.sweep.workers.cluster import Cluster
from alphapulse.sweep.workers.limits import Limits, begin_trial, watched
from alphapulse.validation.lookahead import check_lookahead, gate_points
from alphapulse.validation.lookahead.looks import Watch

TRIALS_OF_A_LOOK = 3
"""How many times the limit of a trial one look may take: the bars are strange, and some are looked at twice."""


def run_gate(
    definition: StrategyDefinition,
    bars: Bars,
    values: Mapping[str, Any],
    swept: Mapping[str, Sequence[Any]],
    validation: ValidationConfig,
    watch: Watch | None = None,
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
    check_lookahead(definition, bars, points, strict=strict, watch=watch)
    return "clean"


def run_gate_on(
    cluster: Cluster,
    market: Market,
    experiment: Experiment,
    swept: Mapping[str, Sequence[Any]],
    validation: ValidationConfig,
    limits: TrialLimits,
    watch: Watch | None = None,
) -> str:
    """Do what `run_gate` does on a worker, whom a strategy may end.

    A point that ends its worker, or takes too long, is left out, as one that the strategy refuses is; where no point
    is left, the gate is "off".
    """
    if validation.lookahead == "off":
        return "off"
    strict = validation.lookahead == "strict"
    points = gate_points(experiment.strategy, swept, strict=strict)
    shipment = cluster.put(market, experiment)
    limit, name = limits.at(0.0), f"gate {uuid.uuid4().hex}"
    limit = limit._replace(seconds=TRIALS_OF_A_LOOK * limit.seconds)

    def look() -> None:
        n_done, _, n_total = marks.told(name).partition(" ")
        if watch is not None and n_total:
            watch(int(n_done), int(n_total))

    def passed(some: Sequence[Sequence[Mapping[str, Any]]]) -> list[bool]:
        outcomes = cluster.gather(shipment, gate_task, [(part, strict, name, limit) for part in some], watch=look)
        return [outcome is True for outcome in outcomes]

    if all(passed([points])):
        return "clean"
    cluster.say(
        f"The look-ahead gate ended its worker, or had no answer for {limit.seconds:,.4g} s: each of its {len(points)} "
        "points is looked at alone."
    )
    if any(passed([[point] for point in points])):
        return "clean"
    cluster.say("The look-ahead gate has no answer at any point, so that nobody knows whether the strategy is clean.")
    return "off"


def gate_task(
    market: Market,
    experiment: Experiment,
    points: Sequence[Mapping[str, Any]],
    strict: bool,
    name: str,
    limits: Limits,
) -> bool:
    """Stop a strategy that sees the future; return False where a point takes too long, or a lone one is refused.

    How far it has come is told under `name`; the time of each look is limited.
    """
    definition = replace(experiment.definition, construct=on_the_clock(experiment.definition.construct))

    def watch(n_done: int, n_total: int) -> None:
        marks.tell(name, f"{n_done} {n_total}")

    try:
        with watched(limits):
            begin_trial()
            check_lookahead(definition, market.bars, points, strict=strict, watch=watch)
    except LimitExceeded:
        return False
    except StrategyError:
        if len(points) > 1:
            raise
        return False
    return True

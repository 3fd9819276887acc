"""The look-ahead gate in front of a sweep or a backtest, as the configuration wants it."""

from collections.abc import Mapping, Sequence
from typing import Any

from alphapulse.config.groups import ValidationConfig
from alphapulse.market.bars import Bars
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.validation.lookahead import check_lookahead, gate_points


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

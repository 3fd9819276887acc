"""Parameters of the long_short strategy and what must hold between them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphapulse.strategies.long_short import position_manager, risk_manager, signal_generator
from alphapulse.strategies.long_short.bounds import invariants, numbers
from alphapulse.strategies.long_short.position_manager import PositionParams
from alphapulse.strategies.long_short.risk_manager import RiskParams
from alphapulse.strategies.long_short.signal_generator import SignalParams
from alphapulse.typing import Float64Array2D


# A dataclass has the fields of its last base first.
@dataclass(frozen=True)
class LongShortParams(PositionParams, RiskParams, SignalParams):
    """Parameters of the long_short strategy: those of `SignalParams`, `RiskParams` and `PositionParams`.

    Raises
    ------
    ValueError
        If one of the invariants in `INVARIANTS` does not hold.
    """

    def __post_init__(self) -> None:
        for names, invariant, holds in INVARIANTS:
            if not holds(self):
                got = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
                raise ValueError(f"`{invariant}` must hold, but got {got}.")


INVARIANTS = (
    *invariants(LongShortParams),
    *signal_generator.RELATIONS,
    *risk_manager.RELATIONS,
    *position_manager.RELATIONS,
)


def settings_of(params: Any) -> tuple[Float64Array2D, Float64Array2D, Float64Array2D]:
    """Return the numbers of each part (n_trials, n_settings), from columns (n_trials,) of parameters or one set."""
    return _numbers(params, SignalParams), _numbers(params, RiskParams), _numbers(params, PositionParams)


def _numbers(params: Any, part: type) -> Float64Array2D:
    columns = [np.asarray(getattr(params, name), dtype=np.float64) for name in numbers(part)]
    return np.column_stack([np.atleast_1d(column) for column in columns])

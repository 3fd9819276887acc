"""The fast path: a block of long_short trials that share their indicators."""

from collections.abc import Mapping
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np

from alphapulse.market.bars import Bars
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.strategies.long_short import risk_manager, signal_generator
from alphapulse.strategies.long_short.params import INVARIANTS, LongShortParams, settings_of
from alphapulse.strategies.long_short.position_manager import fill_targets
from alphapulse.typing import BoolArray1D, Float64Array2D, Int64Array1D


class LongShortBlock:
    """Targets of a block of long_short trials, see `TargetBlock`.

    Parameters
    ----------
    bars : Bars
    columns : mapping of str to (n_trials,) array
        They hold every field of `LongShortParams`.
    cache : IndicatorCache
    """

    def __init__(self, bars: Bars, columns: Mapping[str, np.ndarray], cache: IndicatorCache) -> None:
        params = SimpleNamespace(**{name: np.asarray(column) for name, column in columns.items()})
        valid = _valid(params)
        self.failures: Mapping[int, str] = {trial: _reason(columns, trial) for trial in np.flatnonzero(~valid).tolist()}
        sound = params
        if self.failures:
            # Failed trials ask for the default windows, which another trial may have no use for but which exist.
            defaults = asdict(LongShortParams())
            sound = SimpleNamespace(**{n: np.where(valid, getattr(params, n), defaults[n]) for n in defaults})
        bars = cache.attach(bars)
        self._close = bars.close
        signals, risks = (
            tuple(look.table(cache, bars, sound) for look in part.LOOKS.values())
            for part in (signal_generator, risk_manager)
        )
        self._rows = signals, risks
        self.atr, self.atr_row = risk_manager.STOP_LOOK.table(cache, bars, sound)
        first = signals[0][1]
        first[~valid] = -1
        # Neighbours share the rows of the indicators that come first.
        self.order = np.lexsort([row for _, row in signals][::-1])
        self._settings = settings_of(params)

    def fill(self, start: int, stop: int, trials: Int64Array1D, out: Float64Array2D) -> None:
        """Write the targets of `trials` (k,) for bars [start, stop) to `out` (k, stop - start); 0 for failed trials."""
        fill_targets(self._close, self._rows, self._settings, trials, start, out)


def _valid(params: Any) -> BoolArray1D:
    """Whether each trial satisfies every invariant of its parameters."""
    valid: BoolArray1D = np.logical_and.reduce([holds(params) for _, _, holds in INVARIANTS])
    return valid


def _reason(columns: Mapping[str, np.ndarray], trial: int) -> str:
    values: dict[str, Any] = {
        name: np.asarray(column)[trial : trial + 1].tolist()[0] for name, column in columns.items()
    }
    try:
        LongShortParams(**values)
    except (ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("an invariant holds for one trial but not for a column of it")

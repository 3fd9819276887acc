"""The fast path: a block of long_short trials that share their indicators."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from alphapulse.market.bars import Bars
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.strategies.indicators import atr, rsi, sma
from alphapulse.strategies.long_short.indicators import CLOSE, VOLATILITY, volatility
from alphapulse.strategies.long_short.params import INVARIANTS, LongShortParams
from alphapulse.strategies.long_short.position_manager import SETTINGS, fill_targets
from alphapulse.typing import BoolArray1D, Float64Array2D, Int64Array1D

RANGE = ("high", "low", "close")


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
        valid = _valid(columns)
        self.failures: Mapping[int, str] = {trial: _reason(columns, trial) for trial in np.flatnonzero(~valid).tolist()}
        # Failed trials ask for the default windows, which another trial may have no use for but which exist.
        window = {
            name: np.where(valid, columns[name], getattr(LongShortParams, name)).astype(np.int64)
            for name in ("ma_window", "rsi_window", "atr_window", "realized_window")
        }
        realized = np.asarray(columns["volatility_source"]) == "realized"
        volatility_windows = np.where(realized & valid, window["realized_window"], 0)
        bars = cache.attach(bars)
        self._close = bars.close
        self._averages = cache.table(bars, sma, CLOSE, window["ma_window"])
        self._strengths = cache.table(bars, rsi, CLOSE, window["rsi_window"])
        self._volatilities = cache.table(bars, volatility, VOLATILITY, volatility_windows, bars.periods_per_year)
        self.atr, self.atr_row = cache.table(bars, atr, RANGE, window["atr_window"])
        self._averages[1][~valid] = -1
        self.order = np.lexsort((window["rsi_window"], window["ma_window"]))
        self._settings = np.column_stack([np.asarray(columns[name], dtype=np.float64) for name in SETTINGS])

    def fill(self, start: int, stop: int, trials: Int64Array1D, out: Float64Array2D) -> None:
        """Write the targets of `trials` (k,) for bars [start, stop) to `out` (k, stop - start); 0 for failed trials."""
        fill_targets(
            self._close, self._averages, self._strengths, self._volatilities, self._settings, trials, start, out
        )


def _valid(columns: Mapping[str, np.ndarray]) -> BoolArray1D:
    """Whether each trial satisfies every invariant of its parameters."""
    params = SimpleNamespace(**{name: np.asarray(column) for name, column in columns.items()})
    sources = np.asarray(columns["volatility_source"])
    valid: BoolArray1D = (sources == "index") | (sources == "realized")
    for _, _, holds in INVARIANTS:
        valid &= holds(params)
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

"""What the long_short strategy looks at: an indicator is one `Look`, of one trial or of many."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from alphapulse.market.bars import Bars
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D

Rows: TypeAlias = tuple[Float64Array2D, Int64Array1D]
"""One indicator of many trials: a row (n_rows, n_all_bars) a distinct window, and the row of each trial (n_trials,)."""


class Look(NamedTuple):
    """One indicator.

    Attributes
    ----------
    function : callable
        Of the columns, a window [bars] and, if `is_annual`, the bars of a year, to (n_bars,) float64.
    columns : tuple of str
        Columns of the bars.
    window : callable
        From parameters, one set or columns of them, to the window [bars]; 0 where there is none.
    is_of_changes : bool
        Whether it is made of the changes between bars, of which n need n + 1 bars.
    is_annual : bool
    """

    function: Callable[..., Any]
    columns: tuple[str, ...]
    window: Callable[[Any], Any]
    is_of_changes: bool = False
    is_annual: bool = False

    def of(self, bars: Bars, params: Any) -> Float64Array1D:
        """Return the indicator (n_bars,) of one trial."""
        row: Float64Array1D = bars.indicator(self.function, *self.columns, int(self.window(params)), *self._year(bars))
        return row

    def table(self, cache: IndicatorCache, bars: Bars, params: Any) -> Rows:
        """Return the indicator of many trials, from columns (n_trials,) of parameters."""
        windows = np.asarray(self.window(params)).astype(np.int64)
        return cache.table(bars, self.function, self.columns, windows, *self._year(bars))

    def lookback(self, params: Any) -> int:
        """Return the bars until it is defined [bars]."""
        window = int(self.window(params))
        return window + 1 if window and self.is_of_changes else window

    def _year(self, bars: Bars) -> tuple[float, ...]:
        return (bars.periods_per_year,) if self.is_annual else ()

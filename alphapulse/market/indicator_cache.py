"""Indicators computed once: each distinct (function, columns, settings) of the same bars is one stored row."""

import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from alphapulse.market.bars import Bars, compute
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D

FIRST_CAPACITY = 4
NO_ROWS = np.empty(0, dtype=np.int64)


class Shelf:
    """Rows (n_rows, n_bars) of one function over the same columns, one row a distinct setting."""

    def __init__(self, n_bars: int) -> None:
        self.rows: Float64Array2D = np.empty((FIRST_CAPACITY, n_bars))
        self.places: dict[Hashable, int] = {}

    def store(self, settings: Hashable, values: Float64Array1D) -> int:
        """Keep `values` and return their row. A full shelf moves; what was handed out stays as it is."""
        place = len(self.places)
        if place == len(self.rows):
            larger = np.empty((2 * place, self.rows.shape[1]))
            larger[:place] = self.rows
            self.rows = larger
        self.rows[place] = values
        self.places[settings] = place
        return place


class IndicatorCache:
    """Memory of indicators for the bars that a process works on, emptied between blocks of trials when it is large.

    Parameters
    ----------
    max_bytes : int
        Where the rows hold more than this at an `attach`, all of them are dropped [bytes]. Nothing is dropped
        between two calls of it, so that the memory grows beyond by what a single block of trials asks for.
    """

    def __init__(self, max_bytes: int = 128 * 2**20) -> None:
        self.max_bytes = max_bytes
        self._bars: Bars | None = None
        # What `attach` returned holds the memory; held by it in turn, both would outlive their last user.
        self._attached: Callable[[], Bars | None] = lambda: None
        self._shelves: dict[Hashable, Shelf] = {}
        # By function, columns and other settings: the row of each window in its shelf, or -1.
        self._row_of: dict[Hashable, Int64Array1D] = {}

    @property
    def n_bytes(self) -> int:
        """Memory of all rows, of those kept free for more too [bytes]."""
        return sum(shelf.rows.nbytes for shelf in self._shelves.values())

    def attach(self, bars: Bars) -> Bars:
        """Return `bars` with this memory behind `Bars.indicator`, emptied where it was of other bars, or too large."""
        if self._bars is None or not same_memory(self._bars, bars):
            self._clear()
            self._bars = replace(bars, cache=None)
            self._attached = lambda: None
        elif self.n_bytes > self.max_bytes:
            self._clear()
        attached = self._attached()
        if attached is None:
            attached = replace(self._bars, cache=self)
            self._attached = weakref.ref(attached)
        return attached

    def _clear(self) -> None:
        self._shelves.clear()
        self._row_of.clear()

    def indicator(self, bars: Bars, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        """Return `function` of `arguments`, in which a string names a column of `bars`.

        What is one float64 a bar, of a function with a name and of plain arguments, is kept, and read-only; anything
        else is computed at each call, and is as `function` returns it.
        """
        if bars is not self._attached() or not _is_lasting(function, arguments):
            return compute(bars, function, arguments)
        shelf, place = self._place(bars, function, arguments)
        if shelf is None:
            return compute(bars, function, arguments)
        row = shelf.rows[place]
        row.flags.writeable = False
        return row

    def table(
        self, bars: Bars, function: Callable[..., Any], columns: Sequence[str], windows: Int64Array1D, *settings: float
    ) -> tuple[Float64Array2D, Int64Array1D]:
        """Return the rows of one function for many windows.

        Parameters
        ----------
        bars : Bars
            As `attach` returned them.
        function : callable
            Of the named columns, a window and the other settings.
        columns : sequence of str
            Names of the columns.
        windows : (n_trials,) int64
            Window of each trial.
        *settings : float
            Settings that all trials share.

        Returns
        -------
        rows : (n_rows, n_bars) float64
        row : (n_trials,) int64
            Row of each trial.
        """
        key = (function, tuple(columns), settings)
        row_of = self._row_of.get(key, NO_ROWS)
        if windows.max() >= len(row_of):
            longer = np.full(windows.max() + 1, -1, dtype=np.int64)
            longer[: len(row_of)] = row_of
            row_of = self._row_of[key] = longer
        for window in np.unique(windows[row_of[windows] < 0]).tolist():
            row_of[window] = self._place(bars, function, (*columns, window, *settings))[1]
        shelf = self._shelves[_shelf_key(function, columns, 1 + len(settings))]
        return shelf.rows[: len(shelf.places)], row_of[windows]

    def _place(self, bars: Bars, function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[Shelf | None, int]:
        columns = tuple(a for a in arguments if isinstance(a, str))
        settings = _row_key(tuple(a for a in arguments if not isinstance(a, str)))
        key: Hashable = (function, *map(repr, arguments))
        if tuple(arguments[: len(columns)]) == columns:
            key = _shelf_key(function, columns, len(arguments) - len(columns))
        shelf = self._shelves.get(key)
        place = None if shelf is None else shelf.places.get(settings)
        if shelf is not None and place is not None:
            return shelf, place
        values = compute(bars, function, arguments)
        if not isinstance(values, np.ndarray) or values.shape != (len(bars),) or values.dtype != np.float64:
            return None, 0
        if shelf is None:
            shelf = self._shelves[key] = Shelf(len(bars))
        return shelf, shelf.store(settings, values)


def _shelf_key(function: Callable[..., Any], columns: Sequence[str], n_settings: int) -> Hashable:
    return function, tuple(columns), n_settings


def _row_key(settings: tuple[Any, ...]) -> tuple[Any, ...]:
    # 1 and 1.0 and True are one key to a dict, but may mean different things to a function.
    return (*settings, *map(type, settings))


def same_memory(bars: Bars, others: Bars) -> bool:
    """Whether two `Bars` are views of the very same arrays."""
    return bars.periods_per_year == others.periods_per_year and all(
        getattr(bars, name) is getattr(others, name)
        for name in ("timestamp", "open", "high", "low", "close", "volume", "volatility", "others", "parts")
    )


def _is_lasting(function: Callable[..., Any], arguments: Sequence[Any]) -> bool:
    """Whether a later call can mean the same: a function with a home, and plain settings."""
    name = getattr(function, "__qualname__", "<")
    return "<" not in name and all(isinstance(a, (str, int, float, bool)) for a in arguments)

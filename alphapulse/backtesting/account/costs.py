"""What trading costs in each symbol of an account: the engine's fields, and those that a symbol has of its own."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from alphapulse.errors import did_you_mean
from alphapulse.typing import Float64Array1D, Float64Array2D

BY_SYMBOL = (
    "commission",
    "commission_per_order",
    "commission_per_unit",
    "commission_minimum",
    "slippage",
    "stop_slippage",
    "lot",
    "short_borrow_rate",
)
"""The fields that a symbol may have of its own, in the order of the rows of `cost_rows`."""


def check_by_symbol(given: Any, check: Callable[[str, Any], None]) -> dict[str, dict[str, float]]:
    """Return `engine.by_symbol` as plain numbers.

    Parameters
    ----------
    given : mapping of str to mapping of str to float
        Fields by symbol.
    check : callable
        Raises where the field of a name may not have a value.

    Raises
    ------
    ValueError, TypeError
        If a field cannot be of one symbol, or its value is out of its bounds.
    """
    found: dict[str, dict[str, float]] = {}
    if not isinstance(given, Mapping):
        raise TypeError(
            f"`engine.by_symbol` must be a mapping such as {{'SPY': {{'commission': 0}}}}, but got {given!r}."
        )
    for symbol, fields in _by_whole_names(given):
        if not isinstance(fields, Mapping):
            raise TypeError(
                f"`engine.by_symbol.{symbol}` must be a group of keys; write engine.by_symbol.{symbol}.commission=0."
            )
        for name, value in fields.items():
            if name not in BY_SYMBOL:
                hint = did_you_mean(str(name), BY_SYMBOL) or f"; known are {', '.join(BY_SYMBOL)}."
                raise ValueError(f"`engine.by_symbol.{symbol}.{name}` is no field of one symbol{hint}")
            if isinstance(value, str | bool) or value is None:
                raise TypeError(f"`engine.by_symbol.{symbol}.{name}` must be a number, but got {value!r}.")
            try:
                check(name, value)
            except (ValueError, TypeError) as error:
                raise type(error)(str(error).replace(f"engine.{name}", f"engine.by_symbol.{symbol}.{name}")) from None
        found[str(symbol)] = {str(name): float(value) for name, value in fields.items()}
    return found


def _by_whole_names(given: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield symbols and what is given of them; a key of the command line cuts BRK.B at its dot."""
    for name, fields in given.items():
        symbol = f"{before}{name}"
        inside = fields if isinstance(fields, Mapping) else {}
        deeper = {key: value for key, value in inside.items() if isinstance(value, Mapping)}
        if deeper:
            yield from _by_whole_names(deeper, f"{symbol}.")
        if len(deeper) < len(inside) or not deeper:
            own = {key: value for key, value in inside.items() if key not in deeper}
            yield symbol, own if isinstance(fields, Mapping) else fields


def cost_rows(
    values: Mapping[str, Float64Array1D],
    trial: int,
    by_symbol: Mapping[str, Mapping[str, float]],
    symbols: Sequence[str],
    periods: float,
) -> Float64Array2D:
    """Return what trading costs a trial (N_COSTS, n_symbols), see `state`; the borrow rate is that of a bar.

    Parameters
    ----------
    values : mapping of str to (n_trials,) float64
        Engine fields, as in `EngineColumns`.
    """
    rows = np.empty((len(BY_SYMBOL), len(symbols)))
    for row, name in enumerate(BY_SYMBOL):
        rows[row] = values[name][trial]
        for column, symbol in enumerate(symbols):
            rows[row, column] = by_symbol.get(symbol, {}).get(name, rows[row, column])
    rows[BY_SYMBOL.index("short_borrow_rate")] /= periods
    assert not math.isnan(rows.sum())
    return rows

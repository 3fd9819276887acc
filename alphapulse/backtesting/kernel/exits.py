"""Exits inside a bar, lane by lane: stop, liquidation, take profit (4.3 of docs/definitions.md)."""

import math

import numpy as np

from alphapulse.backtesting.kernel.fills import (
    LIQUIDATION_FILL,
    STOP_FILL,
    TAKE_PROFIT_FILL,
    exit_position,
    liquidation,
)
from alphapulse.backtesting.kernel.orders import commission_of
from alphapulse.backtesting.kernel.state import (
    BOTH,
    CASH,
    EQUAL,
    MARGIN,
    SLIPPAGE,
    STOP,
    STOP_COST,
    STOP_SLIPPAGE,
    TAKE,
    UNITS,
    Prices,
    Rules,
    at,
)
from alphapulse.compiling import jit_inside
from alphapulse.typing import Float64Array1D, Float64Array2D


@jit_inside
def _reaches(edge: float, level: float) -> bool:
    """Return whether `edge` is at or below `level`, or equal to it; a level may be infinite."""
    return edge - level <= EQUAL * abs(edge)


@jit_inside
def _bad_exit_cost(x: float, price: float, lane: np.uint64, state: Float64Array1D, rules: Rules | None) -> float:
    """Return what a stop or a liquidation of value `x` costs [quote] (4.3 Costs, 4.3 Stops)."""
    if rules is None:
        rate: float = state[at(STOP_COST, lane)]
        return rate * x
    slippage: float = state[at(SLIPPAGE, lane)] + state[at(STOP_SLIPPAGE, lane)]
    return commission_of(x, price, lane, state) + slippage * x


@jit_inside
def exit_inside(
    t: int, lane: np.uint64, prices: Prices, state: Float64Array1D, fills: Float64Array2D, rules: Rules | None
) -> None:
    """Close one lane's position inside bar `t` if the bar reaches its stop, liquidation or take profit.

    Prices and levels are taken times the direction of the position, so that a stop is below and a gain above.
    """
    units = state[at(UNITS, lane)]
    d = 1.0 if units > 0.0 else -1.0
    open_ = d * prices.open
    worst, best = (prices.low, prices.high) if d > 0.0 else (-prices.high, -prices.low)
    take = math.inf
    if rules is not None:
        take = state[at(TAKE, lane)]
        if _reaches(-open_, -take):
            _take_profit(t, lane, max(open_, take), d, state, fills)
            return
    stop = state[at(STOP, lane)]
    margin = liquidation(state[at(CASH, lane)], units, state[at(MARGIN, lane)])
    level, reason = stop, STOP_FILL
    if margin > stop and not (_reaches(margin, stop) or (d > 0.0 and margin <= 0.0)):
        level, reason = margin, LIQUIDATION_FILL
    if level > -math.inf and _reaches(worst, level):
        if rules is not None and _reaches(-best, -take) and not _reaches(open_, level):
            state[at(BOTH, lane)] += 1.0
        price = d * min(open_, level)
        cost = _bad_exit_cost(abs(units * price), price, lane, state, rules)
        exit_position(t, lane, reason, price, cost, state, fills)
    elif rules is not None and _reaches(-best, -take):
        _take_profit(t, lane, max(open_, take), d, state, fills)


@jit_inside
def _take_profit(t: int, lane: np.uint64, level: float, d: float, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Fill a take profit at `level`, for its commission alone (4.3 Take profit)."""
    price = d * level
    cost = commission_of(abs(state[at(UNITS, lane)] * price), price, lane, state)
    exit_position(t, lane, TAKE_PROFIT_FILL, price, cost, state, fills)
